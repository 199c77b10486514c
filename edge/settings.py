"""The edge's settings and secrets, read once at start; every problem is told at once (shared.env)."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared import env
from shared.data_dir import DataDir
from shared.env import Settings, SettingsError
from shared.ids import KeyRing


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What a supervisor and its workers need; the key ring proves and makes click ids."""

    settings: Settings
    data_dir: DataDir
    key_ring: KeyRing


def read_settings(environ: Mapping[str, str]) -> EdgeSettings:
    """Raises SettingsError with one sentence for each problem."""
    settings = env.load(environ)
    data_dir = DataDir.at(settings.data_dir)
    return EdgeSettings(settings, data_dir, _key_ring(settings, data_dir))


def _key_ring(settings: Settings, data_dir: DataDir) -> KeyRing:
    name = f"{env.PREFIX}SECRET_KEYS"
    text = settings.secret_keys
    if text is None:
        name = str(data_dir.key_ring)
        try:
            text = data_dir.key_ring.read_text(encoding="ascii")
        except FileNotFoundError:
            raise SettingsError(
                (
                    f"{env.PREFIX}SECRET_KEYS: not set, and there is no key ring at {name}; "
                    "`milepost up` or `milepost migrate` makes one, or copy it from another host",
                )
            ) from None
        except (OSError, UnicodeError) as error:
            raise SettingsError((f"{name}: cannot be read: {error}",)) from error
    try:
        return KeyRing.from_text(text)
    except ValueError as error:
        raise SettingsError((f"{name}: {error}",)) from error
