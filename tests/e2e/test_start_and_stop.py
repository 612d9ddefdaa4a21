"""What ops do: start, start twice, stop, interrupt, another user, missing things."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import DEADLINE, Daemon, receiving, settings_for, short_folder, suspended
from tests.host.processes import (
    BECOME_NOBODY,
    NOBODY,
    OTHERS_CANNOT,
    others_can_run_this_python,
)
from tests.launcher import launcher
from waguard.host.process import procfs
from waguard.lab.standin import Policy, StandIn

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]


async def run_waguard(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await waguard(daemon.folder, *arguments, **daemon.settings)


async def waguard(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    sandbox = {"WAGUARD_BROWSER__SANDBOX": json.dumps(os.getuid() != 0)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = launcher().start(
            arguments,
            folder=folder,
            environ=os.environ | sandbox | environment,
            log=out,
            errors=errors,
        )
        async with asyncio.timeout(DEADLINE):
            code = await process.wait()
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(
            arguments, code, out.read().decode(), errors.read().decode()
        )


async def test_who_is_second_in_a_folder_or_on_a_port_is_refused_and_hears_who_has_it(
    world: World,
) -> None:
    daemon = world.daemon
    await daemon.start()
    second = await run_waguard(daemon, "run")
    assert second.returncode == 3
    assert second.stdout == ""
    line = second.stderr.strip()
    assert "\n" not in line
    assert daemon.process
    assert f"pid {daemon.process.pid}" in line
    assert daemon.base in line

    port = daemon.base.rpartition(":")[2]
    with short_folder() as other:
        settings = {**daemon.settings, "WAGUARD_API__PORT": port}
        second = await waguard(other, "run", **settings)
    assert second.returncode == 4
    assert f"pid {daemon.process.pid}" in second.stderr
    assert second.stderr.count("\n") == 1
    assert (await daemon.call("GET", "/health"))[0] == 200


async def test_the_command_line_of_a_running_daemon_that_has_a_public_name(world: World) -> None:
    """Others call it by that, and it is found where it listens."""
    daemon, public = world.daemon, "https://wa.example/waguard"
    daemon.settings = {**daemon.settings, "WAGUARD_API__PUBLIC_URL": f"{public}/"}
    await daemon.start()
    listens = json.loads((daemon.folder / "run/waguard.pid").read_text())["api"]
    assert listens == daemon.base
    assert listens.startswith("http://127.0.0.1:")
    created = await run_waguard(daemon, "sessions", "create", "s1")
    assert (created.returncode, created.stderr) == (0, "")
    await daemon.qr("s1")
    await world.receiver.wait_for("qr_code_generated")
    assert world.receiver.instance_urls == {public}
    shown = await run_waguard(daemon, "qr", "s1", "--once")
    assert shown.returncode == 0
    assert "█" in shown.stdout
    world.standin.phone.scan(await daemon.qr("s1"), phone="6281180001")
    await daemon.wait_status("s1", "connected")
    sent = await run_waguard(daemon, "send", "s1", "+6281180002", "from the terminal")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.startswith("sent: true_6281180002@c.us_")
    status = await run_waguard(daemon, "status")
    assert "1 of 1 connected" in status.stdout
    listed = await run_waguard(daemon, "sessions", "list")
    assert "6281180001" in listed.stdout
    wrong = await run_waguard(daemon, "send", "nobody", "+6281180002", "x")
    missing = "waguard: Session not found: nobody (see `waguard sessions list`)\n"
    assert (wrong.returncode, wrong.stderr) == (1, missing)
    refused = await run_waguard(daemon, "sessions", "delete", "s1")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    stopped = await run_waguard(daemon, "sessions", "stop", "--all")
    assert stopped.stdout == "s1: stopped; its pairing stays\n"
    status = await run_waguard(daemon, "status")
    assert (status.returncode, "0 of 1 connected" in status.stdout) == (0, True)
    assert "stopped on purpose" in status.stdout
    assert (await run_waguard(daemon, "sessions", "start", "s1")).returncode == 0
    await daemon.wait_status("s1", "connected")
    gone = await run_waguard(daemon, "sessions", "delete", "s1", "--purge", "--yes")
    assert gone.returncode == 0, gone.stderr
    why = await run_waguard(daemon, "why", "s1")
    assert (why.returncode, why.stdout.splitlines()[0]) == (0, "s1 is purged")
    shown = await run_waguard(daemon, "sessions", "show", "s1")
    assert shown.returncode == 1

    async def audited() -> str:
        listed = (await run_waguard(daemon, "audit")).stdout
        return listed if "DELETE /api/sessions/s1" in listed else ""

    listed = await daemon.until(audited)
    assert ["POST", "/api/sessions/s1/stop"] in [line.split()[-2:] for line in listed.splitlines()]
    why = await run_waguard(daemon, "why", "s1")
    assert "Done: it was stopped by " in why.stdout


@pytest.mark.long  # what `make test` sees of it: test_life
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_orderly_stop_leaves_nothing(world: World, number: signal.Signals) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", "6281180001")
    assert await daemon.stop(number) == 0
    assert daemon.left_behind() == []
    assert not (daemon.folder / "run/waguard.pid").exists()
    assert not list((daemon.folder / "run/workers").iterdir())
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        row = database.execute("SELECT status, disconnect_reason FROM whatsapp_accounts").fetchone()
    assert row == ("disconnected", "instance_restart")


@pytest.mark.long  # tests/systemd has it with `systemctl restart`
async def test_a_restart_hands_the_sessions_over(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", "6281180001")
    assert await daemon.stop(signal.SIGUSR2) == 0
    assert procfs.start_time(before["worker_pid"])
    await daemon.start()
    after = await daemon.wait_status("s1", "connected", browser_pid=before["browser_pid"])
    assert after["worker_pid"] == before["worker_pid"]
    assert world.receiver.count("session_disconnected") == 0
    assert "was killed or crashed" not in daemon.log()


async def test_a_stop_after_a_hand_over_still_stops(world: World) -> None:
    """`systemctl stop` in the middle of `systemctl restart`."""
    daemon = world.daemon
    await daemon.start()
    await daemon.create("s1")
    assert daemon.process
    with suspended(daemon.process.pid):  # it gets both at once
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.process.send_signal(signal.SIGTERM)
    assert await daemon.process.wait() == 0
    assert daemon.left_behind() == []


async def test_a_stop_while_sessions_start_leaves_nothing(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.call("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
    assert await daemon.stop() == 0
    assert daemon.left_behind() == []


async def test_a_second_interrupt_insists(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    reported = await daemon.pair(world.standin, "s1", "6281180001")
    # a worker that cannot obey: only SIGKILL ends it
    os.kill(reported["worker_pid"], signal.SIGSTOP)
    assert daemon.process
    daemon.process.send_signal(signal.SIGINT)
    await daemon.until(lambda: _logged(daemon, "stopping"))
    assert await daemon.stop(signal.SIGINT) == 0
    await daemon.until(lambda: _nothing_left(daemon))


async def _more(daemon: Daemon, words: str, than: int) -> bool:
    return daemon.log().count(words) > than


async def _logged(daemon: Daemon, text: str) -> bool:
    return text in daemon.log()


async def _nothing_left(daemon: Daemon) -> bool:
    return daemon.left_behind() == []


@pytest.mark.long
async def test_restore_reports_the_truth(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "good", "6281180001")
    await daemon.pair(world.standin, "gone", "6281180002")
    await daemon.create("fresh")
    await daemon.stop()
    shutil.rmtree(daemon.folder / "sessions/workspace_1/session-gone")
    shutil.rmtree(daemon.folder / "sessions/snapshots", ignore_errors=True)
    await daemon.start()
    await daemon.logs("restore finished: restored 1, needs QR 1, missing profile 1")
    reported = await daemon.status("gone")
    assert (reported["status"], reported["disconnect_reason"]) == ("disconnected", "error")
    assert "profile missing" in reported["disconnect_details"]
    assert reported["worker_pid"] is None
    assert (await daemon.status("fresh"))["status"] == "qr_scanning"
    code, refused = await daemon.send("gone", "6281180003", "x")
    assert code == 409, refused
    code, health = await daemon.call("GET", "/health", key=False)
    assert (code, health["status"]) == (200, "degraded")
    assert health["sessions"] == {"total": 3, "connected": 1, "disconnected": 2}


async def test_a_reload_takes_what_it_can(world: World) -> None:
    daemon = world.daemon
    config = daemon.folder / "waguard.toml"
    config.write_text("[send]\ntimeout = 5.0\n")
    daemon.arguments = ("--config", str(config))
    await daemon.start()
    assert daemon.process
    config.write_text("[send]\ntimeout = 6.0\n[reconcile]\ninterval = 10.0\n")
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.until(
        lambda: _logged(daemon, "these sections need a restart of waguard: reconcile")
    )
    config.write_text("[send]\ntimeout = 'soon'\n")
    daemon.process.send_signal(signal.SIGHUP)
    await daemon.until(lambda: _logged(daemon, "the configuration is unchanged: send.timeout"))
    assert (await daemon.call("GET", "/health"))[0] == 200


@pytest.mark.long  # what `make test` sees of it: tests/supervision/test_session_link.py, tests/worker/test_page_refused.py
async def test_a_network_that_is_away_parks_nobody(world: World) -> None:
    daemon = world.daemon
    away = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    daemon.settings = {**daemon.settings, "WAGUARD_BROWSER__EXTRA_ARGS": json.dumps(away)}
    await daemon.start()
    await daemon.call("POST", "/api/sessions", {"session_id": "s1", "workspace_id": 1})
    reported = await daemon.wait_status("s1", "disconnected", link="offline")
    assert reported["disconnect_reason"] == "timeout"
    assert "ERR_NAME_NOT_RESOLVED" in reported["disconnect_details"]
    # it keeps trying in the same browser, and counts no restart
    await daemon.until(lambda: _logged_times(daemon, "WhatsApp cannot be reached", 3))
    reported = await daemon.status("s1")
    assert (reported["lifecycle"], reported["restarts"]) == ("running", 0)


async def _logged_times(daemon: Daemon, text: str, times: int) -> bool:
    return daemon.log().count(text) >= times


@pytest.mark.skipif(not others_can_run_this_python(), reason=OTHERS_CANNOT)
@pytest.mark.parametrize(
    "flavour", ["chromium", pytest.param("headless-shell", marks=pytest.mark.long)]
)
async def test_as_another_user_with_chromiums_own_sandbox(flavour: str) -> None:
    with short_folder(owner=NOBODY) as folder:
        async with StandIn(policy=Policy(sync=0.1)) as standin, receiving() as (_, hook):
            settings = settings_for(standin, hook, folder, HOME=str(folder))
            settings |= {"WAGUARD_BROWSER__FLAVOUR": flavour, "WAGUARD_BROWSER__SANDBOX": "true"}
            async with Daemon(folder, settings, BECOME_NOBODY) as daemon:
                await daemon.start()
                reported = await daemon.pair(standin, "s1", "6281180001")
                assert "--no-sandbox" not in procfs.command_line(reported["browser_pid"])
                assert Path(f"/proc/{reported['browser_pid']}").stat().st_uid == NOBODY
                code, sent = await daemon.send("s1", "6281180002", "from nobody")
                assert code == 200, sent


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("WAGUARD_PATHS__STATE", "paths.state"),
        ("WAGUARD_PATHS__SESSIONS", "paths.sessions"),
        ("WAGUARD_PATHS__RUNTIME", "paths.runtime"),
        ("WAGUARD_WEBHOOK__SECRET_FILE", "webhook.secret_file"),
        ("WAGUARD_API__KEY_FILE", "api.key_file"),
    ],
)
async def test_a_path_that_cannot_be_used_is_one_line(key: str, said: str) -> None:
    with short_folder() as folder:
        (folder / "file").write_text("")
        done = await waguard(folder, "run", WAGUARD_API__PORT="0", **{key: "file/below"})
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"waguard: {said}: ")
    assert "Traceback" not in done.stderr


@pytest.mark.long
async def test_a_database_that_is_locked_at_the_start_is_waited_for(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", "6281180001")
    await daemon.stop()
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        await daemon.start(ready=False)
        await daemon.until(lambda: _logged(daemon, "the database is not open; trying again"))
        assert (await daemon.call("GET", "/health"))[0] == 200
        code, reported = await daemon.call("GET", "/health/ready")
        assert (code, reported["checks"]["database"]) == (503, False)
        # unknown is not empty, and not "not found"
        assert (await daemon.call("GET", "/api/sessions"))[0] == 503
        assert (await daemon.call("GET", "/api/sessions/s1/status"))[0] == 503
        assert (await daemon.send("s1", "6281180002", "x"))[0] == 503
        database.rollback()
    await daemon.until(lambda: daemon.answers("/health/ready"))
    await daemon.wait_status("s1", "connected")
    await daemon.logs("restore finished: restored 1")


@pytest.mark.long
async def test_workers_outlive_a_daemon_that_has_no_database_at_its_start(world: World) -> None:
    daemon = world.daemon
    daemon.settings = {**daemon.settings, "WAGUARD_WORKER__ORPHAN_GRACE": "2"}
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", "6281180001")
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        await daemon.stop(signal.SIGKILL)
        await daemon.start(ready=False)
        await daemon.until(lambda: _logged(daemon, "worker greeted"))
        # a try takes longer than a worker lives alone
        seen = daemon.log().count("the database is not open; trying again")
        await daemon.until(
            lambda: _more(daemon, "the database is not open; trying again", seen + 1)
        )
        world.standin.phone.incoming(phone="6281180001", from_="6281180002", body="meanwhile")
        database.rollback()
    await daemon.until(lambda: daemon.answers("/health/ready"))
    after = await daemon.wait_status("s1", "connected")
    assert (after["worker_pid"], after["browser_pid"]) == (
        before["worker_pid"],
        before["browser_pid"],
    )
    assert "worker ends" not in daemon.log()
    data = await world.receiver.wait_for("message_received")
    assert data["message"]["body"] == "meanwhile"


@pytest.mark.long  # what `make test` sees of it: test_unstored, tests/supervision/test_database_watch.py
async def test_a_database_that_goes_away_costs_no_session(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", "6281180001")
    with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        world.standin.policy.refuse_sockets = True
        world.standin.phone.drop("6281180001")
        await daemon.wait_status("s1", "disconnected", link="offline")
        world.standin.policy.refuse_sockets = False
        await daemon.wait_status("s1", "connected")
        # what cannot be kept is not sent: a crash could double it
        assert (await daemon.send("s1", "6281180002", "not now"))[0] == 503
        database.rollback()
    assert (await daemon.send("s1", "6281180002", "works again"))[0] == 200

    async def row() -> bool:
        with closing(sqlite3.connect(daemon.folder / "state/waguard.db")) as database:
            query = "SELECT status FROM whatsapp_accounts"
            return bool(database.execute(query).fetchone() == ("connected",))

    await daemon.until(row)


@pytest.mark.long
async def test_a_lost_profile_is_restored_from_its_snapshot_by_hand(world: World) -> None:
    daemon = world.daemon
    await daemon.start()
    await daemon.pair(world.standin, "s1", "6281180001")
    early = await run_waguard(daemon, "profile", "snapshot", "s1")
    assert early.returncode == 1
    assert "not written everything yet" in early.stderr
    refused = await run_waguard(daemon, "profile", "quarantine", "s1")
    assert refused.returncode == 1, "its worker lives"
    await daemon.stop()
    shutil.rmtree(daemon.folder / "sessions/snapshots", ignore_errors=True)
    taken = await run_waguard(daemon, "profile", "snapshot", "s1")
    assert taken.returncode == 0, taken.stderr
    shutil.rmtree(daemon.folder / "sessions/workspace_1/session-s1")
    verified = await run_waguard(daemon, "profile", "verify", "s1")
    assert (verified.returncode, verified.stdout.count("intact")) == (0, 1)
    restored = await run_waguard(daemon, "profile", "restore", "s1")
    assert restored.returncode == 0, restored.stderr
    listed = await run_waguard(daemon, "profile", "list")
    assert "s1" in listed.stdout
    await daemon.start()
    await daemon.logs("restore finished: restored 1")
    await daemon.wait_status("s1", "connected")
    # after a logout nobody finds the old credentials under this id
    assert (await daemon.call("POST", "/api/sessions/s1/logout", {}))[0] == 200
    gone = await run_waguard(daemon, "profile", "restore", "s1")
    assert gone.returncode == 1, gone.stdout
