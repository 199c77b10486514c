"""System calls as `strace -f -yy` writes them to one file: each with the lines on which it began and ended.

strace holds a thread from the moment it sees a call begin or end until it has written the line. So a call whose
first line stands behind another one's last line began after that one had ended.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(r"(\d+) +(?:\d+\.\d+ +)?(.*)")
_RESUMED: Final = re.compile(r"<\.\.\. \w+ resumed>")
_CALL: Final = re.compile(r"(\w+)\((?:\d+<(.*?)>(?=[,)]))?(.*)\) += (-?\d+)?.*")
_CUT_OFF: Final = re.compile(r"(\w+)\((?:\d+<(.*?)>(?=[,)]|$))?(.*)")
_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """`path` of the descriptor in the first place, "" without one; `sent`: what was, or was to be, written."""

    name: str
    path: str
    sent: bytes
    result: int | None
    """None for a call that never came back."""
    began: int
    ended: int | None


def read_calls(lines: Iterable[str]) -> list[Call]:
    """The calls in order of their beginning."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None or found[2].startswith(("+++", "---")):
            continue
        thread, text = found[1], found[2]
        if text.endswith("<unfinished ...>"):
            open_calls[thread] = (text.removesuffix("<unfinished ...>").rstrip(), number)
            continue
        began = number
        if resumed := _RESUMED.match(text):
            first, began = open_calls.pop(thread)
            text = first + text[resumed.end() :]
        calls.append(_call(_CALL.match(text), text, began, number))
    calls += [_call(_CUT_OFF.match(text), text, began, None) for text, began in open_calls.values()]
    return sorted(calls, key=lambda call: call.began)


def _call(found: re.Match[str] | None, text: str, began: int, ended: int | None) -> Call:
    if found is None:
        raise ValueError(f"not a system call: {text[:200]!r}")
    sent = b"".join(codecs.escape_decode(piece.encode("latin-1"))[0] for piece in _TEXT.findall(found[3]))
    result = int(found[4]) if ended is not None and found[4] is not None else None
    return Call(found[1], found[2] or "", sent, result, began, ended)
