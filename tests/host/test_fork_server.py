import asyncio
import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest
from loguru import logger

from tests.host.processes import program, worker_spec
from tests.waiting import DEADLINE, block_until, wait_until
from waguard.core.exits import EXIT_BROWSER_UNUSABLE
from waguard.errors import WaguardError
from waguard.host import procfs
from waguard.host.children import PidfdProcess, read_records
from waguard.host.fork_server import SERVER, Deadlines, ForkSpawn
from waguard.wire.forking import LIMIT, Fork, Forked

Run = Callable[..., Coroutine[Any, Any, PidfdProcess]]

pytestmark = pytest.mark.usefixtures("no_child_left")

# in the place of a worker: the code that its instructions have for wa-js
STAND_IN: Final = """
import sys
from waguard.worker import fork_server
{preparation}
def job(spec):
    exec(spec.wajs, {{"spec": spec}})
    return 0
sys.exit(fork_server.main(job))
"""
SAYS_READY: Final = "import os, signal, sys, time; os.write(1, b'ready')\n"
STAYS: Final = SAYS_READY + "time.sleep(600)"
# a server that is slow because the machine is busy is no fault here
PATIENT: Final = Deadlines(answer=DEADLINE, start=DEADLINE)
# tells its version, and then stands for a browser that never answers
CHROMIUM: Final = (
    '#!/bin/sh\n[ "$1" = --version ] && echo "Chromium 1.0.0.0" && exit\nexec sleep 600\n'
)


_ALREADY: set[int] = set()


@pytest.fixture(autouse=True)
def earlier_children() -> None:
    """Servers that other tests of this process keep are none of ours."""
    _ALREADY.clear()
    _ALREADY.update(child.pid for child in psutil.Process().children())


def newcomers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.pid not in _ALREADY]


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], tuple[str]]:
    """Python's arguments for a server whose workers run a test's code."""

    def write(preparation: str = "") -> tuple[str]:
        script = tmp_path / "server.py"
        script.write_text(STAND_IN.format(preparation=preparation))
        return (str(script),)

    return write


@pytest.fixture
async def forking(
    stand_in: Callable[..., tuple[str]], request: pytest.FixtureRequest
) -> AsyncIterator[ForkSpawn]:
    """A spawner; all that it started ends with the test."""
    made = ForkSpawn(stand_in(), PATIENT)
    made.start()
    async with closing(made):
        yield made


@contextlib.asynccontextmanager
async def closing(spawner: ForkSpawn) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for process in list(spawner._children):
            process.kill()
            await ended(process)
        await spawner.close()


@pytest.fixture
def run(forking: ForkSpawn, tmp_path: Path) -> Run:
    """Have a worker run some code."""

    async def spawn(code: str, **changes: Any) -> PidfdProcess:
        return await forking.spawn(worker_spec(tmp_path, wajs=code, **changes))

    return spawn


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What was logged."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="INFO")
    yield lines
    logger.remove(sink)


async def ended(process: PidfdProcess) -> int | None:
    async with asyncio.timeout(DEADLINE):
        return await process.wait()


async def listening(process: PidfdProcess) -> None:
    async with asyncio.timeout(DEADLINE):
        await process.listening()


def server_of(spawner: ForkSpawn) -> int:
    assert spawner.server_pid
    return spawner.server_pid


def open_files(pid: int) -> dict[int, str]:
    found = {}
    for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found[int(entry.name)] = str(entry.readlink())
    return found


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def was_forked(process: PidfdProcess) -> bool:
    """It has its server's name before it knows its own."""
    return comm(process.pid) in {"waguard.forks", "waguard.worker"}


def environment_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")


def has_ended(pid: int) -> None:
    """Wait without the loop, which must not notice, and leave the zombie there."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def gone(pid: int) -> bool:
    """Ended and reaped."""
    return not psutil.pid_exists(pid)


def at_rest(pid: int) -> bool:
    """Ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# ---- how it ends ----


@pytest.mark.parametrize("code", [0, 1, 10, 255])
async def test_an_exit_code(run: Run, code: int) -> None:
    process = await run(f"import sys; sys.exit({code})")
    assert await ended(process) == code
    assert gone(process.pid)


async def test_an_exception_is_logged(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    process = await run("raise RuntimeError('broken')")
    assert await ended(process) == 1
    assert "RuntimeError: broken" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_signal(run: Run, number: signal.Signals) -> None:
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
    spawner = ForkSpawn(stand_in(), PATIENT)
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
    spawner = ForkSpawn(stand_in(preparation), PATIENT)
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
    spawner = ForkSpawn(stand_in(), PATIENT)
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
    spawner = ForkSpawn(stand_in(), PATIENT)
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
from waguard.host.fork_server import ForkSpawn
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
    spawner = ForkSpawn(deadlines=PATIENT)
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
    spawner = ForkSpawn(deadlines=PATIENT)
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
