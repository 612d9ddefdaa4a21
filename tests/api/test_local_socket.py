"""The API on its Unix socket: the same one, and who needs no key there."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from loguru import logger

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import SESSION
from tests.host.processes import BECOME_NOBODY, OTHERS_CANNOT, others_can_run_this_python
from tests.waiting import wait_until
from waguard.api import LocalApi, local_socket, serve
from waguard.core.webhooks.call_backs import Asked
from waguard.errors import ConfigError
from waguard.host.system.listen import LOCAL_SOCKET, listen

LIST = "http://localhost/api/sessions"
ASK = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request("GET", "/api/sessions", headers={"X-Api-Key": sys.argv[2]} if sys.argv[2:] else {})
print(connection.getresponse().status)
"""


@dataclass
class Local:
    """The socket, the runner that it belongs to, and a client on it."""

    api: LocalApi
    path: Path
    runner: web.AppRunner
    http: aiohttp.ClientSession

    async def status(self, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(LIST, headers=named) as response:
            return response.status


@pytest.fixture
async def local_api(api: Api, short_path: Path) -> AsyncIterator[Local]:
    runner = await serve(api.app, listen("127.0.0.1", 0))
    made = LocalApi(runner, short_path)
    await made.listen()
    path = short_path / LOCAL_SOCKET
    connector = aiohttp.UnixConnector(str(path), force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Local(made, path, runner, http)
    await runner.cleanup()
    assert not path.exists(), "it removes its socket at the end"


async def as_nobody(path: Path, *key: str) -> str:
    """What another user is answered, or why it is not even heard."""
    command = [*BECOME_NOBODY, sys.executable, "-c", ASK, str(path), *key]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.splitlines()[-1]


async def test_the_daemons_user_needs_no_key(local_api: Local, api: Api) -> None:
    async with local_api.http.get(LIST) as response:
        listed = await response.json()
        assert response.status == 200
    assert listed == (await api.call("GET", "/api/sessions")).json()
    assert (await api.call("GET", "/api/sessions", key=None)).status == 401, "over TCP as ever"


async def test_a_command_is_not_the_application(local_api: Local, api: Api) -> None:
    """What it is answered says nothing about a message that the application handles."""
    with api.webhooks.call_backs.watching(SESSION) as mine:
        async with local_api.http.get("http://localhost/health") as response:
            assert response.status == 200
        assert mine.health == Asked()


async def test_a_change_without_a_key(local_api: Local, api: Api) -> None:
    body = {"session_id": "new", "workspace_id": 1}
    async with local_api.http.post(LIST, json=body) as response:
        assert response.status == 201


@pytest.mark.parametrize(
    "header", [{"Origin": "http://evil.example"}, {"X_Forwarded_For": "10.0.0.1"}]
)
async def test_what_was_made_for_somebody_else_needs_a_key(
    local_api: Local, header: dict[str, str]
) -> None:
    assert await local_api.status(**header) == 401
    assert await local_api.status(**header, X_Api_Key=KEY) == 200


async def test_only_this_user_and_root_can_connect(local_api: Local) -> None:
    assert local_api.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not others_can_run_this_python(), reason=OTHERS_CANNOT)
async def test_another_user_is_refused(local_api: Local) -> None:
    folder = local_api.path.parent
    folder.chmod(0o700)
    assert "PermissionError" in await as_nobody(local_api.path, KEY), "by the folder"
    folder.chmod(0o755)
    assert "PermissionError" in await as_nobody(local_api.path, KEY), "by the socket"
    local_api.path.chmod(0o666)
    assert await as_nobody(local_api.path) == "401", "and by the daemon"
    assert await as_nobody(local_api.path, "x" * len(KEY)) == "401"
    assert await as_nobody(local_api.path, KEY) == "200"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_root_needs_no_key_of_another_users_daemon(
    local_api: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waguard.api.local_socket.os.geteuid", lambda: 1234)
    assert await local_api.status() == 200
    monkeypatch.setattr(local_socket, "peer_uid", lambda _: 1235)
    assert await local_api.status() == 401
    monkeypatch.setattr(local_socket, "peer_uid", lambda _: 1234)
    assert await local_api.status() == 200


async def test_a_socket_that_was_removed_is_there_again(local_api: Local) -> None:
    said: list[str] = []
    sink = logger.add(said.append, format="{message}")
    await local_api.api.keep()
    assert said == []
    local_api.path.unlink()
    await local_api.api.keep()
    logger.remove(sink)
    assert await local_api.status() == 200
    assert len(said) == 1


async def test_a_folder_that_was_removed_is_waited_for(local_api: Local) -> None:
    local_api.path.unlink()
    local_api.path.parent.rmdir()
    for _ in range(3):
        await local_api.api.keep()
    local_api.path.parent.mkdir()
    await local_api.api.keep()
    assert await local_api.status() == 200


async def test_what_a_dead_daemon_left_is_in_nobodys_way(
    api: Api, short_path: Path, local_api: Local
) -> None:
    """The next one takes the place; the first one does not remove what is not its own."""
    second = await serve(api.app, listen("127.0.0.1", 0))
    await LocalApi(second, short_path).listen()
    await local_api.runner.cleanup()
    assert await local_api.status() == 200
    await second.cleanup()


async def test_a_place_that_cannot_be_taken_is_named(api: Api, short_path: Path) -> None:
    runner = await serve(api.app, listen("127.0.0.1", 0))
    (short_path / LOCAL_SOCKET).mkdir()
    with pytest.raises(ConfigError, match=LOCAL_SOCKET) as refused:
        await LocalApi(runner, short_path).listen()
    assert refused.value.field == "paths.runtime"
    await runner.cleanup()
    (short_path / LOCAL_SOCKET).rmdir()


async def test_idle_connections_make_room(local_api: Local) -> None:
    idle = [
        await asyncio.open_unix_connection(str(local_api.path))
        for _ in range(local_socket.CONNECTIONS + 1)
    ]
    assert await local_api.status() == 200
    await wait_until(lambda: any(reader.at_eof() for reader, _ in idle), "one was shown out")
    for _, writer in idle:
        writer.close()
