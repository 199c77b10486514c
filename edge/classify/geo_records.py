"""Which fields an mmdb file's records have and where: MaxMind's nested records and the flat ones of others.

Pure. A file's layout is worked out once from a sample of its records, so that a look-up reads only what is there.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from string import ascii_letters
from typing import Any

Path = tuple[str | int, ...]

_PATHS: dict[str, tuple[Path, ...]] = {
    "country": (
        ("country", "iso_code"),
        ("registered_country", "iso_code"),
        ("country_code",),
        ("country",),
    ),
    "region": (
        ("subdivisions", 0, "names", "en"),
        ("subdivisions", 0, "iso_code"),
        ("region",),
        ("region_name",),
        ("state1",),
        ("state",),
    ),
    "city": (("city", "names", "en"), ("city",), ("city_name",)),
    "isp": (
        ("traits", "isp"),
        ("isp",),
        ("traits", "autonomous_system_organization"),
        ("autonomous_system_organization",),
        ("as_organization",),
        ("as_name",),
        ("organization",),
        ("traits", "organization"),
        ("name",),
    ),
    "asn": (
        ("traits", "autonomous_system_number"),
        ("autonomous_system_number",),
        ("asn",),
        ("as_number",),
    ),
}
"""Where each field may stand, best first."""


Layout = dict[str, tuple[Path, ...]]
"""For each field that a file has, the places where its records keep it, best first."""


def layout_of(sample: Iterable[Any]) -> Layout:
    """The layout of a file by some of its records. Raises ValueError when none of them has a field that is known,
    which means that the file is about something else."""
    records = [record for record in sample if isinstance(record, Mapping)]
    layout: Layout = {}
    for field, paths in _PATHS.items():
        seen = tuple(path for path in paths if any(_has(field, record, path) for record in records))
        if seen:
            layout[field] = _with_alternatives(paths, seen)
    if not layout:
        raise ValueError("no record has a country, region, city, network name or AS number")
    return layout


def _has(field: str, record: Mapping[str, Any], path: Path) -> bool:
    value = _at(record, path)
    return value is not None and CLEAN[field](value) is not None


def _with_alternatives(paths: tuple[Path, ...], seen: tuple[Path, ...]) -> tuple[Path, ...]:
    # a sample may miss what stands in few records, such as a country by registration only: once a nested place is
    # seen, all nested places of the field are read
    if any(len(path) > 1 for path in seen):
        return tuple(path for path in paths if path in seen or len(path) > 1)
    return seen


def _at(record: Any, path: Path) -> Any:
    value = record
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or len(value) <= step:
                return None
            value = value[step]
        else:
            if not isinstance(value, Mapping):
                return None
            value = value.get(step)
    return value


def country_code(value: Any) -> str | None:
    """Two capital letters; None for anything else, because some flat files keep a country's name there."""
    return _CODES.get(value) if isinstance(value, str) else None


_CODES = {"".join(pair): "".join(pair).upper() for pair in product(ascii_letters, repeat=2)}
"""Every text of two letters, because one look-up costs less than four questions."""


def text(value: Any) -> str | None:
    """A text that is not empty, or None. Postgres takes no NUL, so none goes into an event."""
    return value.replace("\0", "") or None if isinstance(value, str) else None


def as_number(value: Any) -> int | None:
    """An AS number out of a number or a text with or without the letters AS; None when it is none."""
    if isinstance(value, str):
        digits = value.upper().removeprefix("AS")
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else 0
    return value if isinstance(value, int) and 0 < value < 1 << 32 else None


CLEAN: dict[str, Callable[[Any], str | int | None]] = {
    "country": country_code,
    "region": text,
    "city": text,
    "isp": text,
    "asn": as_number,
}
"""What makes a value of each field out of what a record has there; None when it is no value."""
