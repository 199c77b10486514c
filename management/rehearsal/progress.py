"""What is under way, on standard error: a bar on a terminal, elsewhere a line every few seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_LINE_SECONDS: Final = 5.0


class Stage:
    """One stage of a rehearsal. `show` may be called as often as one likes."""

    def __init__(self, console: Console, title: str, bar: Progress | None, task: TaskID | None) -> None:
        self._console = console
        self._title = title
        self._bar = bar
        self._task = task
        self._said_at = time.monotonic()

    def show(self, share: float | None, text: str) -> None:
        """`share` of the whole from 0 to 1, None where nobody knows it."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=share or 0.0, total=None if share is None else 1.0, text=text)
            return
        now = time.monotonic()
        if now - self._said_at >= _LINE_SECONDS:
            self._said_at = now
            done = "" if share is None else f" {share:.0%}"
            self._console.print(f"{self._title}:{done} {text}")


@contextmanager
def stage(title: str, console: Console | None = None) -> Iterator[Stage]:
    """Show a stage until the block ends; `console` is standard error where none is given."""
    console = console or error_console()
    if not console.is_terminal:
        yield Stage(console, title, None, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield Stage(console, title, bar, bar.add_task(title, total=None, text=""))


def error_console() -> Console:
    """Standard error, plain: what is said there may hold brackets that are no markup."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
