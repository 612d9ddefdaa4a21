"""The fork server: its own faults, orphans, and the real workers."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import psutil
import pytest

from tests.host.forking import (
    NONE,
    PATIENT,
    STAYS,
    Run,
    at_rest,
    closing,
    environment_of,
    gone,
    newcomers,
    server_of,
    was_forked,
)
from tests.host.processes import ended, has_ended, listening, program, worker_spec
from tests.waiting import DEADLINE, block_until, wait_until
from waguard.core.exits import EXIT_BROWSER_UNUSABLE
from waguard.host.process import procfs
from waguard.host.process.children import read_records
from waguard.host.process.fork_server import SERVER, Deadlines, ForkSpawn
from waguard.wire.forking import LIMIT, Fork, Forked

pytestmark = pytest.mark.usefixtures("no_child_left", "earlier_children")

# tells its version, and then stands for a browser that never answers
CHROMIUM: Final = (
    '#!/bin/sh\n[ "$1" = --version ] && echo "Chromium 1.0.0.0" && exit\nexec sleep 600\n'
)


# ---- the server's own faults ----


async def test_a_killed_server_is_replaced_and_its_workers_live(
    forking: ForkSpawn, run: Run
) -> None:
    old = await run(STAYS)
    await listening(old)
    server = server_of(forking)
    os.kill(server, signal.SIGKILL)
    new = await run(STAYS)  # the daemon may not have noticed yet
    await listening(new)
    assert was_forked(new)
    assert server_of(forking) != server
    await wait_until(lambda: gone(server), "the killed server is reaped")
    assert not old.ended
    old.terminate()
    assert await ended(old) == -signal.SIGTERM


async def test_a_server_killed_with_a_question_open(forking: ForkSpawn, run: Run) -> None:
    await ended(await run(""))
    server = server_of(forking)
    os.kill(server, signal.SIGSTOP)
    spawning = [asyncio.ensure_future(run(STAYS)) for _ in range(3)]
    await wait_until(lambda: forking._server and len(forking._server._asked) == 3, "it was asked")
    os.kill(server, signal.SIGKILL)
    for process in await asyncio.gather(*spawning):
        await listening(process)
        assert was_forked(process)
    await wait_until(lambda: len(newcomers()) == 4, "the killed one is reaped, a new one is there")


async def test_a_silent_server_is_killed_and_exec_takes_over(
    stand_in: Callable[..., tuple[str]], tmp_path: Path, said: list[str]
) -> None:
    spec = worker_spec(tmp_path, wajs=STAYS)
    spawner = ForkSpawn(stand_in(), PATIENT, spares=NONE)
    spawner.start()
    async with closing(spawner):
        assert was_forked(await spawner.spawn(spec))
        server = server_of(spawner)
        os.kill(server, signal.SIGSTOP)
        spawner._deadlines = Deadlines(answer=0.2)
        processes = await asyncio.gather(*(spawner.spawn(spec) for _ in range(3)))
        assert not any(was_forked(process) for process in processes)
        await wait_until(lambda: gone(server), "the silent server is reaped")
        assert not was_forked(await spawner.spawn(spec))  # no time is lost again
        assert spawner.server_pid is None
        spawner._held_until, spawner._deadlines = 0.0, PATIENT
        assert was_forked(await spawner.spawn(spec))
    assert said == [
        "the fork server did not answer within 0.2 s: workers are started by exec, which is slower",
        "workers are forked again",
    ]


@pytest.mark.parametrize(
    ("server", "start", "why"),
    [
        (("-c", "import time; time.sleep(600)"), 0.5, "was not ready within 0.5 s"),
        (("-c", ""), DEADLINE, "ends whenever it is started"),
        (("-c", "import os; os.write(1, b'x')"), DEADLINE, "ends whenever it is started"),
        # one that hangs up but lives on would be waited for
        (
            ("-c", "import os, sys, time; os.close(int(sys.argv[1])); time.sleep(600)"),
            DEADLINE,
            "ends whenever",
        ),
    ],
    ids=["never ready", "ends", "ends when ready", "hangs up"],
)
async def test_a_server_of_no_use(
    tmp_path: Path, said: list[str], server: tuple[str, ...], start: float, why: str
) -> None:
    spawner = ForkSpawn(server, Deadlines(start=start))
    spawner.start()
    async with closing(spawner):
        process = await spawner.spawn(worker_spec(tmp_path))
        assert not was_forked(process)
        assert not was_forked(await spawner.spawn(worker_spec(tmp_path)))
    report = [line for line in said if "by exec" in line]
    assert len(report) == 1
    assert why in report[0]


async def test_a_server_that_cannot_be_started(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner = ForkSpawn()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "missing"))
        spawner.start()
    async with closing(spawner):
        assert not was_forked(await spawner.spawn(worker_spec(tmp_path)))
    assert len(said) == 1
    assert "cannot be started: No such file or directory" in said[0]


async def test_the_server_ends_when_the_spawner_is_closed(
    stand_in: Callable[..., tuple[str]], tmp_path: Path
) -> None:
    spawner = ForkSpawn(stand_in(), PATIENT, spares=NONE)
    spawner.start()
    process = await spawner.spawn(worker_spec(tmp_path, wajs=STAYS))
    server = server_of(spawner)
    await spawner.close()
    assert gone(server)
    await listening(process)
    assert not process.ended
    process.kill()
    await ended(process)


# ---- orphans ----


async def test_orphans_are_reaped_and_children_that_somebody_waits_for_are_not(
    run: Run, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    process = await run(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n" + STAYS
    )
    await listening(process)
    orphan = int(note.read_text())
    os.kill(process.pid, signal.SIGKILL)  # it alone: `kill` would end its children too
    await ended(process)
    assert psutil.Process(orphan).ppid() == os.getpid()
    with subprocess.Popen(["true"]) as ours:
        has_ended(ours.pid)
        os.kill(orphan, signal.SIGKILL)
        await wait_until(lambda: gone(orphan), "the orphan is buried")
        assert not gone(ours.pid)
        assert ours.wait() == 0


DAEMON: Final = """
import asyncio, os, sys
import msgspec
from waguard.host.process.fork_server import ForkSpawn
from waguard.wire.worker import WorkerSpec

