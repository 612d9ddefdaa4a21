"""What the log says where a door has no room for whoever knocks: one line a minute, however many do."""

import asyncio

from loguru import logger


class NoRoom:
    """The shortage of one door."""

    def __init__(self, every: float) -> None:
        """``every``: so many seconds are between two lines."""
        self._every = every
        self._clock = asyncio.get_running_loop().time
        self._times = 0
        self.reported_at = -every

    def report(self, why: str) -> None:
        """There was none for one more."""
        self._times += 1
        if self._clock() - self.reported_at >= self._every:
            logger.warning(
                "there is no room for one more connection",
                event="connections_full",
                why=why,
                times=self._times,
            )
            self._times, self.reported_at = 0, self._clock()
