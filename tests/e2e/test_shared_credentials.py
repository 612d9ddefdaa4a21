"""Two hosts that share credentials: the first one dies, and the second one connects without a scan."""

import contextlib
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.e2e.conftest import World
from tests.e2e.harness import Daemon, short_folder
from tests.e2e.test_standby import PERSON, PHONE, STANDBY, Hosts, shown
from tests.proxies import PASSWORD, USER, FakeProxy
from tests.store.conftest import new_database
from waguard.store.models import CREDENTIAL_PARTS, CREDENTIALS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(600),
]
SENT = 30  # messages


@pytest.fixture
async def pair(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, backend: str
) -> AsyncIterator[Hosts]:
    """The second one has never seen a profile."""
    url, key = await new_database(backend, request, tmp_path), tmp_path / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    first = world.daemon
    shared = {"WAGUARD_DATABASE__URL": url, "WAGUARD_DATABASE__KEY_FILE": str(key)}
    first.settings = {**first.settings, **STANDBY, **shared}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        second = await stack.enter_async_context(Daemon(folder, first.settings))
        await first.start()
        await first.pair(world.standin, "s1", PHONE)
        await world.receiver.wait_for("session_ready")
        yield Hosts(world, first, second)


async def shipped(daemon: Daemon, *, after: float) -> None:
    """Wait for a shipment that is younger than ``after``; what is stored then is printed."""
    engine = create_async_engine(daemon.settings["WAGUARD_DATABASE__URL"], poolclass=NullPool)

    async def newer() -> bool:
        async with engine.connect() as connection:
            return (await connection.scalar(select(CREDENTIALS.c.shipped_at)) or 0.0) > after

    await daemon.until(newer)
    async with engine.connect() as connection:
        size = func.sum(func.length(CREDENTIAL_PARTS.c.bytes))
        print("parts, bytes:", (await connection.execute(select(func.count(), size))).one())
    await engine.dispose()


def kill(hosts: Hosts) -> None:
    """As a host that loses its power."""
    for pid in hosts.tree():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("backend", ["postgresql", "mariadb"])
async def test_a_dead_host_s_session_connects_on_the_other_one_without_a_scan(pair: Hosts) -> None:
    first, second, world = pair.first, pair.second, pair.world
    await shipped(first, after=0.0)
    for number in range(SENT):
        world.standin.phone.incoming(phone=PHONE, from_=PERSON, body=f"message {number}")
    await world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == f"message {SENT - 1}"
    )
    await shipped(first, after=time.time())
    scans = world.receiver.count("session_ready")
    kill(pair)
    assert first.process
    await first.process.wait()
    began = time.monotonic()
    await second.start(ready=False)
    await second.until(lambda: second.answers("/health/ready"))
    await second.wait_status("s1", "connected", lifecycle="running")
    print(f"connected {time.monotonic() - began:.1f} s after the death")
    assert pair.browsers() == {"second"}
    assert await shown(second, "ratchets_rolled_back")
    world.standin.phone.incoming(phone=PHONE, from_=PERSON, body="to the second host")
    await world.receiver.wait_for(
        "message_received", where=lambda it: it["message"]["body"] == "to the second host"
    )
    assert world.receiver.count("session_ready") > scans

    status, _ = await second.call("POST", "/api/restored/groups/release")
    assert status == 200
    assert await second.stop() == 0
    await first.start()
    await first.wait_status("s1", "connected", lifecycle="running")
    assert not await shown(first, "ratchets_rolled_back")
    kept = list((first.folder / "sessions/quarantine").glob("s1-*"))
    assert len(kept) == 1, "its own old profile"


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_its_proxy_goes_with_it(pair: Hosts) -> None:
    first, second, world = pair.first, pair.second, pair.world
    async with FakeProxy("socks5", ("127.0.0.1", world.standin.port), login=True) as proxy:
        server = f"socks5://127.0.0.1:{proxy.port}"
        body = {"server": server, "username": USER, "password": PASSWORD}
        status, _ = await first.call("PUT", "/api/sessions/s1/proxy", body)
        assert status == 200
        await first.until(lambda: goes_through(first, proxy))
        await shipped(first, after=time.time())
        kill(pair)
        assert first.process
        await first.process.wait()
        proxy.asked.clear()
        await second.start(ready=False)
        await second.until(lambda: second.answers("/health/ready"))
        await second.until(lambda: goes_through(second, proxy))
        status, shown_proxy = await second.call("GET", "/api/sessions/s1/proxy")
        assert (status, shown_proxy["proxy"]["server"]) == (200, server)
        assert (second.folder / "state/proxies/s1.json").stat().st_mode & 0o777 == 0o600


async def goes_through(daemon: Daemon, proxy: FakeProxy) -> bool:
    """Whether its session is connected by the proxy."""
    is_connected = (await daemon.status("s1"))["status"] == "connected"
    return is_connected and "web.whatsapp.com:443" in proxy.asked