async def run():
    spawner = ForkSpawn(sys.argv[1:2])
    spawner.start()
    process = await spawner.spawn(msgspec.json.decode(sys.argv[2], type=WorkerSpec))
    await process.listening()
    with open(sys.argv[3], "w") as note:
        print(spawner.server_pid, process.pid, file=note)
    print("ready", flush=True)
    await process.wait()

asyncio.run(run())
"""


def test_workers_outlive_a_killed_daemon_and_the_server_does_not(
    stand_in: Callable[..., tuple[str]], tmp_path: Path
) -> None:
    note = tmp_path / "pids"
    spec = msgspec.json.encode(worker_spec(tmp_path, wajs=STAYS)).decode()
    with program(DAEMON, *stand_in(), spec, str(note)) as daemon:
        server, worker = map(int, note.read_text().split())
        try:
            assert psutil.Process(worker).ppid() == daemon.pid
            daemon.kill()
            daemon.wait()
            block_until(lambda: at_rest(server), "the server follows its daemon")
            assert not at_rest(worker)
        finally:
            os.kill(worker, signal.SIGKILL)


# ---- the real ones ----


async def test_the_real_worker_says_why_it_ended(tmp_path: Path) -> None:
    spawner = ForkSpawn(deadlines=PATIENT, spares=NONE)
    spawner.start()
    async with closing(spawner):
        process = await spawner.spawn(worker_spec(tmp_path))
        assert was_forked(process)
        assert await ended(process) == EXIT_BROWSER_UNUSABLE


async def test_a_real_workers_browser_has_its_marks_and_dies_with_it(short_path: Path) -> None:
    browser = short_path / "chromium"
    browser.write_text(CHROMIUM)
    browser.chmod(0o700)
    spec = worker_spec(short_path, executable=str(browser), launch_timeout=600.0)
    spawner = ForkSpawn(deadlines=PATIENT, spares=NONE)
    spawner.start()
    async with closing(spawner):
        process = await spawner.spawn(spec)
        await listening(process)
        [(_, record)] = read_records(short_path)
        assert (record.pid, record.start_time) == (process.pid, procfs.start_time(process.pid))

        def launched() -> list[int]:
            children = procfs.children(process.pid)
            return [pid for pid in children if procfs.command_line(pid)[:1] == ["sleep"]]

        [pid] = await wait_until(launched, "the browser runs")
        environment = environment_of(pid)
        assert {f"{name}={value}" for name, value in spec.marks().items()} <= set(environment)
        assert len([line for line in environment if line.startswith("WAGUARD_SESSION=")]) == 1
        os.kill(process.pid, signal.SIGKILL)
        await wait_until(lambda: gone(pid), "the kernel killed the browser, and it is buried")
        assert await ended(process) == -signal.SIGKILL


def test_a_worker_without_instructions_ends_quietly() -> None:
    """The real server, spoken to by hand; its workers are this process's, no subreaper: init's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    report, spec_out = os.pipe()
    output, say = os.pipe()
    with (
        ours,
        theirs,
        subprocess.Popen(
            [sys.executable, *SERVER, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        ) as server,
    ):
        theirs.close()
        socket.send_fds(ours, [msgspec.json.encode(Fork(number=3))], (report, say, say))
        answer = msgspec.json.decode(ours.recv(LIMIT), type=Forked)
        for descriptor in (report, say, spec_out):
            os.close(descriptor)
        assert (answer.number, answer.error) == (3, 0)
        assert os.read(output, 100) == b""
        os.close(output)
        block_until(lambda: at_rest(answer.pid), "it has ended")
        ours.close()
        assert server.wait() == 0
