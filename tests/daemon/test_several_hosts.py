"""A host that is one of several, and one that is not."""

import secrets
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from tests.daemon.test_running_daemon import ALONE
from tests.e2e.harness import Daemon, short_folder
from tests.ports import reserved_port
from tests.store.conftest import new_database, postgresql
from waguard.store.models import HOSTS

__all__ = ["postgresql"]  # pytest finds fixtures by name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_folder() as folder:
        async with Daemon(folder, ALONE, executed=True) as made:
            yield made


async def test_a_daemon_that_is_alone_imports_nothing_of_several_hosts(daemon: Daemon) -> None:
    daemon.settings = {**daemon.settings, "PYTHONPROFILEIMPORTTIME": "1"}
    await daemon.start()
    assert (await daemon.call("GET", "/api/sessions"))[0] == 200
    assert await daemon.stop() == 0
    lines = [line for line in daemon.log().splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "waguard.daemon.root" in imported
    assert "waguard.store.sql" in imported
    found = {name for name in imported if name.startswith("waguard.") and "cluster" in name}
    assert not found


def written_key(folder: Path) -> Path:
    key = folder / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    return key


async def test_a_handover_renews_a_lease_that_is_in_the_database_before_that_is_closed(
    daemon: Daemon, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its revision is the time."""
    url = await new_database("postgresql", request, tmp_path)
    with reserved_port() as port:
        daemon.settings = {
            **daemon.settings,
            "WAGUARD_DATABASE__URL": url,
            "WAGUARD_API__PORT": str(port),
            "WAGUARD_CLUSTER__ENGINE": "database",
            "WAGUARD_CLUSTER__ADDRESS": f"http://127.0.0.1:{port}",
            "WAGUARD_CLUSTER__KEY_FILE": str(written_key(tmp_path)),
            "WAGUARD_CLUSTER__HOST": "h0",
        }
        await daemon.start()
        began = time.time()
        assert await daemon.stop(signal.SIGUSR2) == 0
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        revision = await connection.scalar(select(HOSTS.c.revision))
    await engine.dispose()
    assert revision is not None
    assert revision > began * 1_000_000


async def test_a_file_of_the_cluster_that_cannot_be_used_ends_the_start(
    daemon: Daemon, tmp_path: Path
) -> None:
    key = written_key(tmp_path)
    daemon.settings = {
        **daemon.settings,
        "WAGUARD_DATABASE__URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
        "WAGUARD_CLUSTER__ENGINE": "etcd",
        "WAGUARD_CLUSTER__ENDPOINTS": '["https://127.0.0.1:1"]',
        "WAGUARD_CLUSTER__CA_FILE": str(tmp_path / "missing.pem"),
        "WAGUARD_CLUSTER__ADDRESS": "http://127.0.0.1:3001",
        "WAGUARD_CLUSTER__KEY_FILE": str(key),
        "WAGUARD_CLUSTER__HOST": "h0",
    }
    process = await daemon.spawn()
    assert await process.wait() == 2
    assert "cluster.ca_file" in daemon.log()
