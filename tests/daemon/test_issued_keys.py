"""Issued keys of a daemon: by its command line, over restarts, and with a file that is damaged."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.daemon.test_running_daemon import ALONE
from tests.e2e.harness import Daemon, short_folder
from tests.host.processes import waguard

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_folder() as folder:
        async with Daemon(folder, ALONE) as made:
            await made.start()
            yield made


async def command(daemon: Daemon, *arguments: str) -> tuple[str, str]:
    """What it says on stdout, and on stderr."""
    done = await asyncio.to_thread(waguard, "keys", *arguments, folder=daemon.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


async def status(daemon: Daemon, key: str) -> int:
    """Of a request with this key."""
    daemon.key = key
    return (await daemon.call("GET", "/api/sessions"))[0]


async def reload(daemon: Daemon) -> None:
    assert daemon.process
    before = daemon.log().count("configuration read again")
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.logs("configuration read again", before + 1)


async def test_a_key_is_made_used_and_revoked_over_restarts(daemon: Daemon) -> None:
    key, about = await command(daemon, "create", "shop", "--right", "read", "--expires", "1d")
    assert key.startswith("wg_")
    assert key not in about
    assert await status(daemon, key) == 200
    assert (await daemon.call("GET", f"/api/nothing/{key}?api_key={key}"))[0] == 404
    assert await daemon.stop() == 0
    (written,) = json.loads((daemon.folder / "state/keys.json").read_bytes())["keys"]
    assert written["used_at"] is not None
    assert written["created_by"].endswith("by the socket")
    await daemon.start()
    assert await status(daemon, key) == 200
    assert "is revoked" in (await command(daemon, "revoke", "shop", "--yes"))[0]
    assert await status(daemon, key) == 401
    await daemon.stop(signal.SIGKILL)
    await daemon.start()
    assert await status(daemon, key) == 401
    assert "revoked by" in (await command(daemon, "list"))[0]
    log = daemon.log()
    assert "key_created" in log
    assert "key_revoked" in log
    assert key.removeprefix(f"wg_{written['id']}_") not in log
    assert "[hidden]" in log, "the path of a request had it"


async def test_a_damaged_file_is_reported_and_locks_nobody_out(daemon: Daemon) -> None:
    key, _ = await command(daemon, "create", "shop", "--right", "read")
    assert await daemon.stop() == 0
    file = daemon.folder / "state/keys.json"
    good, bad = file.read_bytes(), b'{"version":1,"keys":[{}]}'
    file.write_bytes(bad)
    await daemon.start()
    application = daemon.key
    assert await status(daemon, key) == 503
    assert await status(daemon, application) == 200

    async def conditions() -> list[dict[str, Any]]:
        _, reported = await daemon.call("GET", "/health/detailed")
        return [it for it in reported["conditions"] if it["type"] == "keys_unreadable"]

    (condition,) = await conditions()
    assert str(file) in condition["message"]
    assert "unknown: it is not a file of keys" in (await command(daemon, "list"))[0]
    assert file.read_bytes() == bad
    file.write_bytes(good)
    await reload(daemon)
    assert await conditions() == []
    assert await status(daemon, key) == 200
