"""How much is taken from whom: token buckets whose memory stays small however many addresses come. Pure.

A bucket is one number, the moment at which it will be full again, and a full one needs no memory at all. So a bucket
that nothing was taken from for as long as it takes to fill can be forgotten without giving anybody a token more:
two generations, exchanged after that time, forget exactly such buckets.
"""

from typing import Final

from edge.client_ip import ClientAddress, key_form

WORKER_STRANGERS: Final = 100
"""Requests of strangers and refused postbacks that one worker keeps, a second (design section 7)."""
ADDRESS_STRANGERS: Final = 10
"""Of these, from one address."""
RATE_SECONDS: Final = 10
"""A source may send what MILEPOST_POSTBACK_RATE grants it in this time at once (api.md section 1: 200/s, 2,000)."""
_REMEMBERED_SOURCES: Final = 32_768
_EVERYBODY: Final = b""


class Buckets:
    """A bucket for each key: `burst` tokens at once, `rate` a second in the long run; holds at most `capacity`.

    When more than half of `capacity` keys come before a bucket fills, those are forgotten early that did not come
    meanwhile. To be forgotten so, a sender must keep silent while as many others come: with a burst below that number
    it costs more calls than it gives back. Times are seconds of a clock that never steps back.
    """

    __slots__ = ("_deepest", "_exchange_at", "_fill", "_generation", "_old", "_token", "_young")

    def __init__(self, rate: float, burst: float, capacity: int) -> None:
        self._token = 1 / rate
        # Half a token is left to rounding, so that exactly `burst` calls of one instant have one.
        self._deepest = (burst - 0.5) / rate
        self._fill = (burst + 0.5) / rate
        self._generation = capacity // 2
        self._exchange_at = 0.0
        self._young: dict[bytes, float] = {}
        self._old: dict[bytes, float] = {}

    def has_token(self, key: bytes, now: float) -> bool:
        """Whether `take` would give one now."""
        return self._full_at(key, now) - now <= self._deepest

    def take(self, key: bytes, now: float) -> bool:
        """Takes a token; False when there is none. A refusal costs the key nothing."""
        full_at = self._full_at(key, now)
        has_token = full_at - now <= self._deepest
        young = self._young
        if key not in young and (now >= self._exchange_at or len(young) >= self._generation):
            self._old = young
            self._young = young = {}
            self._exchange_at = now + self._fill
        # Written on a refusal too: who goes on calling stays remembered.
        young[key] = full_at + self._token if has_token else full_at
        return has_token

    def _full_at(self, key: bytes, now: float) -> float:
        full_at = self._young.get(key) or self._old.get(key)
        return now if full_at is None or full_at < now else full_at

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class StrangerBudget:
    """What one worker keeps of requests that prove no campaign and of postbacks that it refuses.

    An address is remembered only with a token of the worker's, so there are never more of them than the worker gives
    tokens in two generations: a flood from ever new addresses costs no memory and gets nothing beyond the worker's
    own rate.
    """

    __slots__ = ("_addresses", "_worker")

    def __init__(self, worker_rate: float = WORKER_STRANGERS, address_rate: float = ADDRESS_STRANGERS) -> None:
        self._worker = Buckets(worker_rate, worker_rate, 2)
        # A generation lasts a second, in which the worker gives its burst and its rate.
        self._addresses = Buckets(address_rate, address_rate, 4 * int(worker_rate) + 2)

    def take(self, address: ClientAddress, now: float) -> bool:
        """Whether one more request of this address (of its /64) may be kept; it is counted then."""
        return (
            self._worker.has_token(_EVERYBODY, now)
            and self._addresses.take(key_form(address), now)
            and self._worker.take(_EVERYBODY, now)
        )

    def __len__(self) -> int:
        return len(self._addresses)


class SourceRate:
    """MILEPOST_POSTBACK_RATE: what one source may send to one worker; a rate of 0 lets everything through."""

    __slots__ = ("_buckets",)

    def __init__(self, rate: int) -> None:
        self._buckets = Buckets(rate, RATE_SECONDS * rate, _REMEMBERED_SOURCES) if rate else None

    def take(self, address: ClientAddress, now: float) -> bool:
        """Whether one more call of this address (of its /64) is within its rate; it is counted then."""
        return self._buckets is None or self._buckets.take(key_form(address), now)
