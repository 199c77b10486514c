"""Identifiers that carry their own proof: the key ring, click ids, conversion ids, visitor digests.

A click id is `clk_` and 36 URL-safe characters over 27 bytes: key id (1), event time in ms (6), campaign (4),
nonce (8: random per process, then a sequence), keyed tag (8, blake2b). Age, campaign and forgery are checked
without a database; a guess hits with chance 2^-64.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from struct import Struct

CLICK_ID_BYTES = 27
_TAG_BYTES = 8
_SIGNED_BYTES = CLICK_ID_BYTES - _TAG_BYTES
_CLICK_ID = re.compile(r"clk_[A-Za-z0-9_-]{36}")
DIGEST_BYTES = 12
"""Length of visitor and address keys: 96 bits keep 10^10 visitors of a day apart."""


class InvalidClickId(ValueError):
    """Not a click id, or one that this installation did not make."""


class FutureKey(InvalidClickId):
    """Names the key one above the newest known: another edge may have it already, so the call may come again."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """One secret of the ring; a verify-only key still proves old ids but signs no new ones."""

    number: int
    secret: bytes
    signs: bool


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Secrets of the installation, newest first. Each purpose derives its own subkey, so none leaks another."""

    keys: tuple[RingKey, ...]

    @classmethod
    def generate(cls) -> "KeyRing":
        return cls((RingKey(1, secrets.token_bytes(32), True),))

    @classmethod
    def from_text(cls, text: str) -> "KeyRing":
        """Read `2:<64 hex>:verify,1:<64 hex>`, newest first; raises ValueError in one sentence."""
        keys: list[RingKey] = []
        for entry in text.strip().split(","):
            match = re.fullmatch(r"(\d{1,3}):([0-9a-fA-F]{64})(:verify)?", entry.strip())
            if match is None or not 1 <= int(match[1]) <= 255:
                raise ValueError("each key must read <number 1-255>:<64 hex digits>, or that with :verify behind it")
            keys.append(RingKey(int(match[1]), bytes.fromhex(match[2]), match[3] is None))
        numbers = [key.number for key in keys]
        if numbers != sorted(set(numbers), reverse=True):
            raise ValueError("keys must be listed newest first, each number once")
        if not any(key.signs for key in keys):
            raise ValueError("at least one key must sign")
        return cls(tuple(keys))

    def to_text(self) -> str:
        return ",".join(f"{k.number}:{k.secret.hex()}{'' if k.signs else ':verify'}" for k in self.keys)

    @property
    def newest(self) -> int:
        return self.keys[0].number

    @property
    def signing(self) -> RingKey:
        return next(key for key in self.keys if key.signs)

    def subkeys(self, purpose: str) -> dict[int, bytes]:
        """Key number → 32-byte subkey for one purpose (at most 16 characters)."""
        return {
            key.number: hashlib.blake2b(key.secret, digest_size=32, person=purpose.encode()).digest()
            for key in self.keys
        }


@dataclass(frozen=True, slots=True)
class ClickId:
    """A proven click id: who made it and when. `raw` is what Postgres stores."""

    raw: bytes
    time_ms: int
    campaign_id: int

    @property
    def text(self) -> str:
        return click_id_text(self.raw)


class ClickIds:
    """Makes and proves click ids. One instance a process: the nonce is its own."""

    def __init__(self, ring: KeyRing) -> None:
        self._keys = ring.subkeys("click id")
        self._newest = ring.newest
        number = ring.signing.number
        self._signer = hashlib.blake2b(key=self._keys[number], digest_size=_TAG_BYTES)
        self._number = number
        self._nonce = int.from_bytes(os.urandom(5), "big") << 24

    def issue(self, campaign_id: int, now_ms: int) -> str:
        """A new id. Unique even when the clock steps back: the nonce never repeats within a process's life."""
        nonce = self._nonce
        # A used-up sequence takes a fresh random part instead of wrapping into its own past.
        self._nonce = nonce + 1 if nonce & 0xFFFFFF != 0xFFFFFF else int.from_bytes(os.urandom(5), "big") << 24
        signed = _SIGNED.pack(self._number, now_ms >> 32, now_ms & 0xFFFFFFFF, campaign_id, nonce)
        signer = self._signer.copy()
        signer.update(signed)
        encoded = binascii.b2a_base64(signed + signer.digest(), newline=False)
        return "clk_" + encoded.translate(_TO_URL_SAFE).decode()

    def prove(self, text: str) -> ClickId:
        """The id behind `text`; raises InvalidClickId (malformed, unknown key, bad tag) or FutureKey."""
        if _CLICK_ID.fullmatch(text) is None:
            raise InvalidClickId("not a click id")
        raw = click_id_bytes(text)
        key = self._keys.get(raw[0])
        if key is None:
            if raw[0] == self._newest + 1:
                raise FutureKey("made with the key next to come")
            raise InvalidClickId("made with an unknown key")
        tag = hashlib.blake2b(raw[:_SIGNED_BYTES], key=key, digest_size=_TAG_BYTES).digest()
        if not hmac.compare_digest(tag, raw[_SIGNED_BYTES:]):
            raise InvalidClickId("its tag does not match")
        return ClickId(raw, int.from_bytes(raw[1:7], "big"), int.from_bytes(raw[7:11], "big"))


_SIGNED = Struct(">BHIIQ")
"""Key id, event time (48 bits in two parts, because a Struct has no field of 6 bytes), campaign, nonce."""
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def click_id_text(raw: bytes) -> str:
    """`clk_…` of the 27 stored bytes."""
    return "clk_" + base64.urlsafe_b64encode(raw).decode()


def click_id_bytes(text: str) -> bytes:
    """The 27 bytes of a `clk_…` text; raises ValueError when it is none. Proves nothing."""
    raw = base64.urlsafe_b64decode(text[4:])
    if len(raw) != CLICK_ID_BYTES or not text.startswith("clk_"):
        raise ValueError("not a click id")
    return raw


def click_id_time(raw: bytes) -> int:
    """Event time in ms since 1970, as the id itself says."""
    return int.from_bytes(raw[1:7], "big")


def click_id_parts(raw: bytes) -> tuple[int, int]:
    """Event time in ms since 1970, and the campaign."""
    _, high, low, campaign, _ = _SIGNED.unpack_from(raw)
    return high << 32 | low, campaign


def conversion_id(account_id: int, click_id: bytes, event: str, transaction_id: str, *, repeat: str = "") -> str:
    """`conv_…`: the same postback twice is the same conversion by construction.

    `repeat` tells calls of one key apart in duplicate mode `new` only: the postback's own id.
    """
    digest = hashlib.blake2b(digest_size=16, person=b"conversion")
    for part in (
        str(account_id).encode(),
        click_id,
        event.encode(),
        transaction_id.encode(),
        repeat.encode(),
    ):
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return "conv_" + digest.hexdigest()


def digest_key(salt: bytes, *parts: bytes) -> str:
    """A visitor or address key: 16 base64 characters over 12 keyed bytes; parts cannot run into each other."""
    hasher = hashlib.blake2b(b"\x00".join(parts), key=salt, digest_size=DIGEST_BYTES)
    return binascii.b2a_base64(hasher.digest(), newline=False).decode()


def next_salt(last: bytes, date: str) -> bytes:
    """The salt of `date` (YYYY-MM-DD) for an edge that is cut off from the source of salts."""
    return hashlib.blake2b(date.encode(), key=last, digest_size=32).digest()
