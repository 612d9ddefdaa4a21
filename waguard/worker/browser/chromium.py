"""Launch one Chromium for a worker, and end it so that nothing of it stays.

    spec = ChromiumSpec(executable=find_executable(None, "chromium"), profile=…, tmpdir=…)
    chromium = await launch(spec, timeout=30)
    page = await chromium.devtools.open_page(timeout=10)
    …
    await chromium.close()

The pieces: ``arguments`` (what is run), ``process`` (the processes), ``devtools`` (what is said to it),
``identity`` (who it says it is), ``errors``.
"""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from waguard.host.files.ownership import refusals
from waguard.host.patience import patience
from waguard.host.process.executable import BrowserNotFoundError, Flavour, find_executable
from waguard.host.process.procfs import group_members, is_stopped
from waguard.worker.browser.arguments import ChromiumSpec, arguments
from waguard.worker.browser.devtools import DevTools
from waguard.worker.browser.errors import (
    BrowserArgumentError,
    BrowserKilledError,
    BrowserStartError,
    BrowserUnusableError,
    DevToolsError,
    ProfileLockedError,
    ProfileUnusableError,
)
from waguard.worker.browser.identity import UserAgent, user_agent
from waguard.worker.browser.pipe import MAX_MESSAGE
from waguard.worker.browser.process import BrowserProcess, command_line
from waguard.worker.browser.version import known_version

__all__ = [
    "BrowserArgumentError",
    "BrowserKilledError",
    "BrowserNotFoundError",
    "BrowserStartError",
    "BrowserUnusableError",
    "Chromium",
    "ChromiumSpec",
    "Flavour",
    "ProfileLockedError",
    "ProfileUnusableError",
    "arguments",
    "find_executable",
    "launch",
]

PROFILE_IN_USE = 21  # Chromium's exit code for a profile that it cannot lock
TMPDIR_LIMIT = 64  # characters; Chromium aborts at this length, its sockets would not fit
TERM_GRACE = 2.0  # s between SIGTERM and SIGKILL, for a browser that no longer answers


