"""How a worker ends its background parts. Its life as a process is in integration/edge/test_processes.py."""

import asyncio

from edge.worker import _cancelled, _kept_running


async def test_a_part_that_swallows_a_cancellation_ends_all_the_same() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    await asyncio.wait_for(_cancelled(tasks), 5)
    assert swallowed == 1
    assert all(task.cancelled() for task in tasks)


async def test_a_part_that_fails_is_started_again() -> None:
    lives: list[int] = []

    async def part() -> None:
        lives.append(1)
        if len(lives) == 1:
            raise RuntimeError("an error of the program")

    await asyncio.wait_for(_kept_running("a part", part), 5)
    assert len(lives) == 2
