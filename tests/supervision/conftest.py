"""One world per test, and the whole of supervision in it."""

from collections.abc import AsyncIterator

import pytest

from tests.supervision import fakes
from tests.supervision.bench import bench, empty
from tests.supervision.line import line
from tests.supervision.sessions import make

__all__ = ["bench", "empty", "line", "make", "world"]


@pytest.fixture
async def world() -> AsyncIterator[fakes.World]:
    """A fake host: workers in this process, a database in memory, a clock that stands."""
    async with fakes.world() as made:
        yield made
