"""A daemon without sessions, so without Chromium: what happens around it."""

import asyncio
import contextlib
import fcntl
import json
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.harness import DEADLINE, Daemon, Process, removed, short_folder, suspended
from tests.host.odd_files import Spoil, all_spoilt
from tests.host.processes import waguard
from tests.waiting import wait_until
from waguard.host.files.lock import private_folder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
ALONE: Mapping[str, str] = {
    "WAGUARD_API__PORT": "0",
    "WAGUARD_FLEET__NETWORK": "off",
    "WAGUARD_LOG__LEVEL": "DEBUG",
    "WAGUARD_BROWSER__SANDBOX": "false",  # the tests may run as root
}


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    with short_folder() as folder:
        async with Daemon(folder, ALONE) as made:
            yield made


async def test_odd_files_do_not_stop_the_restore_and_are_reported(daemon: Daemon) -> None:
    spoilt: dict[str, Spoil] = all_spoilt()
    workers = daemon.folder / "run/workers"
    for folder in (workers.parent, workers):
        private_folder(folder)
    for number, spoil in enumerate(spoilt.values()):
        spoil(workers / f"{number}.json", b"boot")
    (daemon.folder / "run/waguard.pid").write_bytes(b'{"api":"\xff"}')
    await daemon.start()
    assert (await daemon.call("GET", "/api/sessions"))[0] == 200
    assert daemon.log().count("a file is unreadable and is quarantined") == len(spoilt) + 1

    async def on_the_trail() -> bool:
        _, reported = await daemon.call("GET", "/api/incidents")
        causes = [one["cause"] for one in reported["incidents"]]
        return sum("is quarantined" in cause for cause in causes) == len(spoilt) + 1

    await daemon.until(on_the_trail)


class Manager:
    """What a service manager hears of its daemon."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(0)
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        """Every assignment so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard += self._socket.recv(1 << 16).decode().splitlines()
        return self._heard

    @property
    def pulses(self) -> int:
        """How often supervision has moved."""
        return self.heard.count("WATCHDOG=1")

    async def hear(self, pulses: int) -> None:
        """Wait for so many more."""
        wanted = self.pulses + pulses
        await wait_until(lambda: self.pulses >= wanted, f"{pulses} more ticks", deadline=60.0)

    @property
    def status(self) -> str:
        """What ``systemctl status`` shows."""
        reported = [line for line in self.heard if line.startswith("STATUS=")]
        return reported[-1].removeprefix("STATUS=") if reported else ""

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(daemon: Daemon) -> Iterator[Manager]:
    listening = Manager(daemon.folder / "notify")
    daemon.settings = {**daemon.settings, "NOTIFY_SOCKET": str(daemon.folder / "notify")}
    yield listening
    listening.close()


@pytest.mark.long  # 30 s
@pytest.mark.timeout(300)
@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime: apt-get install libfaketime")
async def test_a_step_of_the_wall_clock_does_not_stop_supervision(
    daemon: Daemon, manager: Manager
) -> None:
    clock = daemon.folder / "clock"
    clock.write_text("+0")
    daemon.executed = True  # what is preloaded is so by an exec
    daemon.settings = {
        **daemon.settings,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # s; read at each look at a clock, imports would take a minute
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # imports are slow enough
    }
    await daemon.start(deadline=150.0)  # 6 s of a core, which may be shared with many others
    await manager.hear(2)
    for hours in (-1, 1, -24, 24):
        clock.write_text(f"{hours * 3600:+d}")
        await daemon.until(partial(_shows, daemon, hours), deadline=60.0)
        stepped = time.monotonic()
        await manager.hear(4)
        assert time.monotonic() - stepped > 2.0, "and makes up for nothing"
    assert "Traceback" not in daemon.log()


async def _shows(daemon: Daemon, hours: int) -> bool:
    """Whether its clock has been stepped so far."""
    _, reported = await daemon.call("GET", "/health")
    shown = datetime.fromisoformat(reported["timestamp"]).timestamp()
    return abs(shown - time.time() - hours * 3600) < 600


async def test_the_daemons_status_is_kept_true(daemon: Daemon, manager: Manager) -> None:
    await daemon.start()
    await wait_until(lambda: manager.status == "no session", "it says that all is well")
    reported = await daemon.call("POST", "/api/sessions", {"session_id": "s", "workspace_id": 1})
    assert reported[0] == 201
    await wait_until(lambda: manager.status.startswith("0 of 1 sessions connected; "), "it follows")
    await daemon.stop()
    assert manager.status == "stopping: every session is closed in order"


async def test_what_keeps_it_from_beginning_is_its_status(daemon: Daemon, manager: Manager) -> None:
    folder = daemon.folder / "no-folder"
    folder.touch()
    url = f"sqlite+aiosqlite:///{folder}/waguard.db"
    daemon.settings = {**daemon.settings, "WAGUARD_DATABASE__URL": url}
    await daemon.start(ready=False)
    await wait_until(lambda: manager.status.startswith("cannot begin yet: "), "it says why")
    folder.unlink()
    folder.mkdir(exist_ok=True)  # it may have made the folder itself by now
    await wait_until(lambda: manager.status == "no session", "and that it is over")


