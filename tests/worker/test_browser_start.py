"""A host that does not let Chromium be started: no session's fault."""

import errno
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from tests.host.processes import worker_spec
from waguard.core.exits import EXIT_BROWSER_KILLED, EXIT_BROWSER_UNUSABLE
from waguard.core.proxy import parse
from waguard.profile.lock import ProfileLock
from waguard.profile.start_marks import SUSPECT
from waguard.worker import browser_start
from waguard.worker.browser.chromium import find_executable
from waguard.worker.browser.forwarder import Forwarder
from waguard.worker.ending import WorkerEndError
from waguard.worker.lifecycle import SessionWorker
from waguard.worker.profile_care import ProfileCare


def refuse(*_: object, **__: object) -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


async def test_a_host_that_starts_no_more_processes_is_to_blame(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = short_path / "chromium"
    script.write_text("#!/bin/sh\necho Chromium 156.0.1.2\n")
    script.chmod(0o700)
    spec = worker_spec(short_path, executable=str(script), launch_timeout=60.0)
    care = ProfileCare(spec, ProfileLock(Path(spec.profile)), lambda _: None)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(WorkerEndError, match="Resource temporarily unavailable") as reported:
        await browser_start.start(spec, care)
    assert reported.value.code == EXIT_BROWSER_UNUSABLE
    assert not Path(spec.temporary).exists()


@pytest.mark.chromium
async def test_a_chromium_that_is_killed_as_it_starts_proves_no_profile_damaged(
    short_path: Path,
) -> None:
    script, began = short_path / "chromium", short_path / "began"
    spec = worker_spec(
        short_path, executable=str(script), launch_timeout=60.0, sandbox=os.geteuid() != 0
    )
    real = find_executable(None, "chromium")
    script.write_text(
        f"""#!/bin/sh
case "$*" in
*={spec.profile}*) echo >> {began}; kill -9 $$ ;;
esac
exec {real} "$@"
"""
    )
    script.chmod(0o700)
    profile = Path(spec.profile)
    care = ProfileCare(spec, ProfileLock(profile), lambda _: None)
    umask = os.umask(0o077)  # a worker's
    try:
        with pytest.raises(WorkerEndError, match="SIGKILL") as reported:
            await browser_start.start(spec, care)
    finally:
        os.umask(umask)
    assert reported.value.code == EXIT_BROWSER_KILLED
    assert not (profile / SUSPECT).exists()
    assert began.read_text() == "\n", "it was tried once"


async def test_a_host_that_has_no_port_for_the_way_to_a_proxy_is_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = parse("http://127.0.0.1:1", None, None, mark="m")
    monkeypatch.setattr(Forwarder, "start", refuse)
    with pytest.raises(WorkerEndError, match="Resource temporarily unavailable") as reported:
        await SessionWorker(worker_spec(tmp_path, proxy=proxy))._live()
    assert reported.value.code == EXIT_BROWSER_UNUSABLE
