"""Read-only fields in a body: the current value is ignored, another one refused (api.md section 2)."""

from collections.abc import Collection, Mapping
from typing import Any

from management.errors import invalid


def without_read_only(
    fields: Mapping[str, Any],
    current: Mapping[str, Any],
    names: Collection[str],
    *,
    falling: Collection[str] = (),
) -> dict[str, Any]:
    """`fields` without the read-only `names`; raises Refusal for a value that is not the current one.

    `falling` names counters that grow during the day: a value that was read earlier, so not above the current one,
    passes too, else a busy campaign could never be sent back whole.
    """
    # `propagated` tells of one answer and has no current value: whoever sends an answer back sends it along.
    names = frozenset(names) - {"propagated"}
    details = {
        name: [f"The {name} field is read only"]
        for name in names
        if name in fields and not _unchanged(fields[name], current.get(name), earlier=name in falling)
    }
    if details:
        raise invalid(details)
    return {name: value for name, value in fields.items() if name not in names and name != "propagated"}


def _unchanged(given: Any, current: Any, *, earlier: bool) -> bool:
    if type(given) is not type(current):
        return False
    return bool(given == current or (earlier and isinstance(given, int) and 0 <= given <= current))