async def _fleet(daemon: Daemon) -> list[dict[str, Any]]:
    _, reported = await daemon.call("GET", "/api/incidents")
    incidents: list[dict[str, Any]] = reported["incidents"]
    return [one for one in incidents if "was removed while waguard runs" in one["cause"]]


async def test_a_runtime_folder_that_is_removed_is_made_again(
    daemon: Daemon, manager: Manager
) -> None:
    await daemon.start()
    before = (daemon.folder / "run/waguard.pid").read_bytes()
    seen = manager.pulses
    removed(daemon.folder / "run")
    await wait_until(lambda: manager.pulses >= seen + 2, "a tick or two")
    assert (daemon.folder / "run/waguard.pid").read_bytes() == before
    assert (daemon.folder / "run/workers").is_dir()
    done = await asyncio.to_thread(
        waguard, "run", folder=daemon.folder, environ=dict(daemon.settings)
    )
    assert done.returncode == 3

    async def over() -> bool:
        return [one["result"] for one in await _fleet(daemon)] == [
            "lock, pid file and sockets were there again"
        ]

    await daemon.until(over)


async def test_a_lock_file_that_is_deleted_is_made_again_and_excludes_all_the_time(
    daemon: Daemon, manager: Manager
) -> None:
    await daemon.start()
    path = daemon.folder / "run/waguard.lock"
    path.unlink()
    refused = await asyncio.to_thread(
        waguard, "run", folder=daemon.folder, environ=dict(daemon.settings)
    )
    assert (refused.returncode, "API at" in refused.stderr) == (3, True), refused.stderr
    path.unlink(missing_ok=True)
    seen = manager.pulses
    await wait_until(lambda: manager.pulses >= seen + 2, "a tick or two")
    assert path.exists()
    with path.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def over() -> bool:
        reported = await _fleet(daemon)
        return bool(reported) and all(one["ended"] for one in reported)

    await daemon.until(over)


# ---- signals while it begins ----


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether it has a handler of its own, by proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


MOMENTS: Mapping[str, float | str] = {
    "as soon as it has a handler": 0.0,
    **{f"{delay:g} s later": delay for delay in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)},
    "when it has the lock": "run/waguard.lock",
    "when it has its port": "run/waguard.pid",
    "when it has its key": "state/api-key",
}


def early(usual: Callable[[float | str], bool]) -> pytest.MarkDecorator:
    """Each moment; those that are not the usual ones in `make test-long` alone."""
    found = [
        pytest.param(name, marks=() if usual(reached) else pytest.mark.long)
        for name, reached in MOMENTS.items()
    ]
    return pytest.mark.parametrize("moment", found)


# the others lie between the steps that can be seen
steps: Final = early(lambda reached: reached not in {0.1, 0.15, 0.3, 0.4})


async def begun(daemon: Daemon, moment: str) -> Process:
    """A daemon that has come so far; the interpreter itself, before any of our code, cannot help."""
    process = await daemon.spawn()
    async with asyncio.timeout(DEADLINE):
        while not _handles(process.pid, signal.SIGHUP):
            assert process.returncode is None
            await asyncio.sleep(0)
        reached = MOMENTS[moment]
        if isinstance(reached, float):
            await asyncio.sleep(reached)
        else:
            while not (daemon.folder / reached).exists():
                await asyncio.sleep(0)
    return process


@steps
async def test_a_stop_that_comes_early_ends_it_in_order(daemon: Daemon, moment: str) -> None:
    await ends_in_order(daemon, moment, signal.SIGTERM)


@early(lambda reached: reached == 0.0)
async def test_an_interrupt_that_comes_early_does_as_well(daemon: Daemon, moment: str) -> None:
    await ends_in_order(daemon, moment, signal.SIGINT)


async def ends_in_order(daemon: Daemon, moment: str, number: signal.Signals) -> None:
    process = await begun(daemon, moment)
    process.send_signal(number)
    async with asyncio.timeout(DEADLINE):
        assert await process.wait() == 0, daemon.log()
    assert "waguard has stopped" in daemon.log()
    assert not (daemon.folder / "run/waguard.pid").exists()


@early(lambda reached: reached in {0.0, "run/waguard.lock", "state/api-key"})
async def test_a_reload_that_comes_early_does_not_kill_it(daemon: Daemon, moment: str) -> None:
    process = await begun(daemon, moment)
    process.send_signal(signal.SIGHUP)
    await daemon.is_up()
    assert "configuration read again" in daemon.log()
    assert await daemon.stop() == 0


async def test_a_reload_takes_the_keys_of_the_file(daemon: Daemon) -> None:
    """As `waguard keys` changes them; a file that holds none changes nothing."""
    await daemon.start()
    assert daemon.process
    file = daemon.folder / "state/api-key"
    old, fresh = daemon.key, "a-new-key-of-the-application"
    file.write_text(fresh)
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.logs("configuration read again")

    async def status(key: str) -> int:
        daemon.key = key
        return (await daemon.call("GET", "/health/detailed"))[0]

    assert (await status(fresh), await status(old)) == (200, 401)
    file.write_text("short")
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.logs("API keys kept as they were")
    assert await status(fresh) == 200


