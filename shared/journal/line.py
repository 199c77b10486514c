"""A file of one line in a stream's directory, which its one writer replaces in one step."""

import os
import re
from pathlib import Path


def write_line(file: Path, line: str) -> None:
    """Replaces what `file` says. Raises OSError, FileNotFoundError when the stream is gone."""
    fresh = file.with_name(f".{file.name}")
    fd = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)
    fresh.rename(file)


def read_line(file: Path, form: re.Pattern[str]) -> re.Match[str] | None:
    """What `file` says, without its line break; None when it is missing, torn, or of another form. Raises OSError."""
    try:
        content = file.read_text("ascii", "replace")
    except FileNotFoundError:
        return None
    return form.fullmatch(content[:-1]) if content.endswith("\n") else None
