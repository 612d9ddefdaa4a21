"""One world per test."""

from collections.abc import AsyncIterator

import pytest

from tests.supervision import fakes


@pytest.fixture
async def world() -> AsyncIterator[fakes.World]:
    """A fake host: workers in this process, a database in memory, a clock that stands."""
    async with fakes.world() as made:
        yield made