async def test_signals_at_the_very_end_change_no_exit_code(daemon: Daemon) -> None:
    await daemon.start()
    assert daemon.process
    daemon.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE):
        while daemon.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                daemon.process.send_signal(signal.SIGHUP)
            # a flood (900,000 were seen) leaves a daemon that gets less CPU no turn of its loop
            await asyncio.sleep(0.001)
    assert daemon.process.returncode == 0, daemon.log()


async def test_one_that_cannot_be_made_again_is_reported_until_it_can(daemon: Daemon) -> None:
    """As where /run is root's, and the daemon is not."""
    await daemon.start()
    assert daemon.process
    with suspended(daemon.process.pid):  # or it makes the folder anew before there is a file
        removed(daemon.folder / "run")
        (daemon.folder / "run").touch(exist_ok=False)

    async def is_reported() -> bool:
        _, health = await daemon.call("GET", "/health/detailed")
        return "cannot be created again" in str(health["problems"])

    await daemon.until(is_reported)
    (daemon.folder / "run").unlink()

    async def well() -> bool:
        return bool((await daemon.call("GET", "/health"))[1]["status"] == "healthy")

    await daemon.until(well)

    async def over() -> bool:
        """It is written a moment after it was so."""
        return [bool(one["ended"]) for one in await _fleet(daemon)] == [True]

    await daemon.until(over)


async def test_the_level_is_set_by_the_file_at_a_reload_and_by_the_api(daemon: Daemon) -> None:
    file = daemon.folder / "waguard.toml"
    file.write_text("[log]\nlevel = 'WARNING'\nformat = 'json'\n")
    daemon.settings = {k: v for k, v in ALONE.items() if k != "WAGUARD_LOG__LEVEL"}
    await daemon.start()
    assert daemon.process

    async def levels() -> tuple[str, str]:
        _, reported = await daemon.call("GET", "/api/log-level")
        return reported["level"], reported["configured"]

    assert await levels() == ("WARNING", "WARNING")
    code, _ = await daemon.call("PUT", "/api/log-level", {"level": "DEBUG"})
    assert (code, await levels()) == (200, ("DEBUG", "WARNING"))
    await daemon.logs("GET /api/log-level")
    daemon.process.send_signal(signal.SIGHUP)  # nothing has changed in the file
    await daemon.logs("configuration read again")
    assert await levels() == ("DEBUG", "WARNING")
    file.write_text("[log]\nlevel = 'ERROR'\nformat = 'json'\n")
    daemon.process.send_signal(signal.SIGHUP)

    async def reloaded() -> bool:
        return await levels() == ("ERROR", "ERROR")

    await daemon.until(reloaded)
    lines = [json.loads(line) for line in daemon.log().splitlines()]
    [changed] = [line for line in lines if line.get("event") == "log_level"]
    assert (changed["before"], changed["after"]) == ("WARNING", "DEBUG")
    assert "the application asked for it" in changed["why"]
    assert "daemon_up" not in {line.get("event") for line in lines}, "INFO was not wanted then"


async def test_a_change_is_on_the_stream_and_in_the_database_before_the_end(
    daemon: Daemon,
) -> None:
    file = daemon.folder / "w.db"
    daemon.settings = {**ALONE, "WAGUARD_DATABASE__URL": f"sqlite+aiosqlite:///{file}"}
    await daemon.start()
    assert (await daemon.call("PUT", "/api/log-level", {"level": "ERROR"}))[0] == 200
    headers = {"X-Api-Key": daemon.key, "Last-Event-ID": "0"}
    async with daemon.http.get(f"{daemon.base}/api/events", headers=headers) as stream:
        async for line in stream.content:
            if b'"event": "change"' in line:
                break
    by = {"by": "the application", "route": "PUT /api/log-level", "outcome": "done"}
    assert json.loads(line.removeprefix(b"data: "))["data"] == by | {"workspace_id": None}
    assert await daemon.stop() == 0
    with contextlib.closing(sqlite3.connect(file)) as connection:
        query = "SELECT reason, after FROM waguard_events WHERE kind = 'change'"
        assert connection.execute(query).fetchall() == [("the application", "done")]


async def test_what_was_folded_is_said_at_the_end(daemon: Daemon) -> None:
    (daemon.folder / "none").touch()  # a file in the place of the folder: the database never opens
    daemon.settings = {
        **ALONE,
        "WAGUARD_DATABASE__URL": f"sqlite+aiosqlite:///{daemon.folder}/none/w.db",
    }
    await daemon.start(ready=False)
    for _ in range(4):
        code, _ = await daemon.call("GET", "/api/sessions")
        assert code == 503
    assert await daemon.stop() == 0
    failed = [line for line in daemon.log().splitlines() if "event=request_failed" in line]
    assert len(failed) == 2
    assert "(3 more in " in failed[1]
    assert "repeated=3" in failed[1]
