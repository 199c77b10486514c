"""Passwords of the embedded servers: random, made at the first start, one 0600 file each."""

import secrets

from shared.data_dir import DataDir, write_private


def server_password(data_dir: DataDir, server: str) -> tuple[str, bool]:
    """The password in `secrets/<server>-password`, letters, digits, `-` and `_` only, and whether it is new."""
    path = data_dir.secrets / f"{server}-password"
    if path.exists():
        return path.read_text(encoding="utf-8").strip(), False
    password = secrets.token_urlsafe(24)
    write_private(path, f"{password}\n")
    return password, True
