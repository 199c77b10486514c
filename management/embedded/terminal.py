"""What `milepost up` says: a line a step with a spinner on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Whoever read our lines is gone; that must not end milepost, as the inherited answer would.
        self.quiet = True


class Terminal:
    """Progress on standard output, what went wrong on standard error."""

    def __init__(self) -> None:
        self.interactive = sys.stdout.isatty()
        self._out = _Console(highlight=False, markup=False, soft_wrap=True)
        self._err = _Console(highlight=False, markup=False, soft_wrap=True, stderr=True)

    def say(self, line: str) -> None:
        self._print(self._out, line)

    def fail(self, sentence: str, log_name: str = "", log: Sequence[str] = ()) -> None:
        """The last lines of a log, if there are any, and below them the sentence."""
        if log:
            self._print(self._err, f"last lines of {log_name}:")
        for line in log:
            self._print(self._err, f"  {line}")
        self._print(self._err, f"milepost: {sentence}")

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Shows that `what` is under way and, if it comes through, how long it took."""
        begin = time.monotonic()
        with self._out.status(what) if self.interactive else contextlib.nullcontext():
            yield
        self.say(f"{what}: done in {time.monotonic() - begin:.1f} s")

    def _print(self, console: Console, line: str) -> None:
        try:
            console.print(line)
        except OSError:  # a terminal that was closed
            console.quiet = True
