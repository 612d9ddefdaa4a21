"""Worker processes that are started by exec: how they end, and how they begin."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from tests.host.processes import descriptors, ended, has_ended, listening, worker_spec
from tests.waiting import wait_until
from waguard.core.exits import EXIT_BROWSER_UNUSABLE
from waguard.errors import WaguardError
from waguard.host.process.children import ExecSpawn, PidfdProcess
from waguard.wire.worker import WorkerSpec

pytestmark = pytest.mark.usefixtures("no_child_left")

Start = Callable[[str], Awaitable[PidfdProcess]]


# one write: print makes two where Python is unbuffered, and the pipe is closed after the first
SAYS_READY: Final = "import os, signal, sys, time\nos.write(1, b'ready')\n"


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    return worker_spec(tmp_path)


@pytest.fixture
async def start(
    tmp_path: Path, spec: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """Spawns a program of the test's in the place of Python with a worker; all end with it."""
    script = tmp_path / "worker"
    started: list[PidfdProcess] = []

    async def spawn(code: str) -> PidfdProcess:
        script.write_text(f"#!{python}\n{code}")
        script.chmod(0o700)
        process = await ExecSpawn().spawn(spec)
        started.append(process)
        return process

    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(script))
    yield spawn
    for process in started:
        process.kill()
        await ended(process)


def fill_the_gaps() -> list[int]:
    """The limit is for the number of a descriptor: what is free below the highest would not count."""
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    filling = [os.open("/dev/null", os.O_RDONLY)]
    while filling[-1] < highest:
        filling.append(os.dup(filling[0]))
    return filling


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ---- how it ends ----


@pytest.mark.parametrize("code", [0, 1, 10, 255])
async def test_an_exit_code(start: Start, code: int) -> None:
    process = await start(f"import sys; sys.exit({code})")
    assert await ended(process) == code
    assert await ended(process) == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_signal_that_ends_a_child_is_its_exit_code(
    start: Start, number: signal.Signals
) -> None:
    process = await start(
        f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"os.kill(os.getpid(), {number:d})"
    )
    assert await ended(process) == -number


async def test_terminate_asks_the_worker_alone(start: Start, tmp_path: Path) -> None:
    report = tmp_path / "report"
    process = await start(
        "import subprocess, signal, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "def stop(*_):\n"
        f"    open({str(report)!r}, 'w').write(str(child.poll()))\n"
        "    child.kill(); child.wait(); sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "import os; os.write(1, b'ready')\n"
        "while True: time.sleep(0.05)  # a signal just before a sleep is handled after it\n"
    )
    await listening(process)
    process.terminate()
    assert await ended(process) == 3
    assert report.read_text() == "None"  # its own child had been left to it


