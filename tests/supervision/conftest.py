"""One world per test, and the whole of supervision in it."""

from collections.abc import AsyncIterator

import pytest

from tests.supervision import world as worlds
from tests.supervision.bench import bench, empty
from tests.supervision.line import line

__all__ = ["bench", "empty", "line", "world"]


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[worlds.World]:
    """A fake host: workers in this process, a database in memory, a clock that stands."""
    marker = request.node.get_closest_marker("timings")
    async with worlds.world(**(marker.kwargs if marker else {})) as made:
        yield made
