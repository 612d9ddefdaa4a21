"""One suite, many databases: ``bench`` is a store and the application beside it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

import waguard.store.shared_models  # noqa: F401 - its tables are some of them
from tests.store import servers, tables, template
from tests.store.application import Application, MemoryApplication, SqlApplication
from tests.store.memory import MemoryStore
from waguard.ports.store import Store
from waguard.ports.webhooks import Replayed
from waguard.store.messages import SqlMessages
from waguard.store.models import METADATA
from waguard.store.revision import VERSION_TABLE
from waguard.store.sql import SqlStore

PATIENT = 45.0  # s that a call waits for its turn: the disk is busy with other tests too
_NUMBERS = count(1)
_OURS = [name for name in METADATA.tables if name.startswith("waguard_")]


class Wall:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = 1_732_233_600.75

    def __call__(self) -> float:
        return self.time


@dataclass(frozen=True)
class Bench:
    """A database that is ready for a test."""

    store: Store
    app: Application
    wall: Wall


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.Server]:
    with servers.postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.Server]:
    with servers.mariadb() as server:
        yield server


BACKENDS = ("sqlite", "postgresql", "mariadb")

# for a test whose statements others run on both servers: on these in `make test-long` alone
usually_sqlite = pytest.mark.parametrize(
    "database",
    ["sqlite", *(pytest.param(it, marks=pytest.mark.long) for it in BACKENDS[1:])],
    indirect=True,
)

# the tables that the contract is held on: waguard's own, and the application's
SHAPES = (
    "memory",
    "sqlite",
    "sqlite-older",
    "postgresql",
    "postgresql-enums",
    "postgresql-older",
    "mariadb",
    "mariadb-enums",
    "mariadb-older",
)
# in `make test-long` alone: the application's database is MariaDB, whose older tables are tried
RARE = frozenset({"postgresql-enums", "postgresql-older", "sqlite-older"})
# the same after a newer waguard has been there
NEWER = tuple(f"{backend}-newer" for backend in BACKENDS)
_TABLES: dict[str, dict[str, Sequence[str]]] = {
    "": dict.fromkeys(BACKENDS, ()),
    "newer": dict.fromkeys(BACKENDS, ()),
    "older": dict.fromkeys(BACKENDS, (tables.OLDER,)),
    "enums": {"postgresql": tables.POSTGRESQL_ENUMS, "mariadb": (tables.MYSQL_ENUMS,)},
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        spec = getattr(item, "callspec", None)
        if spec and spec.params.get("bench") in RARE:
            item.add_marker(pytest.mark.long)


@pytest.fixture
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database; parametrized indirectly with one of ``BACKENDS``. It is empty, or ready
    for ``store`` where a test asks for that."""
    made = ready_database if "store" in request.fixturenames else new_database
    return await made(request.param, request, tmp_path)


@pytest.fixture
async def ready(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of one that is up to date, for several stores; parametrized as ``database``."""
    return await ready_database(request.param, request, tmp_path)


@pytest.fixture
def wall() -> Wall:
    """The clock of ``store``."""
    return Wall()


@pytest.fixture
async def store(database: str, wall: Wall) -> AsyncIterator[SqlStore]:
    """On ``database``, open."""
    opened = SqlStore(database, wall=wall, busy_timeout=PATIENT)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def messages(store: SqlStore) -> SqlMessages:
    """Its part that keeps messages."""
    return store.messages


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """An open store; parametrized indirectly with one of ``SHAPES``."""
    wall = Wall()
    if request.param == "memory":
        memory = MemoryStore(wall=wall)
        await memory.open()
        yield Bench(memory, MemoryApplication(memory), wall)
        return
    backend, _, shape = request.param.partition("-")
    url = await ready_database(backend, request, tmp_path, *_TABLES[shape][backend])
    app = SqlApplication(url, lasting=True)
    if shape == "newer":
        await migrated_by_a_newer_waguard(url)
    store = SqlStore(url, wall=wall, busy_timeout=PATIENT)
    await store.open()
    try:
        yield Bench(store, app, wall)
    finally:
        await store.close()
        await app.close()


async def migrated_by_a_newer_waguard(url: str) -> None:
    """A revision that this one does not know: it has added to each of waguard's tables, and one of
    its own."""
    store = SqlStore(url)
    await store.open()
    await store.close()
    added = "VARCHAR(32) DEFAULT 'x' NOT NULL"
    await SqlApplication(url).run(
        *(f"ALTER TABLE {name} ADD COLUMN of_the_future {added}" for name in _OURS),
        "CREATE TABLE waguard_of_the_future (id INTEGER PRIMARY KEY)",
        f"UPDATE {VERSION_TABLE} SET version_num = '9999'",
    )


async def new_database(backend: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if backend == "sqlite":
        return f"sqlite+aiosqlite:///{folder / 'waguard.db'}"
    server: servers.Server = request.getfixturevalue(backend)
    name = f"test_{next(_NUMBERS)}"
    await SqlApplication(server.url(server.maintenance)).run_alone(f"CREATE DATABASE {name}")
    return server.url(name)


async def ready_database(
    backend: str, request: pytest.FixtureRequest, folder: Path, *before: str
) -> str:
    """The URL of a new one that is up to date; ``before``: see ``template``."""
    if backend == "sqlite":
        await template.copy_to(folder / "waguard.db", *before)
        return f"sqlite+aiosqlite:///{folder / 'waguard.db'}"
    server: servers.Server = request.getfixturevalue(backend)
    name = await template.ready_on(server, *before)
    request.addfinalizer(lambda: template.is_over(server, name, *before))
    return server.url(name)


def endpoints_of(replayed: Sequence[Replayed]) -> list[str]:
    """Where they go again."""
    return [it.endpoint for it in replayed]
