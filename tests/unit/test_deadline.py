"""Covers `within`: what it gives, its deadline, and the three ways in which a wait is cancelled."""

import asyncio

import pytest

from shared.deadline import within


async def given() -> int:
    await asyncio.sleep(0)
    return 7


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_comes_in_time_is_given() -> None:
    assert await within(5, given()) == 7


async def test_what_is_late_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        await within(0.01, forever())


async def test_a_wait_that_somebody_else_ends_is_an_error_and_no_end_of_ours() -> None:
    theirs = asyncio.create_task(forever())
    asyncio.get_running_loop().call_later(0.01, theirs.cancel)
    with pytest.raises(ConnectionError):
        await within(5, theirs)


async def test_who_is_told_to_end_ends() -> None:
    ours = asyncio.create_task(within(5, forever()))
    await asyncio.sleep(0.01)
    ours.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ours


async def test_a_deadline_around_it_is_that_ones() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await within(5, forever())
