"""Workers that are forked: how they end, and how they begin."""

import asyncio
import errno
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.host.forking import (
    NONE,
    PATIENT,
    SAYS_READY,
    STAYS,
    Run,
    at_rest,
    closing,
    comm,
    environment_of,
    gone,
    newcomers,
    open_files,
    server_of,
)
from tests.host.processes import ended, listening, worker_spec
from tests.waiting import DEADLINE, block_until, wait_until
from waguard.errors import WaguardError
from waguard.host.process import procfs
from waguard.host.process.fork_server import ForkSpawn

pytestmark = pytest.mark.usefixtures("no_child_left", "earlier_children")

# ---- how it ends ----


async def test_an_exit_code(run: Run, subtests: pytest.Subtests) -> None:
    for code in (0, 1, 10, 255):
        with subtests.test(code=code):
            process = await run(f"import sys; sys.exit({code})")
            assert await ended(process) == code
            assert gone(process.pid)


async def test_an_exception_is_logged(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    process = await run("raise RuntimeError('broken')")
    assert await ended(process) == 1
    assert "RuntimeError: broken" in capfd.readouterr().err


async def test_a_signal_that_ends_a_fork_is_its_exit_code(
    run: Run, subtests: pytest.Subtests
) -> None:
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
        with subtests.test(number=number):
            process = await run(
                f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
                f"os.kill(os.getpid(), {number:d})"
            )
            assert await ended(process) == -number


async def test_terminate_asks_the_worker_alone_and_kill_ends_its_group(
    run: Run, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    process = await run(
        "import signal, subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n" + SAYS_READY + "\n"
        "while True: time.sleep(0.05)"
    )
    await listening(process)
    child = int(note.read_text())
    process.terminate()
    assert not at_rest(child)
    process.kill()
    assert await ended(process) == -signal.SIGKILL
    await wait_until(lambda: gone(child), "its child, an orphan of ours by now, is buried")


async def test_a_stop_is_seen_as_that_of_any_child(run: Run) -> None:
    process = await run(STAYS)
    await listening(process)
    os.kill(process.pid, signal.SIGSTOP)
    async with asyncio.timeout(DEADLINE):
        await process.stopped()
    process.kill()
    assert await ended(process) == -signal.SIGKILL


async def test_a_thread_that_goes_on_does_not_hold_it(run: Run) -> None:
    process = await run(
        "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    )
    assert await ended(process) == 0


async def test_the_end_of_its_output_is_its_end(run: Run) -> None:
    process = await run("")
    await listening(process)
    assert await ended(process) == 0


# ---- how it begins ----


async def test_what_a_worker_is_given(
    stand_in: Callable[..., tuple[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instructions, its marks, a group of its own; nothing of the daemon's configuration."""
    secrets = {
        "WAGUARD_DATABASE__URL": "mysql://me:sesame@db/wa",
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
    }
    for name, value in {**secrets, "WAGUARD_TEST_MARK": "kept"}.items():
        monkeypatch.setenv(name, value)
    report = tmp_path / "report"
    code = (
        "import gc, json, msgspec, os, signal, sys, threading\n"
        "report = {'argv': sys.argv, 'stdin': os.readlink('/proc/self/fd/0'),\n"
        "        'environ': dict(os.environ), 'umask': os.umask(0), 'cwd': os.getcwd(),\n"
        "        'sid': os.getsid(0), 'pgid': os.getpgid(0), 'parent': os.getppid(),\n"
        "        'gc': gc.isenabled(), 'threads': threading.active_count(),\n"
        "        'blocked': list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),\n"
        "        'term': signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,\n"
        "        'spec': msgspec.to_builtins(spec),\n"
        "        'fds': sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1]}\n"
        f"json.dump(report, open({str(report)!r}, 'w'))\n" + STAYS
    )
    spec = worker_spec(tmp_path, wajs=code)
    spawner = ForkSpawn(stand_in(), PATIENT, spares=NONE)
    spawner.start()
    async with closing(spawner):
        process = await spawner.spawn(spec)
        await listening(process)
        server = environment_of(server_of(spawner))
        shown = environment_of(process.pid)
        line = procfs.command_line(process.pid)
        assert comm(process.pid) == "waguard.worker"
    seen: dict[str, Any] = json.loads(report.read_text())
    assert seen["argv"] == ["waguard.worker", "a session"]
    assert msgspec.convert(seen["spec"], type(spec)) == spec
    assert process.pid == seen["sid"] == seen["pgid"]
    assert seen["parent"] == os.getpid()
    assert seen["fds"] == [0, 1, 2]
    assert seen["stdin"] == "/dev/null"
    assert seen["umask"] == 0o077
    assert seen["cwd"] == str(Path.cwd())
    assert seen["gc"]
    assert seen["threads"] == 1
    assert seen["blocked"] == []
    assert seen["term"]
    marks = [f"{name}={value}" for name, value in spec.marks().items()]
    assert marks[:3] == [
        *("WAGUARD_INSTANCE=f00d", "WAGUARD_SESSION=a session", "WAGUARD_GENERATION=7")
    ]
    assert shown[-4:] == marks
    assert "WAGUARD_TEST_MARK=kept" in shown
    assert [f"{name}={value}" for name, value in seen["environ"].items()][-4:] == marks
    assert not seen["environ"].keys() & {*secrets, "WAGUARD_ROOM"}
    assert not any("sesame" in text for text in (*server, *shown))
    assert not any("ROOM" in text for text in shown)
    assert [part for part in line if part] == [
        *(sys.executable, "-P", "-m", "waguard.worker", "a session")
    ]


async def test_marks_without_room_are_kept_where_they_count(run: Run, tmp_path: Path) -> None:
    report = tmp_path / "report"
    session = "s" * 1000
    process = await run(
        f"import os; open({str(report)!r}, 'w').write(os.environ['WAGUARD_SESSION'])",
        session=session,
    )
    assert await ended(process) == 0
    assert report.read_text() == session


async def test_no_descriptor_of_the_daemons_is_inherited(
    forking: ForkSpawn, run: Run, tmp_path: Path
) -> None:
    """One that kept a dead daemon's lock would keep the next daemon out for ever."""
    path = tmp_path / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    os.set_inheritable(lock, True)  # noqa: FBT003 - positional only
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = await run(STAYS)
    await listening(process)
    assert sorted(open_files(process.pid)) == [0, 1, 2]
    assert len(open_files(server_of(forking))) == 4  # the socket besides
    os.close(lock)
    again = os.open(path, os.O_RDWR)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(again)


async def test_nothing_is_kept_open(forking: ForkSpawn, run: Run) -> None:
    await ended(await run(""))
    before = len(open_files(os.getpid())), len(open_files(server_of(forking)))
    for _ in range(3):
        process = await run(SAYS_READY)
        await listening(process)
        await ended(process)
    assert (len(open_files(os.getpid())), len(open_files(server_of(forking)))) == before


async def test_many_at_once(forking: ForkSpawn, run: Run) -> None:
    processes = await asyncio.gather(*(run(f"import sys; sys.exit({n})") for n in range(30)))
    assert [await ended(process) for process in processes] == list(range(30))
    assert len({process.pid for process in processes}) == 30
    assert newcomers() == [psutil.Process(server_of(forking))]


async def test_a_worker_waits_until_it_is_watched(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that cannot be watched never begins: the next one would find its profile."""
    note = tmp_path / "began"
    code = f"open({str(note)!r}, 'w')\n"
    held: list[int] = []

    def no_descriptor(pid: int) -> int:
        held.append(pid)
        # it could have written its note a hundred times: it hangs on its instructions
        block_until(lambda: psutil.Process(pid).status() == psutil.STATUS_SLEEPING, "it waits")
        assert not note.exists()
        raise OSError(errno.EMFILE, "Too many open files")

    await ended(await run(""))
    files = len(open_files(os.getpid()))
    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    with pytest.raises(WaguardError, match="Too many open"):
        await run(code)
    monkeypatch.undo()
    await wait_until(lambda: gone(held[0]), "it is gone, and buried")
    assert not note.exists()
    assert len(open_files(os.getpid())) == files


async def test_a_worker_that_came_too_late_never_begins(
    forking: ForkSpawn, run: Run, tmp_path: Path
) -> None:
    await ended(await run(""))
    note = tmp_path / "began"
    server = server_of(forking)
    os.kill(server, signal.SIGSTOP)
    spawning = asyncio.create_task(run(f"open({str(note)!r}, 'w')"))
    await wait_until(lambda: forking._server and forking._server._asked, "it was asked")
    spawning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spawning
    os.kill(server, signal.SIGCONT)
    process = await run("")  # answered after the other
    assert await ended(process) == 0
    await wait_until(lambda: len(newcomers()) == 1, "the other is buried")
    assert not note.exists()
    assert server_of(forking) == server


@pytest.mark.parametrize("which", [1, 2], ids=["first fork", "second fork"])
async def test_where_the_system_refuses(
    stand_in: Callable[..., tuple[str]], tmp_path: Path, which: int
) -> None:
    preparation = (
        "import os, itertools\n"
        "fork, count = os.fork, itertools.count(1)\n"
        "def refuse():\n"
        f"    if next(count) == {which}: raise BlockingIOError(11, 'no more')\n"
        "    return fork()\n"
        "os.fork = refuse\n"
    )
    spawner = ForkSpawn(stand_in(preparation), PATIENT, spares=NONE)
    spawner.start()
    async with closing(spawner):
        assert spawner._server
        await spawner._server.ready(DEADLINE)
        files = len(open_files(os.getpid()))
        spec = worker_spec(tmp_path, wajs="")
        with pytest.raises(WaguardError, match="could be started: Resource temporarily") as refused:
            await spawner.spawn(spec)
        assert refused.value.remedy
        assert len(open_files(os.getpid())) == files
        assert newcomers() == [psutil.Process(server_of(spawner))]
        if which == 1:  # the count of a fork that did not return is the child's
            assert await ended(await spawner.spawn(spec)) == 0
