"""Covers waiting until readings agree and stand still. Leaves what is read to test_api_client.py."""

from collections.abc import Awaitable, Callable, Iterable, Iterator

import pytest

from management.rehearsal.api_client import ApiRefused, ApiUnreachable
from management.rehearsal.settling import Patience, Settled, settle

BRISK = Patience(steady=0.03, deadline=0.15, interval=0.005)


def readings(given: Iterable[int | Exception]) -> tuple[Callable[[], Awaitable[int]], list[int]]:
    """A reader of `given`, whose last entry is read for ever, and a list of what it gave."""
    left: Iterator[int | Exception] = iter(given)
    current: int | Exception = ApiUnreachable("never read")
    seen: list[int] = []

    async def read() -> int:
        nonlocal current
        current = next(left, current)
        if isinstance(current, Exception):
            raise current
        seen.append(current)
        return current

    return read, seen


async def settled(*given: int | Exception, wanted: int = 7) -> Settled[int]:
    read, _ = readings(given)
    return await settle(read, lambda reading: reading == wanted, BRISK, lambda reading: None)


async def test_readings_that_reach_what_is_wanted_settle() -> None:
    found = await settled(1, 3, 7)
    assert (found.reading, found.agreed) == (7, True)


async def test_a_reading_that_agrees_in_passing_does_not_count() -> None:
    found = await settled(6, 7, 7, 8)
    assert (found.reading, found.agreed) == (8, False)


async def test_agreement_must_last() -> None:
    found = await settled(7)
    assert found.agreed
    assert found.seconds >= BRISK.steady


async def test_what_stays_different_ends_at_the_deadline() -> None:
    found = await settled(1, 5)
    assert (found.reading, found.agreed) == (5, False)
    assert found.seconds >= BRISK.deadline


async def test_a_backlog_that_still_shrinks_is_awaited_beyond_the_deadline() -> None:
    found = await settled(*range(60), wanted=59)
    assert (found.reading, found.agreed) == (59, True)
    assert found.seconds > BRISK.deadline


async def test_an_api_that_comes_back_is_asked_again() -> None:
    away = ApiUnreachable("away")
    found = await settled(1, away, away, ApiRefused("x", 503, "UNAVAILABLE", "busy"), 7)
    assert found.agreed


async def test_an_api_that_stays_away_is_said_so() -> None:
    with pytest.raises(ApiUnreachable, match="away"):
        await settled(7, ApiUnreachable("away"))


async def test_a_refusal_is_final() -> None:
    with pytest.raises(ApiRefused, match="no such campaign"):
        await settled(ApiRefused("the figures", 404, "NOT_FOUND", "no such campaign"), 7)


async def test_every_reading_is_shown() -> None:
    read, seen = readings([1, 2, 7])
    shown: list[int] = []
    await settle(read, lambda reading: reading == 7, BRISK, shown.append)
    assert shown == seen
