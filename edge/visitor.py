"""Who clicked, without keeping who: keyed digests that end with their day (detection.md section 1). Pure."""

from binascii import b2a_base64
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct

from edge.client_ip import ClientAddress, key_form
from edge.salts import DAY_MS, Salts
from shared.ids import DIGEST_BYTES

_FOUR_KEYS = Struct("16s16s16s16s")
"""Base64 of four digests of 12 bytes in one piece is each digest's own, one after the other."""

FourKeys = tuple[bytes, bytes, bytes, bytes]
"""Base64 of the keys of the visitor on the campaign under today's and yesterday's salt, and of the address alone under
both, so that midnight divides nobody."""

VisitorKeys = tuple[FourKeys, bool]
"""The four keys of one click, and whether a salt had to be derived here: then other edges made other keys of the same
visitor. A bare tuple, because one is made for every click."""


@dataclass(frozen=True, slots=True)
class _DayHashers:
    """Keyed and empty hashers of one day's salts: a copy of one costs less than keying it again."""

    day: int
    salts: Salts
    today: blake2b
    yesterday: blake2b
    derived: bool


class KeyMaker:
    """Makes the keys. Those of addresses are not remembered: most addresses never come again, and to look for one
    that does not costs half of what the digests do."""

    def __init__(self) -> None:
        self._hashers: _DayHashers | None = None

    def keys(
        self,
        salts: Salts,
        now_ms: int,
        address: ClientAddress,
        user_agent: bytes,
        accept_language: bytes,
        campaign: bytes,
    ) -> VisitorKeys:
        """The keys of one click; headers as received, `campaign` its number as text."""
        hashers = self._hashers
        if hashers is None or hashers.day != now_ms // DAY_MS or hashers.salts is not salts:
            hashers = self._rekeyed(salts, now_ms // DAY_MS)
        place = key_form(address)
        # Headers hold no NUL and the campaign none either, so what stands before the address cannot run into it.
        visitor = b"\x00".join((user_agent, accept_language, campaign, place))
        today, yesterday = hashers.today.copy, hashers.yesterday.copy
        one, two, three, four = today(), yesterday(), today(), yesterday()
        one.update(visitor)
        two.update(visitor)
        three.update(place)
        four.update(place)
        digests = one.digest() + two.digest() + three.digest() + four.digest()
        return _FOUR_KEYS.unpack(b2a_base64(digests, newline=False)), hashers.derived

    def _rekeyed(self, salts: Salts, day: int) -> _DayHashers:
        today, yesterday, derived = salts.of_day(day)
        self._hashers = _DayHashers(day, salts, digest_hasher(today), digest_hasher(yesterday), derived)
        return self._hashers


def digest_hasher(salt: bytes) -> blake2b:
    """The hasher behind shared.ids.digest_key, keyed and empty."""
    return blake2b(key=salt, digest_size=DIGEST_BYTES)
