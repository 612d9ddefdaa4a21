"""What lasts as long as a key is valid: event streams."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class KeyStreams:
    """What lasts as long as a key is valid."""

    def __init__(self) -> None:
        self._of: dict[str, set[asyncio.Timeout]] = {}

    @contextlib.asynccontextmanager
    async def lasting(self, key: str, left: float | None) -> AsyncIterator[None]:
        """End the body with ``TimeoutError`` when the key ends, or after so many seconds."""
        streams = self._of.setdefault(key, set())
        async with asyncio.timeout(left) as end:
            streams.add(end)
            try:
                yield
            finally:
                streams.discard(end)

    def end(self, key: str) -> None:
        """The key has ended."""
        for end in self._of.pop(key, ()):
            if not end.expired():
                end.reschedule(asyncio.get_running_loop().time())