async def test_kill_ends_the_whole_group(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = await start(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "import os; os.write(1, b'ready')\n"
        "time.sleep(600)\n"
    )
    await listening(process)
    child = int(note.read_text())
    assert alive(child)
    process.terminate()
    process.kill()
    assert await ended(process) == -signal.SIGKILL
    await wait_until(lambda: not alive(child), "its child is gone too")


async def test_a_grandchild_that_ignores_terminate_is_ended_with_its_group(
    start: Start, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    process = await start(
        "import os, signal, subprocess\n"
        "deaf = lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'], preexec_fn=deaf)\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "os.write(1, b'ready')\n"
        "signal.pause()\n"
    )
    await listening(process)
    child = int(note.read_text())
    process.terminate()
    assert await ended(process) == -signal.SIGTERM
    assert alive(child)
    assert ExecSpawn().end_remains(process.pid) is True
    await wait_until(lambda: not alive(child), "it is gone too")


async def test_what_a_process_does_is_seen(start: Start) -> None:
    process = await start(
        "import os, signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: None)\n"
        "os.write(1, b'ready')\n"
        "signal.pause()\n"
        "while True: pass\n"
    )
    await listening(process)
    await wait_until(lambda: (it := process.effort()) and it.rests, "it rests")
    before = process.effort()
    assert before
    os.kill(process.pid, signal.SIGUSR1)
    await wait_until(
        lambda: (it := process.effort()) and not it.rests and it.cpu > before.cpu, "it runs"
    )
    process.kill()
    await ended(process)
    assert process.effort() is None


async def test_kill_ends_what_is_stopped_in_the_groups_of_its_children(
    start: Start, tmp_path: Path
) -> None:
    """A stopped renderer does not see that its browser, and the browser's worker, are gone."""
    note = tmp_path / "pid"
    browser = (
        "import os, signal, subprocess, time\n"
        "renderer = subprocess.Popen(['sleep', '600'])\n"
        "os.kill(renderer.pid, signal.SIGSTOP)\n"
        f"open({str(note)!r}, 'w').write(str(renderer.pid))\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    process = await start(
        "import os, subprocess, sys, time\n"
        f"argv = [sys.executable, '-c', {browser!r}]\n"
        "child = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)\n"
        "child.stdout.readline()\n"
        "os.write(1, b'ready')\n"
        "time.sleep(600)\n"
    )
    await listening(process)
    renderer = int(note.read_text())
    process.kill()
    assert await ended(process) == -signal.SIGKILL
    await wait_until(lambda: not alive(renderer), "the stopped one is gone too")


async def test_a_stopped_process_can_be_killed(start: Start) -> None:
    process = await start(SAYS_READY + "time.sleep(600)")
    await listening(process)
    os.kill(process.pid, signal.SIGSTOP)
    process.kill()
    assert await ended(process) == -signal.SIGKILL


async def test_after_its_end_nothing_is_sent_to_its_pid(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await start("")
    await ended(process)

    def refuse(*_: object) -> None:
        pytest.fail("a signal to a pid that may be another's by now")

    monkeypatch.setattr(os, "killpg", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    process.terminate()
    process.kill()


async def test_between_its_end_and_the_loops_notice_signals_are_harmless(start: Start) -> None:
    process = await start("")
    has_ended(process.pid)
    process.terminate()
    process.kill()
    assert await ended(process) == 0


async def test_many_may_wait_and_one_may_give_up(start: Start) -> None:
    process = await start(SAYS_READY + "time.sleep(600)")
    waiting = [asyncio.create_task(process.wait()) for _ in range(3)]
    await listening(process)
    waiting[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting[0]
    process.kill()
    assert await asyncio.gather(*waiting[1:]) == [-signal.SIGKILL] * 2


# ---- how it begins ----


async def test_a_worker_listens_when_it_says_so(start: Start) -> None:
    process = await start("import sys; sys.stdin.read(); " + SAYS_READY + "time.sleep(600)")
    await listening(process)
    assert alive(process.pid)


async def test_nobody_waits_for_a_worker_that_died_before_it_listened(start: Start) -> None:
    process = await start("import sys; sys.exit(15)")
    await listening(process)
    assert await ended(process) == 15


async def test_nor_for_one_whose_output_lives_on_in_a_child(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = await start(
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
    )
    try:
        assert await ended(process) == 0
        await listening(process)
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


async def test_what_a_worker_is_given(
    start: Start, spec: WorkerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instructions, its marks, a group of its own; nothing of the daemon's configuration."""
    secrets = {
        "WAGUARD_DATABASE__URL": "mysql://me:sesame@db/wa",
        "WAGUARD_API__PORT": "1",
        "NOTIFY_SOCKET": "/run/notify",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
    }
    for name, value in {**secrets, "WAGUARD_TEST_MARK": "kept"}.items():
        monkeypatch.setenv(name, value)
    report = tmp_path / "report"
    process = await start(
        "import json, os, sys\n"
        "report = {'argv': sys.argv[1:], 'stdin': sys.stdin.read(), 'environ': dict(os.environ),\n"
        "        'pid': os.getpid(), 'sid': os.getsid(0), 'pgid': os.getpgid(0),\n"
        "        'fds': sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1]}\n"
        f"json.dump(report, open({str(report)!r}, 'w'))"
    )
    assert await ended(process) == 0
    seen: dict[str, Any] = json.loads(report.read_text())
    assert seen["argv"] == ["-P", "-m", "waguard.worker", "a session"]
    assert msgspec.json.decode(seen["stdin"], type=WorkerSpec) == spec
    assert process.pid == seen["pid"] == seen["sid"] == seen["pgid"]
    assert seen["fds"] == [0, 1, 2]
    environ = seen["environ"]
    assert environ["WAGUARD_INSTANCE"] == "f00d"
    assert environ["WAGUARD_SESSION"] == "a session"
    assert environ["WAGUARD_GENERATION"] == "7"
    assert environ["WAGUARD_TEST_MARK"] == "kept"
    assert not environ.keys() & secrets.keys()
    assert "sesame" not in json.dumps(environ)


async def test_nothing_is_kept_open(start: Start) -> None:
    await ended(await start(""))
    before = descriptors()
    for _ in range(3):
        process = await start(SAYS_READY)
        await listening(process)
        await ended(process)
    assert descriptors() == before


async def test_a_worker_that_reads_nothing(start: Start) -> None:
    """It closed its end before it was sent anything."""
    process = await start("import os; os.close(0); os._exit(4)")
    assert await ended(process) == 4


async def test_where_no_process_can_be_started(
    spec: WorkerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    before = descriptors()
    with pytest.raises(WaguardError, match="no worker could be started: No such file") as refused:
        await ExecSpawn().spawn(spec)
    assert refused.value.remedy
    assert descriptors() == before


async def test_a_worker_that_cannot_be_watched_is_not_left_running(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no descriptor left it could never be stopped: the next one would find its profile."""
    started: list[int] = []

    def no_descriptor(pid: int) -> int:
        started.append(pid)
        raise OSError(24, "Too many open files")

    before = descriptors()
    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    with pytest.raises(WaguardError, match="Too many open files"):
        await start("import time; time.sleep(600)")
    assert not psutil.pid_exists(started[0])
    assert descriptors() == before


async def test_with_too_few_descriptors_nothing_is_left_either(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    children = len(psutil.Process().children())
    filling = fill_the_gaps()
    before = descriptors()
    refused, spare = 0, 2  # two for the test's own script
    while True:
        resource.setrlimit(resource.RLIMIT_NOFILE, (filling[-1] + 1 + spare, hard))
        try:
            process = await start("")
            break
        except WaguardError:
            refused, spare = refused + 1, spare + 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(psutil.Process().children()) == children
        assert descriptors() == before
    assert refused >= 3
    assert await ended(process) == 0
    for descriptor in filling:
        os.close(descriptor)


async def test_the_real_worker_says_why_it_ended(spec: WorkerSpec) -> None:
    process = await ExecSpawn().spawn(spec)
    assert await ended(process) == EXIT_BROWSER_UNUSABLE
