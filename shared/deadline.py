"""Waiting for somebody else's client, always with a deadline."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Answer = TypeVar("Answer")


async def within(seconds: float, waiting: Awaitable[Answer]) -> Answer:
    """What `waiting` gives. Raises what it raises, TimeoutError after `seconds`, ConnectionError where it was ended.

    Kafka's client cancels tasks of its own, and lets that through to whoever waits for them, when a connection is lost
    while it closes. Nobody asked us to end, so that is an error like any other.
    """
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the client ended what was waited for") from None
