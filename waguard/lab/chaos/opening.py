"""How a world is made: its disk, its stand-in, its daemon with sessions that are connected."""

import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from waguard.config.reading import load
from waguard.config.sections import Webhook
from waguard.core.webhooks.delivery import OLD_SERVICE, POLL_VOTED
from waguard.host.process.executable import find_executable
from waguard.lab.application import STORED, Application, Manners
from waguard.lab.chaos.kinds import INLINE_LIMIT
from waguard.lab.chaos.mounts import mounted
from waguard.lab.chaos.page_faults import PERIOD
from waguard.lab.chaos.processes import MARK
from waguard.lab.chaos.version_faults import RULES
from waguard.lab.chaos.world import BROWSER, DATABASE, NotInTimeError, World, until, workspace_of
from waguard.lab.harness import SECRET, DaemonProcess, Receiver, settings
from waguard.lab.standin import Policy, StandIn

PAIR_DEADLINE: Final = 60.0  # s
DISK_SIZE: Final = "1g"  # holds some profiles of 20 MB; takes only what is written


class Served(Struct, frozen=True, kw_only=True):
    """How the double of the application is; ``database`` None: SQLite, in the world's folder."""

    seed: int
    manners: Manners
    database: str | None = None
    hold_limit: float | None = None
    """waguard's ``webhook.hold_limit`` in s; None: its default."""


@contextlib.asynccontextmanager
async def opened(
    sessions: int, *, say: Callable[[str], None], served: Served | None = None
) -> AsyncIterator[World]:
    """A world with so many sessions, all connected and copied once; nothing of it is left after.

    ``served``: webhooks go to a double of the application, not just to a receiver.
    """
    folder = Path(tempfile.mkdtemp(prefix="waguard-chaos-"))
    browser = _browser()
    phones = {f"s{number}": f"62811800{number:02}" for number in range(1, sessions + 1)}
    try:
        with (
            _disk(folder / "disk") as disk,
            _disk(folder / "run") as _,
            _reserved_port() as port,
        ):
            state = (disk or folder) / "state"
            async with (
                StandIn(policy=Policy(sync=0.1)) as standin,
                _application(served, state, port) if served else Receiver() as receiver,
            ):
                environment = settings(standin, receiver.url, folder, port=port)
                environment |= _impatient(folder, disk)
                environment["WAGUARD_BROWSER__EXECUTABLE"] = str(folder / BROWSER)
                if served and isinstance(receiver, Application):
                    environment |= _serving(receiver, state, served)
                    await receiver.accounts.migrate()
                daemon = DaemonProcess(folder, environment)
                world = World(folder, standin, receiver, daemon, phones, disk=disk, port=port)
                world.executable.symlink_to(browser)
                try:
                    await _populate(world, say)
                    yield world
                finally:
                    await world.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _impatient(folder: Path, disk: Path | None) -> dict[str, str]:
    """Settings that let a campaign go on: what is forgiven in minutes is forgiven in a second."""
    return {
        MARK: str(folder),
        "WAGUARD_LOG__LEVEL": "DEBUG",
        "WAGUARD_RECONCILE__INTERVAL": "3",
        "WAGUARD_INBOX__UNDECRYPTABLE_INTERVAL": "5",
        "WAGUARD_RESTART__STABLE_AFTER": "1",
        "WAGUARD_RESTART__PERIOD": str(PERIOD),
        "WAGUARD_SEND__TIMEOUT": "5",
        "WAGUARD_SEND__ACK_LIMIT": "3600",  # what was lost by intention is no trouble
        "WAGUARD_PATHS__SESSIONS": str((disk or folder) / "sessions"),
        "WAGUARD_PATHS__STATE": str((disk or folder) / "state"),
        **{f"WAGUARD_VERSIONS__{name}": value for name, value in RULES.items()},
    }


def _browser() -> Path:
    """The Chromium that is used here. Raises ``WaguardError``."""
    browser = load(None, os.environ).browser
    return find_executable(browser.executable, browser.flavour)


def _application(served: Served, state: Path, port: int) -> Application:
    return Application(
        served.database or f"sqlite+aiosqlite:///{state / DATABASE[0]}",
        f"http://127.0.0.1:{port}",
        secret=SECRET.encode(),
        manners=served.manners,
        seed=served.seed,
    )


def _serving(app: Application, state: Path, served: Served) -> dict[str, str]:
    """Settings that the double and its database need."""
    more = {"WAGUARD_DATABASE__URL": served.database} if served.database else {}
    if served.hold_limit is not None:
        more["WAGUARD_WEBHOOK__HOLD_LIMIT"] = str(served.hold_limit)
    if "stored" in Webhook.__struct_fields__:
        more["WAGUARD_WEBHOOK__STORED"] = STORED
    # all that may come beside a message's text, and votes
    more["WAGUARD_WEBHOOK__EVENTS"] = json.dumps([*OLD_SERVICE, POLL_VOTED])
    more["WAGUARD_WEBHOOK__FIELDS"] = "all"
    more["WAGUARD_WEBHOOK__INLINE_LIMIT"] = str(INLINE_LIMIT)
    return app.environment(state) | more


async def _populate(world: World, say: Callable[[str], None]) -> None:
    say("the daemon starts")
    await world.daemon.start()
    await world.daemon.ready()
    for number, session in enumerate(world.sessions, 1):
        say(f"session {number} of {len(world.sessions)} is paired")
        await _create(world, session)

        async def connected(session: str = session) -> bool:
            await world.scan_if_shown(session)
            return (await world.reported(session)).link == "connected"

        await until(connected, f"{session} is connected", within=PAIR_DEADLINE)
    say("the daemon is restarted: an orderly stop leaves a copy of each session")
    await world.stop_daemon()
    await world.restart_daemon()
    await world.daemon.ready()

    async def written() -> bool:
        return (await world.rows() or {}).items() >= dict.fromkeys(
            world.sessions, "connected"
        ).items()

    # a status that is on its way would take the place of what a fault writes
    await until(written, "the rows say connected", within=PAIR_DEADLINE)


async def _create(world: World, session: str) -> None:
    workspace = workspace_of(session)
    if isinstance(world.receiver, Application):
        _, reply = await world.receiver.connect(session, workspace=workspace)
        if not reply.good:
            raise NotInTimeError(f"{session} was not created: {json.dumps(dict(reply.answer))}")
        return
    body = {"session_id": session, "workspace_id": workspace}
    await world.call("POST", "/api/sessions", body)


@contextlib.contextmanager
def _disk(mountpoint: Path) -> Iterator[Path | None]:
    """A small file system in memory while the body runs; None where that is not allowed."""
    mountpoint.mkdir(mode=0o700)
    with mounted(mountpoint, f"size={DISK_SIZE},mode=700") as is_mounted:
        yield mountpoint if is_mounted else None


@contextlib.contextmanager
def _reserved_port() -> Iterator[int]:
    """Bound all the while, so that nobody gets it by chance while no daemon lives; who names it, and
    has set SO_REUSEADDR, can listen."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
