"""A host that is one of several, and one that is not."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.daemon.test_running_daemon import ALONE
from tests.e2e.harness import Daemon, short_folder

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


async def test_a_file_of_the_cluster_that_cannot_be_used_ends_the_start(
    daemon: Daemon, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
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
