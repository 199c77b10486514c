"""Who clicked, without keeping who: keyed digests that end with their day (detection.md section 1). Pure."""

from binascii import b2a_base64
from hashlib import blake2b
from typing import NamedTuple

from edge.client_ip import ClientAddress, key_form
from edge.recent import Recent
from edge.table import DAY_MS, Salts
from shared.ids import DIGEST_BYTES

_REMEMBERED_ADDRESSES = 16_384


class VisitorKeys(NamedTuple):
    """Digests of the visitor on the campaign and of the address alone, each under today's and yesterday's salt, so
    that midnight divides nobody."""

    visitor: str
    visitor_prev: str
    address: str
    address_prev: str
    derived: bool
    """Whether a salt had to be derived here: then other edges made other keys of the same visitor."""


class _DayHashers(NamedTuple):
    """Keyed and empty hashers of one day's salts: a copy of one costs less than keying it again."""

    day: int
    salts: Salts
    today: blake2b
    yesterday: blake2b
    derived: bool


class KeyMaker:
    """Makes the keys; remembers those of addresses, which come again."""

    def __init__(self) -> None:
        self._hashers: _DayHashers | None = None
        self._addresses: Recent[bytes, tuple[str, str]] = Recent(_REMEMBERED_ADDRESSES)

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
        known = self._addresses.get(place)
        if known is None:
            known = (_digest(hashers.today, place), _digest(hashers.yesterday, place))
            self._addresses.put(place, known)
        # Headers hold no NUL and the campaign none either, so what stands before the address cannot run into it.
        visitor = b"\x00".join((user_agent, accept_language, campaign, place))
        return VisitorKeys(
            _digest(hashers.today, visitor), _digest(hashers.yesterday, visitor), known[0], known[1], hashers.derived
        )

    def _rekeyed(self, salts: Salts, day: int) -> _DayHashers:
        today, yesterday, derived = salts.of_day(day)
        self._addresses = Recent(_REMEMBERED_ADDRESSES)
        self._hashers = _DayHashers(day, salts, digest_hasher(today), digest_hasher(yesterday), derived)
        return self._hashers


def _digest(keyed: blake2b, content: bytes) -> str:
    hasher = keyed.copy()
    hasher.update(content)
    return b2a_base64(hasher.digest(), newline=False).decode()


def digest_hasher(salt: bytes) -> blake2b:
    """The hasher behind shared.ids.digest_key, keyed and empty."""
    return blake2b(key=salt, digest_size=DIGEST_BYTES)
