"""The installation's key ring: from MILEPOST_SECRET_KEYS, else from the data directory, made there once."""

from shared.data_dir import DataDir, write_private
from shared.env import Settings, SettingsError
from shared.ids import KeyRing


def load_key_ring(settings: Settings, *, create: bool) -> KeyRing:
    """The ring; with `create`, a missing one is generated (0600). Raises SettingsError in one sentence."""
    path = DataDir.at(settings.data_dir).key_ring
    text = settings.secret_keys
    origin = "MILEPOST_SECRET_KEYS"
    if text is None:
        origin = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            if not create:
                raise SettingsError((f"MILEPOST_SECRET_KEYS: not given, and there is no key ring at {path}",)) from None
            ring = KeyRing.generate()
            write_private(path, ring.to_text() + "\n")
            return ring
    try:
        return KeyRing.from_text(text)
    except ValueError as error:
        raise SettingsError((f"{origin}: {error}",)) from error
