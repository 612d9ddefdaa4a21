"""``waguard lab cluster``: three hosts on this machine to play with, on the stand-in of WhatsApp Web.

Three etcd, a database and three daemons, each in a folder of its own below one that is removed at the end; all on
loopback. Whoever plays is a client of the daemons like any other.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from waguard.cli.client import ApiClient
from waguard.core.shipping import WITHIN
from waguard.errors import WaguardError
from waguard.host.configuration_file import VARIABLE
from waguard.lab import servers
from waguard.lab.harness import DaemonProcess, NotStartedError, Receiver, settings
from waguard.lab.standin import Policy, StandIn
from waguard.store.models import CREDENTIALS

HOSTS: Final = ("a", "b", "c")
_PAIRED_WITHIN: Final = 120.0  # s


def run(*, sessions: int) -> int:
    """``sessions``: how many are paired on each host. 0, or 1 where something did not start."""
    return asyncio.run(_run(sessions))


async def _run(sessions: int) -> int:
    console, stop, loop = Console(), asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    folder = Path(tempfile.mkdtemp(prefix="wgc-"))  # short: sockets are below it
    if os.geteuid() == 0:
        folder.chmod(0o711)  # the database's server is another user
    try:
        async with (
            AsyncExitStack() as stack
        ):  # its end is not cancelled: it waits for all that runs
            opening = asyncio.create_task(_open(console, stack, folder, sessions))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await opening
            await stopped
            console.print("stopping …")
    except NotStartedError as error:
        console.print(error.message, style="red", markup=False)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _open(console: Console, stack: AsyncExitStack, folder: Path, sessions: int) -> None:
    """``stack`` ends what is begun here."""
    with console.status("starting etcd, a database and three hosts"):
        standin = await stack.enter_async_context(StandIn(policy=Policy(sync=0.3)))
        receiver = await stack.enter_async_context(Receiver())
        url = await servers.database(stack, folder / "db")
        endpoints = await servers.etcd(stack, folder, len(HOSTS))
        shared, key = folder / "shared-key", secrets.token_urlsafe(24)
        _write(shared, secrets.token_hex(32))
        common = {
            "WAGUARD_DATABASE__URL": url,
            "WAGUARD_CLUSTER__ENGINE": "etcd",
            "WAGUARD_CLUSTER__ENDPOINTS": json.dumps(endpoints),
            "WAGUARD_CLUSTER__KEY_FILE": str(shared),
        }
        daemons = {}
        for name, port in zip(HOSTS, servers.free_ports(len(HOSTS)), strict=True):
            place = folder / name
            (place / "state").mkdir(parents=True, mode=0o700)
            _write(place / "state" / "api-key", key)
            own = {
                "WAGUARD_CLUSTER__HOST": name,
                "WAGUARD_CLUSTER__ADDRESS": f"http://127.0.0.1:{port}",
            }
            values = {**settings(standin, receiver.url, place, port=port), **common, **own}
            daemon = DaemonProcess(place, {VARIABLE: _configured(place, values)})
            stack.push_async_callback(daemon.stop)
            await daemon.start()
            daemons[name] = daemon
        apis = {name: await it.ready() for name, it in daemons.items()}
    for number in range(sessions * len(HOSTS)):
        session, host = f"s{number}", HOSTS[number % len(HOSTS)]
        with console.status(f"pairing {session}"):
            await _pair(standin, receiver, apis[host], session, f"62811800{number:03}")
    with console.status(
        "sharing their credentials"
    ):  # before that a host that dies takes them along
        await _shared(url, sessions * len(HOSTS), time.time())
    _explain(console, folder, daemons, apis)
    await asyncio.Event().wait()


async def _shared(url: str, sessions: int, paired: float) -> None:
    """Wait until another host could take each session over. ``paired``: unix time of the last one's pairing."""
    engine = create_async_engine(url, poolclass=NullPool)
    shared = select(func.count()).where(CREDENTIALS.c.shipped_at > 0)
    while True:
        async with engine.connect() as connection:
            count = await connection.scalar(shared)
        if count == sessions and time.time() > paired + WITHIN:
            return
        await asyncio.sleep(1)


def _write(path: Path, secret: str) -> None:
    path.touch()
    path.chmod(0o600)
    path.write_text(f"{secret}\n")


def _configured(place: Path, environment: Mapping[str, str]) -> str:
    """The configuration as a file, so that commands find it; its path."""
    lines, path = [], place / "waguard.toml"
    for name, value in environment.items():
        section, _, key = name.removeprefix("WAGUARD_").lower().partition("__")
        if not key:
            continue
        lines.append(f"{section}.{key} = {_toml(value)}")
    _write(path, "\n".join(lines))
    return str(path)


def _toml(value: str) -> str:
    try:
        json.loads(value)  # numbers, lists and truth are written alike there
    except ValueError:
        return json.dumps(value)
    return value


async def _pair(
    standin: StandIn, receiver: Receiver, api: ApiClient, session: str, phone: str
) -> None:
    after = len(receiver.received)
    try:
        async with asyncio.timeout(_PAIRED_WITHIN):
            body = {"session_id": session, "workspace_id": 1}
            await asyncio.to_thread(api.call, "POST", "/api/sessions", body)
            path = f"/api/sessions/{session}/qr?wait=60"
            code = await asyncio.to_thread(api.call, "GET", path)
            standin.phone.scan(code["raw"], phone=phone)
            await receiver.wait_for("session_ready", after=after)
    except (WaguardError, TimeoutError) as error:
        why = (
            error.line() if isinstance(error, WaguardError) else f"nothing for {_PAIRED_WITHIN:g} s"
        )
        raise NotStartedError(f"{session} was not paired: {why}") from None


def _explain(
    console: Console,
    folder: Path,
    daemons: Mapping[str, DaemonProcess],
    apis: Mapping[str, ApiClient],
) -> None:
    api_key = next(iter(apis.values())).key
    lines = [
        *(f"host {it}: {apis[it].base}, pid {daemons[it].pid}" for it in daemons),
        f"API key: {api_key}",
        "",
        "In another terminal:",
        f"  export {VARIABLE}={folder}/a/waguard.toml",
        "  waguard hosts",
        "  waguard sessions move s0 b",
        "  waguard drain b; waguard drain b --end",
        "  waguard doctor",
        f"  kill -9 {daemons['c'].pid}         # host c: its sessions are owned by a and b within 12 s",
        f"  {VARIABLE}={folder}/c/waguard.toml waguard run    # it comes back; end it yourself",
        "",
        f"Ctrl-C ends it and removes {folder}.",
    ]
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
