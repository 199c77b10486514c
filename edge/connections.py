"""All open connections of one worker: how many an address may hold, and how long each may take over what.

One sweep looks after every deadline, so a request costs no timer: a connection notes the tick at which it began to
wait, and the sweep closes those that wait too long.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final, Protocol

from edge.answers import Stamp
from edge.client_ip import TrustedProxies, key_form

TICK_SECONDS: Final = 0.5

IDLE, HEAD, BODY, LINGER = range(4)
"""What a connection waits for: a request, the rest of its head, the rest of its body, the other side's close."""

_LIMITS_SECONDS: Final = {IDLE: 9.5, HEAD: 4.5, BODY: 9.5, LINGER: 2.0}
"""api.md section 6 names 10, 5 and 10 s as the latest; the sweep may come up to a tick later than these."""
LIMITS: Final = tuple(int(_LIMITS_SECONDS[phase] / TICK_SECONDS) for phase in range(4))
"""By phase, in ticks."""
UNREAD_LIMIT: Final = int(29 / TICK_SECONDS)
"""How many ticks answers may lie unread (30 s in the contract)."""
PARTING_LIMIT: Final = 2
"""While the worker ends: how many ticks a connection may stay silent before it is closed."""

MOST_TICKS: Final = 2
"""How many may pass between two sweeps."""


class Connection(Protocol):
    """What the sweep sees of a connection."""

    def look_after(self, tick: int) -> None:
        """Close it if it is overdue."""


class Connections:
    """How many connections each address holds, the clock of their deadlines, and the Date that their answers carry."""

    def __init__(self, per_address: int, proxies: TrustedProxies) -> None:
        """`per_address` bounds the connections of one address (an IPv6 /64), trusted proxies excepted; 0 = off."""
        self.tick = 0
        self.stamp = Stamp()
        self._per_address = per_address
        self._proxies = proxies
        self._held: dict[bytes, int] = {}

    def admit(self, peer: str) -> bytes | None:
        """Count a connection in. Gives what `leave` takes, None when its address holds too many already."""
        holder = self._holder(peer)
        if holder:
            held = self._held.get(holder, 0)
            if held >= self._per_address:
                return None
            self._held[holder] = held + 1
        return holder

    def leave(self, holder: bytes | None) -> None:
        if holder:
            left = self._held[holder] - 1
            if left:
                self._held[holder] = left
            else:
                del self._held[holder]

    def _holder(self, peer: str) -> bytes:
        """The bytes that stand for an address whose connections are counted, none for one that may hold any number."""
        if not self._per_address or self._proxies.is_trusted(peer):
            return b""
        return key_form(self._proxies.visitor(peer))

    async def sweep_for_ever(self, open_ones: Iterable[Connection]) -> None:
        """Looks after whatever `open_ones` holds at each tick: the server's own set."""
        loop = asyncio.get_running_loop()
        counted_to = loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            # By the clock: a busy loop comes late to its sweeps, and must not come late to its deadlines for it. But
            # a process that stood still does not hold that time against connections whose bytes it could not read.
            passed = int((loop.time() - counted_to) / TICK_SECONDS)
            self.tick += min(passed, MOST_TICKS)
            counted_to = loop.time() if passed > MOST_TICKS else counted_to + passed * TICK_SECONDS
            self.stamp.renew(time.time())
            tick = self.tick
            for connection in list(open_ones):
                connection.look_after(tick)
