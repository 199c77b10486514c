"""Named SQL: each statement stands in a `.sql` file beside its repository, under a line `-- name: its_name`."""

import re
from importlib import resources

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


class Queries:
    """The statements of one `.sql` file by name: `queries["list_campaigns"]`."""

    def __init__(self, package: str, file: str) -> None:
        text = resources.files(package).joinpath(file).read_text(encoding="utf-8")
        parts = _NAME.split(text)
        self.origin = f"{package}/{file}"
        self.statements: dict[str, str] = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
        if len(self.statements) != len(parts) // 2:
            raise ValueError(f"{self.origin}: a name stands twice")

    def __getitem__(self, name: str) -> str:
        return self.statements[name]
