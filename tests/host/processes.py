"""Small programs of the tests' own, that always end with the test."""

import asyncio
import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.waiting import DEADLINE
from waguard.host.process.children import PidfdProcess
from waguard.wire.worker import WorkerSpec

OWN: Final = "WAGUARD_"
NOBODY: Final = 65534
BECOME_NOBODY: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
OTHERS_CANNOT: Final = "needs root, and a Python that other users may run (not below a closed home)"


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The test's, without what configures waguard; as root without Chromium's sandbox."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    return plain | {"WAGUARD_BROWSER__SANDBOX": json.dumps(os.getuid() != 0)} | dict(more or {})


def others_can_run_this_python() -> bool:
    """Whether another user could, which needs root, and a Python that is not below a closed home."""
    if os.getuid() != 0:
        return False
    again = (
        "import subprocess, sys, waguard; subprocess.run([sys.executable, '-c', ''], check=True)"
    )
    command = [*BECOME_NOBODY, sys.executable, "-P", "-c", again]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def waguard(
    *arguments: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """``waguard`` as a process of its own, to its end."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "waguard", *arguments],
        cwd=folder,
        env=clean_environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )


@contextlib.contextmanager
def program(
    code: str, *arguments: str, pass_fds: Collection[int] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """Python code that has printed its first line; killed at the end, whatever it does."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=pass_fds,
    ) as running:
        assert running.stdout
        try:
            assert running.stdout.readline(), "it ended before it was ready"
            yield running
        finally:
            running.kill()


def worker_spec(folder: Path, **changes: Any) -> WorkerSpec:
    """A worker that has no Chromium to start."""
    plain = WorkerSpec(
        instance="f00d",
        session="a session",
        generation=7,
        workspace=1,
        profile=str(folder / "profile"),
        snapshots="",
        quarantine="",
        snapshot_interval=3600.0,
        cache_limit=1 << 30,
        socket=str(folder / "w.sock"),
        record=str(folder / "w.json"),
        temporary=str(folder / "t"),
        url="http://127.0.0.1:9/",
        wajs=None,
        executable=str(folder / "no-such-chromium"),
        flavour="chromium",
        extra_args=(),
        launch_timeout=5.0,
        orphan_grace=1.0,
        heartbeat=1.0,
    )
    return msgspec.structs.replace(plain, **changes)


async def ended(process: PidfdProcess) -> int | None:
    async with asyncio.timeout(DEADLINE):
        return await process.wait()


async def listening(process: PidfdProcess) -> None:
    async with asyncio.timeout(DEADLINE):
        await process.listening()


def has_ended(pid: int) -> None:
    """Wait without the loop, which must not notice, and leave the zombie there."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@contextlib.contextmanager
def no_descriptor(*, spare: int = 0) -> Iterator[None]:
    """This process can open no file any more, but ``spare`` ones."""
    gc.collect()  # what earlier tests left would be closed meanwhile
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
