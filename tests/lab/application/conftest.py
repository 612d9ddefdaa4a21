from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.application.instance import SECRET, Instance, serving
from tests.store.conftest import mariadb, postgresql
from waguard.lab.application import Application, Manners

__all__ = ["mariadb", "pair", "postgresql"]

QUICK = Manners(
    boot=0.0,
    call_back=0.0,
    commit=0.0,
    nap=0.0,
    job=0.0,
    job_again=0.0,
    slow=0.1,
    again=0.01,
    send_timeout=30.0,
)


@dataclass
class Pair:
    """The double, and what it believes to be waguard."""

    app: Application
    instance: Instance


@pytest.fixture
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    """With a connected row of the session s1; parametrized indirectly with ``Manners``."""
    database = f"sqlite+aiosqlite:///{tmp_path / 'waguard.db'}"
    manners = getattr(request, "param", QUICK)
    async with (
        serving() as instance,
        Application(database, instance.base, secret=SECRET, manners=manners) as app,
    ):
        await app.accounts.migrate()
        await app.connect("s1")
        await app.accounts.connected("s1", "62")
        instance.asked.clear()
        yield Pair(app, instance)
