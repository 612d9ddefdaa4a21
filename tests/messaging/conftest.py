"""A receiver of webhooks, and what was logged."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.messaging.outbox_world import PATIENT, World, outbox
from tests.messaging.receiver import Receiver, receiving
from tests.ports import reserved_port
from waguard.messaging.timings import BOUNDS, SendBounds, SendTimings


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def timings() -> SendTimings:
    """As the daemon has them, but for a slow disk; ``with_timings`` changes them for a test."""
    return PATIENT


@pytest.fixture
def bounds() -> SendBounds:
    """The same of ``with_bounds``."""
    return BOUNDS


@pytest.fixture
async def world(tmp_path: Path, timings: SendTimings, bounds: SendBounds) -> AsyncIterator[World]:
    """An outbox that runs; ``with_timings`` says how it waits, ``with_bounds`` how much it takes."""
    async with outbox(tmp_path, timings, bounds) as made:
        yield made


@pytest.fixture
def dead_port() -> Iterator[int]:
    """Nobody listens there, until a test does."""
    with reserved_port() as port:
        yield port
