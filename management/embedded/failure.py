"""The one error that the embedded servers and the supervisor raise for a user to read."""

from pathlib import Path


class StartError(Exception):
    """Why something did not start, in one sentence; `log` is the file whose last lines tell more."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log