class Chromium:
    """A running browser. ``exited`` is its exit code, negative for a signal."""

    def __init__(self, process: BrowserProcess, devtools: DevTools, spec: ChromiumSpec) -> None:
        self._process = process
        self._spec = spec
        self._closing: asyncio.Task[None] | None = None
        self.devtools = devtools
        self.pid = process.pid
        # a view of its own: cancelling it must not blind the ones who end the browser
        self.exited: asyncio.Future[int] = asyncio.shield(process.exited)

    @property
    def stopped(self) -> bool:
        """Whether the browser process is stopped (SIGSTOP): why it may be silent."""
        return self._process.stopped

    def stopped_member(self) -> str | None:
        """Which of its processes stands still, in words: renderers are nobody's children here."""
        for pid in group_members(self.pid):
            if is_stopped(pid):
                return f"Chromium's process {pid} was stopped (SIGSTOP)"
        return None

    def check_stopped(self) -> None:
        """To be called at SIGCHLD."""
        self._process.check_stopped()

    async def until_stopped(self) -> None:
        """Return when the browser process has stood still (SIGSTOP) for a second."""
        await self._process.standstill.lasting()

    def user_agent(self) -> str:
        """What its pages say they are."""
        return self.devtools.user_agent.text

    async def close(self, grace: float = 5.0) -> None:
        """End it: ask, wait ``grace`` seconds, SIGTERM, SIGKILL; then nothing of it is left.

        Safe to repeat, to call at once from several places, and to cancel: it goes on by itself.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                self._close(grace), name=f"closing Chromium {self.pid}"
            )
        await asyncio.shield(self._closing)

    async def _close(self, grace: float) -> None:
        if not self._process.exited.done() and not self.stopped:
            with suppress(DevToolsError, TimeoutError):
                async with patience(grace):
                    await self.devtools.close_browser(timeout=grace)
                    await asyncio.shield(self._process.exited)
        await _end(self._process, term_grace=TERM_GRACE)
        await self.devtools.disconnect()
        _wipe(self._spec.tmpdir)


async def launch(
    spec: ChromiumSpec, *, timeout: float, message_limit: int = MAX_MESSAGE
) -> Chromium:
    """Start a browser that answers within ``timeout`` seconds. ``message_limit``: as ``DevTools.connect`` has it.

    Raises ``BrowserArgumentError``, ``ProfileUnusableError`` before anything is started,
    ``BrowserUnusableError`` where the host starts none, ``ProfileLockedError`` when another Chromium
    holds the profile, ``BrowserStartError`` for any other end or no answer. Whatever it raises, cancellation included, no process is left.
    To be called in the main thread. The profile's lock is the caller's: pass its descriptor.
    """
    arguments(spec)  # refuse before any work
    _prepare_folders(spec)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    identity = await _identity(spec.executable, spec.tmpdir.parent, timeout)
    process, read_fd, write_fd = _spawn(spec, identity)
    try:
        left = max(deadline - loop.time(), 0.0)
        devtools = await DevTools.connect(
            read_fd, write_fd, identity, timeout=left, message_limit=message_limit
        )
        try:
            _verify_profile(process.pid, spec)
        except BaseException:
            await devtools.disconnect()
            raise
    except DevToolsError as error:
        # a browser that ends closes its pipe some milliseconds before it can be seen to exit
        with suppress(TimeoutError):
            async with asyncio.timeout(min(1.0, timeout)):
                await asyncio.shield(process.exited)
        code = process.exited.result() if process.exited.done() else None
        await _end(process, term_grace=0.0)
        _wipe(spec.tmpdir)
        raise _start_error(code, spec, timeout) from error
    except BaseException:
        await _end(process, term_grace=0.0)
        _wipe(spec.tmpdir)
        raise
    return Chromium(process, devtools, spec)


def _spawn(spec: ChromiumSpec, identity: UserAgent) -> tuple[BrowserProcess, int, int]:
    try:
        return BrowserProcess.spawn(
            arguments(spec, user_agent=identity.text),
            marks=spec.marks,
            tmpdir=spec.tmpdir,
            inherited_fds=spec.inherited_fds,
        )
    except OSError as error:
        _wipe(spec.tmpdir)
        raise BrowserUnusableError(
            f"Chromium cannot be started: {error.strerror}",
            remedy="check this host's memory, and the unit's limits of processes and open files",
        ) from error


def _start_error(code: int | None, spec: ChromiumSpec, timeout: float) -> BrowserStartError:
    if code == PROFILE_IN_USE:
        return ProfileLockedError(
            f"the profile {spec.profile} is locked by another Chromium (exit code {code})",
            returncode=code,
            field="profile",
            value=str(spec.profile),
            remedy="end the other one; if it is certain that there is none, remove SingletonLock",
        )
    if code is None:
        return BrowserStartError(
            f"Chromium did not answer within {timeout:g} s and was killed",
            remedy="check whether the machine is overloaded; otherwise raise browser.launch_timeout",
        )
    if code == -signal.SIGKILL:
        return BrowserKilledError(
            "Chromium was killed (SIGKILL) while it started",
            returncode=code,
            remedy="check this host's memory",
        )
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return BrowserStartError(
        f"Chromium ended while it started: {how}",
        returncode=code,
        remedy="run the browser by hand to see what it says",
    )


async def _end(process: BrowserProcess, *, term_grace: float) -> None:
    """TERM if it can be heard, then KILL; returns when nothing is left."""
    if not process.exited.done() and term_grace > 0 and not process.stopped:
        process.signal_group(signal.SIGTERM)
        with suppress(TimeoutError):
            async with patience(term_grace):
                await asyncio.shield(process.exited)
    if not process.exited.done():
        process.signal_group(signal.SIGKILL)
    await process.gone()


def _prepare_folders(spec: ChromiumSpec) -> None:
    """Create and try both folders.

    A desktop Chromium that cannot create its profile silently uses the home folder's: the data of
    another session.
    """
    if len(os.fspath(spec.tmpdir)) >= TMPDIR_LIMIT:
        raise ProfileUnusableError(
            f"{spec.tmpdir} is too long for Chromium's sockets",
            field="tmpdir",
            value=str(spec.tmpdir),
            remedy=f"use a path of less than {TMPDIR_LIMIT} characters",
        )
    for name, folder in (("profile", spec.profile), ("tmpdir", spec.tmpdir)):
        try:
            if not folder.is_absolute():
                raise OSError("it is not an absolute path")  # noqa: TRY301  # one wording for all
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.geteuid() and os.geteuid() != 0:
                raise OSError("it belongs to another user")  # noqa: TRY301  # as above
            if name == "tmpdir" and (found := [one for one in refusals(folder) if one.severe]):
                # its name can be known before, and may lie in a folder that all share
                raise OSError(f"{found[0].path} {found[0].why}")  # noqa: TRY301  # as above
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"waguard")
        except OSError as error:
            raise ProfileUnusableError(
                f"the browser's folder {folder} cannot be used: {error.strerror or error}",
                field=name,
                value=str(folder),
                remedy="see its owner, its permissions and the space on its disk",
            ) from error


def _verify_profile(pid: int, spec: ChromiumSpec) -> None:
    """What runs is the browser, it was started with our profile, and a desktop one has locked it."""
    argv = command_line(pid)
    has_profile = f"--user-data-dir={spec.profile}" in argv
    # an interpreter in front of it: a script that did not exec, killing it would leave the browser
    has_profile = has_profile and str(spec.executable) not in argv[1:2]
    locked = True
    if spec.flavour == "chromium":
        try:
            locked = (
                str((spec.profile / "SingletonLock").readlink()) == f"{socket.gethostname()}-{pid}"
            )
        except OSError:
            locked = False
    if not (has_profile and locked):
        raise BrowserStartError(
            f"Chromium {pid} does not use the profile {spec.profile}",
            field="profile",
            value=str(spec.profile),
            remedy="see that browser.executable is Chromium itself, not a script around it",
        )


async def _identity(executable: Path, notes: Path, timeout: float) -> UserAgent:
    """Known before the launch: service workers learn the user agent from a switch only."""
    try:
        version = await known_version(executable, notes, timeout)
        problem = "does not print its version"
    except TimeoutError:
        raise BrowserStartError(
            f"{executable} --version failed: no answer",
            field="browser.executable",
            value=str(executable),
            remedy="check whether the machine is overloaded; otherwise raise browser.launch_timeout",
        ) from None
    except OSError as error:
        version = None
        problem = f"--version failed: {error.strerror}"
    if version is None:
        raise BrowserUnusableError(
            f"{executable} {problem}",
            field="browser.executable",
            value=str(executable),
            remedy="see that it is Chromium itself, not a script around it",
        )
    return user_agent(version)


def _wipe(tmpdir: Path) -> None:
    """A killed Chromium leaves its folders there."""
    shutil.rmtree(tmpdir, ignore_errors=True)
