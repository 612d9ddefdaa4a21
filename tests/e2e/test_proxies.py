"""Four proxies (none, open, with a login, dead) of both kinds before the stand-in: what they saw, and what is said."""

import contextlib
import json
from typing import Any

import pytest

from tests.e2e.conftest import World
from tests.ports import reserved_port
from tests.proxies import KINDS, PASSWORD, USER, FakeProxy
from waguard.core.proxy import FAILS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(1_200),
]

ONE = "/api/sessions/s1"
PHONE, FRIEND = "6281180001", "6281180002"


async def put(world: World, server: str | None, *, login: bool = False) -> None:
    body = {"server": server} | ({"username": USER, "password": PASSWORD} if login else {})
    method = "PUT" if server else "DELETE"
    code, said = await world.daemon.call(method, f"{ONE}/proxy", body if server else None)
    assert code == 200, said
    assert PASSWORD not in json.dumps(said)


async def goes(world: World, worker: int) -> int:
    """Wait until it is connected with another worker than this one; the new one's pid."""

    async def check() -> Any:
        it = await world.daemon.status("s1")
        return it["status"] == "connected" and it["worker_pid"] != worker and it["worker_pid"]

    return int(await world.daemon.until(check))


async def fails(world: World, words: str) -> None:
    """Wait until the proxy's failure is on every surface that a person reads, and nothing else is blamed."""

    async def check() -> Any:
        found = (await world.daemon.status("s1"))["conditions"]
        return found and found[0]["reason"] == "proxy" and found

    (found,) = await world.daemon.until(check)
    assert found["message"].startswith(FAILS)
    assert found["message"].endswith(words)
    assert (found["blame"], "waguard sessions proxy s1" in found["remedy"]) == ("network", True)
    it = await world.daemon.status("s1")
    assert it["disconnect_details"] == found["message"]
    _, health = await world.daemon.call("GET", "/health/detailed")
    said = json.dumps(health)
    assert found["message"] in said
    assert "network_down" not in said
    assert PASSWORD not in said


async def test_each_kind_of_proxy_is_gone_through_or_blamed(world: World) -> None:
    daemon, standin = world.daemon, world.standin
    await daemon.start()
    await daemon.pair(standin, "s1", PHONE)
    worker = (await daemon.status("s1"))["worker_pid"]
    behind = ("127.0.0.1", standin.port)
    for kind in KINDS:
        for login in (False, True):
            async with FakeProxy(kind, behind, login=login) as it:
                server = f"{kind}://127.0.0.1:{it.port}"
                await put(world, server, login=login)
                worker = await goes(world, worker)
                assert "web.whatsapp.com:443" in it.asked
                before = len(it.asked), len(world.receiver.received)
                standin.phone.incoming(phone=PHONE, from_=FRIEND, body=server)
                await world.receiver.wait_for("message_received", after=before[1])
                it.refuses = 407 if kind == "http" else 2
                it.hang_up()
                named = " refuses the login" if login else " asks for a login"
                allowed = " does not connect to web.whatsapp.com:443: its rules do not allow it"
                await fails(world, named if kind == "http" else allowed)
                it.refuses = None

                async def back() -> bool:
                    return bool((await daemon.status("s1"))["status"] == "connected")

                await daemon.until(back)
                assert (await daemon.status("s1"))["worker_pid"] == worker, "no restart for it"
        with reserved_port() as port:
            await put(world, f"{kind}://127.0.0.1:{port}", login=True)
            await fails(world, f":{port} accepts no connection: Connection refused")
            worker = (await daemon.status("s1"))["worker_pid"]
            assert (await daemon.status("s1"))["restarts"] == 0
    await put(world, None)
    await goes(world, worker)
    everything = [daemon.log()]
    for path in daemon.folder.rglob("*"):
        if path.is_file() and "proxies" not in path.parts and "sessions" not in path.parts:
            with contextlib.suppress(OSError):
                everything.append(path.read_bytes().decode(errors="replace"))
    assert not [it for it in everything if PASSWORD in it]
