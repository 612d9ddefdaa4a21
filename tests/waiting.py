"""Wait for a condition that has no event of its own, and never longer than a deadline."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

DEADLINE: Final = 45.0  # s; for what works, on a machine that is busy with other things
_POLL: Final = 0.01  # s between two looks

Result = TypeVar("Result")


async def wait_until(
    condition: Callable[[], Result], what: str, *, deadline: float = DEADLINE
) -> Result:
    """The condition's first true result; the test fails with ``what`` where none comes."""
    try:
        async with asyncio.timeout(deadline):
            while not (result := condition()):
                await asyncio.sleep(_POLL)
    except TimeoutError:
        pytest.fail(f"never: {what}")
    return result


def block_until(
    condition: Callable[[], Result], what: str, *, deadline: float = DEADLINE
) -> Result:
    """The same without an event loop."""
    end = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > end:
            pytest.fail(f"never: {what}")
        time.sleep(_POLL)
    return result
