"""What dead instances leave, and a Chromium that somebody started by hand."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.e2e.conftest import World
from tests.e2e.harness import suspended
from waguard.host.process import procfs
from waguard.host.process.executable import find_executable
from waguard.host.process.procfs import group_members
from waguard.wire.worker import WorkerRecord

pytestmark = [pytest.mark.e2e, pytest.mark.chromium, pytest.mark.timeout(240)]

PHONE = "6281180001"


@pytest.mark.long  # what `make test` sees of it: tests/host/test_strays.py, tests/supervision/test_restorer.py
async def test_a_worker_whose_record_is_lost_is_ended_before_its_session_is_started(
    world: World,
) -> None:
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    await daemon.stop(signal.SIGKILL)
    # one that is missing, or moved aside as unreadable, is written anew by its worker, which is
    # adopted if that is quicker than the daemon: so it names another one
    (record,) = (daemon.folder / "run/workers").glob("*.json")
    written = msgspec.json.decode(record.read_bytes(), type=WorkerRecord)
    other = msgspec.structs.replace(written, boot_id="an earlier one")
    record.write_bytes(msgspec.json.encode(other))
    await daemon.start()
    after = await daemon.wait_status("s1", "connected")
    assert after["worker_pid"] != before["worker_pid"]
    assert procfs.start_time(before["worker_pid"]) is None
    assert procfs.start_time(before["browser_pid"]) is None
    assert "a stray process is ended" in daemon.log()
    # it was closed in order: nobody had to scan again
    assert world.receiver.count("qr_code_generated") <= 1


@pytest.mark.long
async def test_a_stopped_tree_leaves_nothing(world: World) -> None:
    """Renderers that are stopped do not see that their browser is gone."""
    daemon = world.daemon
    await daemon.start()
    before = await daemon.pair(world.standin, "s1", PHONE)
    tree = [before["worker_pid"], *group_members(before["browser_pid"])]
    assert daemon.process
    # it would end the others as soon as it sees that the first one stands still
    with suspended(daemon.process.pid):
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):  # Chromium ends helpers when it likes
                os.kill(pid, signal.SIGSTOP)
    await daemon.wait_status("s1", "connected", restarts=1)

    async def all_gone() -> bool:
        return not any(procfs.start_time(pid) for pid in tree)

    await daemon.until(all_gone)


@pytest.fixture
def foreign(world: World) -> Iterator["subprocess.Popen[bytes]"]:
    """A Chromium of the op's own on a profile of ours."""
    profile = world.daemon.folder / "sessions/workspace_1/session-s1"
    (world.daemon.folder / "sessions").mkdir(mode=0o700)
    profile.mkdir(parents=True)
    argv = [
        str(find_executable(None, "headless-shell")),
        f"--user-data-dir={profile}",
        "--no-sandbox",
    ]
    with subprocess.Popen(
        argv, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.long
async def test_somebody_elses_chromium_is_named_and_waited_for(
    world: World, foreign: "subprocess.Popen[bytes]"
) -> None:
    """headless-shell locks no profile: only its command line tells."""
    daemon = world.daemon
    await daemon.start()
    body = {"session_id": "s1", "workspace_id": 1}
    assert (await daemon.call("POST", "/api/sessions", body))[0] == 201
    reported = await daemon.wait_status("s1", "disconnected", lifecycle="backoff")
    assert f"Chromium {foreign.pid} uses " in reported["disconnect_details"], json.dumps(reported)
    assert reported["restarts"] == 0
    assert foreign.poll() is None
    assert Path(f"/proc/{foreign.pid}").exists()
