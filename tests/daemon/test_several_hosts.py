"""A host that is one of several, and one that is not."""

import secrets
import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, select
from sqlalchemy.ext.asyncio import create_async_engine

from tests.daemon.test_running_daemon import ALONE
from tests.e2e.harness import Daemon, short_folder
from tests.ports import reserved_port
from tests.store.conftest import new_database, postgresql
from waguard.store.models import HOSTS
from waguard.store.shared_models import KEY_CHANGES, SHARED_KEYS

__all__ = ["postgresql"]  # pytest finds fixtures by name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_folder() as folder:
        async with Daemon(folder, ALONE) as made:
            yield made


async def test_a_daemon_that_is_alone_imports_nothing_of_several_hosts(daemon: Daemon) -> None:
    daemon.executed = True
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


def written_key(folder: Path, name: str = "key") -> Path:
    key = folder / name
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    return key


def member(name: str, port: int, url: str, key: Path) -> dict[str, str]:
    """Settings of a host of this name, with its leases in the database."""
    return {
        "WAGUARD_DATABASE__URL": url,
        "WAGUARD_API__PORT": str(port),
        "WAGUARD_CLUSTER__ENGINE": "database",
        "WAGUARD_CLUSTER__ADDRESS": f"http://127.0.0.1:{port}",
        "WAGUARD_CLUSTER__KEY_FILE": str(key),
        "WAGUARD_CLUSTER__HOST": name,
    }


async def rows(url: str, *columns: Column[Any]) -> list[tuple[Any, ...]]:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(select(*columns))]
    finally:
        await engine.dispose()


async def test_a_handover_renews_a_lease_that_is_in_the_database_before_that_is_closed(
    daemon: Daemon, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Its revision is the time."""
    url = await new_database("postgresql", request, tmp_path)
    with reserved_port() as port:
        daemon.settings = {**daemon.settings, **member("h0", port, url, written_key(tmp_path))}
        await daemon.start()
        began = time.time()
        assert await daemon.stop(signal.SIGUSR2) == 0
    [(revision,)] = await rows(url, HOSTS.c.revision)
    assert revision > began * 1_000_000


@pytest.mark.long  # what `make test` sees of it: test_shared_keys.py of tests/store and tests/api
async def test_a_host_with_another_key_file_leaves_the_rows_of_issued_keys_alone(
    daemon: Daemon, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Both know the key, and neither may write it anew."""
    url = await new_database("postgresql", request, tmp_path)
    with short_folder() as folder, reserved_port() as port, reserved_port() as other_port:
        async with Daemon(folder, ALONE) as other:
            key = written_key(tmp_path)
            daemon.settings = {**daemon.settings, **member("h0", port, url, key)}
            other.settings = {**other.settings, **member("h1", other_port, url, key)}
            await daemon.start()
            await other.start()
            code, made = await daemon.call("POST", "/api/keys", {"name": "shop", "right": "read"})
            assert code == 201, made

            async def is_known() -> bool:
                return [it["name"] for it in (await other.call("GET", "/api/keys"))[1]["keys"]] == [
                    "shop"
                ]

            await other.until(is_known)
            assert await other.stop() == 0
            before = [await rows(url, it) for it in (SHARED_KEYS.c.seal, KEY_CHANGES.c.revision)]
            other.settings = {
                **other.settings,
                "WAGUARD_CLUSTER__KEY_FILE": str(written_key(tmp_path, "another")),
            }
            await other.start()
            await other.logs("event=key_unknown")
            for host in (daemon, other):
                await host.until(partial(is_shown, host, "hosts_differ"))
            assert before == [
                await rows(url, it) for it in (SHARED_KEYS.c.seal, KEY_CHANGES.c.revision)
            ]


async def is_shown(host: Daemon, kind: str) -> bool:
    code, found = await host.call("GET", "/health/detailed")
    return code == 200 and kind in {it["type"] for it in found["conditions"]}


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
