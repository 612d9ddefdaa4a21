"""Starting and ending a real Chromium: what can go wrong, and that nothing is ever left."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.worker.browser_fixtures import *  # noqa: F403  # fixtures
from tests.worker.browser_fixtures import LONG, SHORT, TRAPPED, both, live_processes, wait_until
from waguard.core.replace import replace
from waguard.worker.browser.chromium import (
    BrowserArgumentError,
    BrowserStartError,
    Chromium,
    ChromiumSpec,
    Flavour,
    ProfileLockedError,
    ProfileUnusableError,
    launch,
)
from waguard.worker.browser.process import command_line

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]

Start = Callable[..., Awaitable[Chromium]]


def script(path: Path, body: str) -> Path:
    """A browser that is none: tells a version, then does as it is told."""
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Fake 1.2.3.4 && exit\n{body}\n')
    path.chmod(0o755)
    return path


@both
async def test_close_leaves_nothing(
    flavour: Flavour, spec: ChromiumSpec, chromium: Chromium
) -> None:
    assert chromium.pid in live_processes(spec.profile, spec.tmpdir)
    assert spec.profile.stat().st_mode & 0o777 == 0o700
    await chromium.devtools.open_page(LONG)
    await chromium.close(grace=LONG)
    assert live_processes(spec.profile, spec.tmpdir) == []
    assert await chromium.exited in {0, TRAPPED}
    assert chromium.devtools.closed.is_set()
    assert not spec.tmpdir.exists()


async def test_close_before_any_page_leaves_nothing(
    flavour: Flavour, spec: ChromiumSpec, chromium: Chromium
) -> None:
    await chromium.close(grace=LONG)
    assert await chromium.exited in {0, TRAPPED}
    assert live_processes(spec.profile, spec.tmpdir) == []


async def test_close_may_be_repeated_and_cancelled(chromium: Chromium) -> None:
    first = asyncio.create_task(chromium.close())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.gather(chromium.close(), chromium.close())
    await chromium.close()


async def test_a_browser_that_does_not_listen_is_killed(
    flavour: Flavour, spec: ChromiumSpec, chromium: Chromium
) -> None:
    os.kill(chromium.pid, signal.SIGSTOP)
    await chromium.close(grace=SHORT)
    assert await chromium.exited == -signal.SIGKILL
    assert live_processes(spec.profile, spec.tmpdir) == []


async def test_the_browser_carries_its_marks(chromium: Chromium) -> None:
    environment = Path(f"/proc/{chromium.pid}/environ").read_bytes().split(b"\0")
    assert b"WAGUARD_SESSION=test" in environment
    assert os.getpgid(chromium.pid) == chromium.pid == os.getsid(chromium.pid)


async def test_no_tcp_port_is_open(chromium: Chromium) -> None:
    assert not [one for one in command_line(chromium.pid) if "debugging-port" in one]


async def test_profile_locked_is_reported_as_such(spec: ChromiumSpec) -> None:
    spec.profile.mkdir()
    (spec.profile / "SingletonLock").symlink_to("another-host-123")
    with pytest.raises(ProfileLockedError) as locked:
        await launch(spec, timeout=LONG)
    assert locked.value.returncode == 21
    assert locked.value.value == str(spec.profile)
    assert live_processes(spec.profile, spec.tmpdir) == []


async def test_second_desktop_chromium_on_a_profile_is_reported_and_the_first_lives(
    spec: ChromiumSpec, chromium: Chromium
) -> None:
    second = replace(spec, tmpdir=spec.tmpdir.with_name("u"))
    with pytest.raises(ProfileLockedError):
        await launch(second, timeout=LONG)
    await chromium.devtools.version(LONG)
    assert not second.tmpdir.exists()


async def test_profile_folder_that_cannot_be_created(spec: ChromiumSpec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    changed = replace(spec, profile=tmp_path / "file" / "profile")
    with pytest.raises(ProfileUnusableError) as reported:
        await launch(changed, timeout=LONG)
    assert reported.value.field == "profile"
    assert reported.value.remedy
    assert live_processes(changed.profile, changed.tmpdir) == []


async def test_profile_folder_that_cannot_be_written(spec: ChromiumSpec) -> None:
    # even root cannot make files there
    with pytest.raises(ProfileUnusableError) as reported:
        await launch(replace(spec, profile=Path("/proc/self")), timeout=LONG)
    assert reported.value.value == "/proc/self"


async def test_a_tmpdir_that_chromium_would_abort_at(spec: ChromiumSpec) -> None:
    with pytest.raises(ProfileUnusableError, match="too long") as reported:
        await launch(replace(spec, tmpdir=Path("/tmp") / ("x" * 60)), timeout=LONG)
    assert reported.value.field == "tmpdir"


async def test_a_refused_argument_starts_nothing(spec: ChromiumSpec) -> None:
    with pytest.raises(BrowserArgumentError):
        await launch(replace(spec, extra_args=("--single-process",)), timeout=LONG)
    assert not spec.profile.exists()


async def test_an_early_exit_says_its_code(spec: ChromiumSpec, tmp_path: Path) -> None:
    fake = script(tmp_path / "fake", "exit 7")
    with pytest.raises(BrowserStartError, match="exit code 7") as reported:
        await launch(replace(spec, executable=fake), timeout=LONG)
    assert reported.value.returncode == 7


async def test_a_silent_browser_is_killed_at_the_deadline(
    spec: ChromiumSpec, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pids"
    fake = script(tmp_path / "fake", f"sleep 1000 & echo $$ $! > {pid_file}; wait")
    with pytest.raises(BrowserStartError, match="did not answer"):
        await launch(replace(spec, executable=fake), timeout=3 * SHORT)
    # on a busy machine it may be killed before it has written them
    pids = pid_file.read_text().split() if pid_file.exists() else []
    assert [pid for pid in pids if command_line(int(pid))[:-1]] == []
    assert live_processes(spec.profile, spec.tmpdir) == []


async def test_a_cancelled_launch_leaves_nothing(spec: ChromiumSpec) -> None:
    task = asyncio.create_task(launch(spec, timeout=LONG))
    await wait_until(lambda: bool(live_processes(spec.profile, spec.tmpdir)), "a browser")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert live_processes(spec.profile, spec.tmpdir) == []


async def test_a_binary_that_is_no_browser(spec: ChromiumSpec) -> None:
    with pytest.raises(BrowserStartError, match="version") as reported:
        await launch(replace(spec, executable=Path("/bin/false")), timeout=LONG)
    assert reported.value.field == "browser.executable"


async def test_a_wrapper_that_drops_the_profile_is_found_out(
    spec: ChromiumSpec, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    fake = script(
        tmp_path / "fake",
        f'for a; do shift; case "$a" in --user-data-dir=*) a=--user-data-dir={other};; esac; '
        f'set -- "$@" "$a"; done; exec {spec.executable} "$@"',
    )
    with pytest.raises(BrowserStartError, match="does not use the profile"):
        await launch(replace(spec, executable=fake), timeout=LONG)
    assert live_processes(other, spec.tmpdir) == []


async def test_a_wrapper_that_does_not_exec_is_found_out(
    flavour: Flavour, spec: ChromiumSpec, tmp_path: Path
) -> None:
    fake = script(tmp_path / "fake", f'{spec.executable} "$@"')
    with pytest.raises(BrowserStartError, match="does not use the profile"):
        await launch(replace(spec, executable=fake), timeout=LONG)
    assert live_processes(spec.profile, spec.tmpdir) == []


@both
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_second_chromium_on_a_profile_is_prevented_by_our_lock(
    flavour: Flavour, spec: ChromiumSpec, start: Start, *, stopped: bool
) -> None:
    spec.profile.mkdir()
    path = spec.profile / "waguard.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    chromium = await start(inherited_fds=(lock,))
    os.close(lock)  # as when the worker dies before its browser
    if stopped:
        os.kill(chromium.pid, signal.SIGSTOP)
    again = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await chromium.close(grace=SHORT)
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(again)


WORKER = """
import asyncio, os, sys
from pathlib import Path
from waguard.worker.browser.chromium import ChromiumSpec, find_executable, launch

async def main(flavour, profile, tmpdir):
    chromium = await launch(
        ChromiumSpec(
            executable=find_executable(None, flavour), flavour=flavour, profile=Path(profile),
            tmpdir=Path(tmpdir), sandbox=os.geteuid() != 0,
        ),
        timeout=30,
    )
    await chromium.devtools.open_page(30)
    print(chromium.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@both
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_kill_9_of_the_worker_leaves_no_chromium(
    flavour: Flavour, spec: ChromiumSpec, *, stopped: bool
) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WORKER, spec.flavour, spec.profile, spec.tmpdir],
        stdout=subprocess.PIPE,
    ) as worker:
        try:
            assert worker.stdout is not None
            browser = int(await asyncio.to_thread(worker.stdout.readline))
            assert browser in live_processes(spec.profile, spec.tmpdir)
            if stopped:  # deaf to the end of the pipe: the death signal must do
                os.kill(browser, signal.SIGSTOP)
        finally:
            worker.kill()
    await wait_until(lambda: not live_processes(spec.profile, spec.tmpdir), "no Chromium")
