from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.e2e.harness import Daemon, Receiver, receiving, settings_for, short_folder
from tests.store.conftest import mariadb, postgresql
from waguard.lab.standin import Policy, StandIn

__all__ = ["World", "mariadb", "postgresql", "world"]  # pytest finds fixtures by name


@dataclass
class World:
    """Everything that an end-to-end test touches."""

    standin: StandIn
    receiver: Receiver
    daemon: Daemon


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A stand-in, a receiver and a daemon that has not been started yet."""
    with short_folder() as folder:
        async with StandIn(policy=Policy(sync=0.1)) as standin, receiving() as (receiver, hook):
            settings = settings_for(standin, hook, folder)
            async with Daemon(folder, settings) as daemon:
                yield World(standin, receiver, daemon)
