"""Who waits for a turn of what is done without a key."""

import asyncio

from waguard.api.intake import Intake
from waguard.api.timings import Limits


class Guest:
    """Fills ``waguard.api.intake.Waiting``."""

    has_hung_up = False
    slowness = 0.0

    def __init__(self) -> None:
        self.resumed = asyncio.Event()

    def resume(self) -> None:
        self.resumed.set()


async def test_after_a_stop_there_are_turns_for_whoever_comes_then() -> None:
    intake, first, second = Intake(Limits()), Guest(), Guest()
    intake.queue(first)
    intake.stop()
    intake.queue(second)
    async with asyncio.timeout(20):
        await second.resumed.wait()
    assert not first.resumed.is_set()
