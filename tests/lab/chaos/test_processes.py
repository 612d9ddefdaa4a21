"""Which process is what: told from what /proc shows of it."""

import os
import sys
from pathlib import Path

from tests.host.processes import program
from waguard.lab.chaos.processes import CRASH_HANDLERS, MARK, Census, Process, census, scan

FOLDER = Path("/tmp/w")
OWNERS = {"/tmp/w/sessions/s1": "s1", "/tmp/w/run/t/1/crashes": "s1"}
OURS = {MARK: str(FOLDER)}
CHROMIUM = "/usr/lib/chromium/chromium"

DAEMON = Process(
    pid=10, parent=1, group=10, argv=("python", "-P", "-m", "waguard", "run"), marks=OURS
)
SERVER = Process(
    pid=11,
    parent=10,
    group=11,
    argv=("python", "-m", "waguard.worker.fork_server", "7"),
    marks=OURS,
)
WORKER = Process(
    pid=12,
    parent=10,
    group=12,
    argv=("python", "-P", "-m", "waguard.worker", "s1"),
    marks={**OURS, "WAGUARD_SESSION": "s1"},
)
BROWSER = Process(
    pid=13, parent=12, group=13, argv=(CHROMIUM, "--user-data-dir=/tmp/w/sessions/s1"), marks=OURS
)
ZYGOTE = Process(pid=14, parent=13, group=13, argv=(CHROMIUM, "--type=zygote"))
RENDERER = Process(pid=15, parent=14, group=13, argv=(CHROMIUM, "--type=renderer"))
ALL = (DAEMON, SERVER, WORKER, BROWSER, ZYGOTE, RENDERER)


def crash_handler(pid: int) -> Process:
    argv = ("/usr/lib/chromium/chrome_crashpad_handler", "--database=/tmp/w/run/t/1/crashes")
    return Process(pid=pid, parent=10, group=pid, argv=argv)


def seen(*processes: Process, groups: tuple[int, ...] = ()) -> Census:
    return census(processes, FOLDER, OWNERS, groups)


def pids(processes: tuple[Process, ...]) -> list[int]:
    return [process.pid for process in processes]


def test_everybody_has_a_place() -> None:
    found = seen(*ALL)
    assert found == Census(
        daemons=(10,),
        fork_servers=(11,),
        workers={"s1": (12,)},
        browsers={"s1": (13,)},
        renderers={13: (15,)},
        parts=(14,),
        groups=frozenset({13}),
    )
    assert found.all == (10, 11, 12, 13, 15, 14)


def test_other_peoples_processes_are_not_ours() -> None:
    reader = Process(pid=20, parent=1, group=20, argv=("tail", "-f", "/tmp/w/waguard.log"))
    other = Process(pid=21, parent=1, group=21, argv=DAEMON.argv, marks={MARK: "/tmp/w2"})
    browser = Process(pid=22, parent=21, group=22, argv=(CHROMIUM, "--user-data-dir=/tmp/w2/p"))
    assert seen(reader, other, browser).all == ()


def test_a_fork_of_the_browser_on_its_way_is_no_second_browser() -> None:
    twin = Process(pid=16, parent=13, group=13, argv=BROWSER.argv, marks=OURS)
    assert seen(*ALL, twin).browsers == {"s1": (13,)}
    second = Process(pid=17, parent=12, group=17, argv=BROWSER.argv, marks=OURS)
    assert seen(*ALL, second).browsers == {"s1": (13, 17)}


def test_what_a_dead_browser_leaves_is_a_stray() -> None:
    orphan = Process(pid=15, parent=1, group=13, argv=RENDERER.argv)
    assert seen(DAEMON, WORKER, orphan).all == (10, 12)  # nothing tells whose it is …
    assert pids(seen(DAEMON, WORKER, orphan, groups=(13,)).strays) == [15]  # … but its group


def test_the_number_of_an_empty_group_is_anybodys_next() -> None:
    known = seen(*ALL).groups
    orphan = Process(pid=15, parent=1, group=13, argv=RENDERER.argv)
    known = seen(DAEMON, WORKER, orphan, groups=tuple(known)).groups
    assert known == {13}
    known = seen(DAEMON, WORKER, groups=tuple(known)).groups
    shell = Process(pid=13, parent=1, group=13, argv=("bash",))
    assert seen(DAEMON, WORKER, shell, groups=tuple(known)).strays == ()


def test_a_browser_has_two_crash_handlers_and_no_more() -> None:
    handlers = [crash_handler(30 + number) for number in range(CRASH_HANDLERS)]
    assert seen(*ALL, *handlers).strays == ()
    assert pids(seen(*ALL, *handlers, crash_handler(40)).strays) == [30]
    assert pids(seen(DAEMON, *handlers).strays) == [30, 31]


def test_what_is_stopped_is_said() -> None:
    halted = Process(pid=18, parent=14, group=13, argv=RENDERER.argv, stopped=True)
    assert seen(*ALL, halted).stopped == (18,)


def test_the_scan_sees_a_real_process_with_its_mark() -> None:
    os.environ[MARK] = "/tmp/w"
    try:
        with program("print('up', flush=True); input()") as running:
            found = next(process for process in scan() if process.pid == running.pid)
    finally:
        del os.environ[MARK]
    assert found.argv[0] == sys.executable
    assert (found.parent, found.marks, found.stopped) == (os.getpid(), {MARK: "/tmp/w"}, False)
