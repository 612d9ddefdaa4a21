"""Lock a session's profile and start Chromium on it; where it does not start, find out whose fault it is."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

from loguru import logger

from waguard.core.exits import (
    EXIT_BROWSER_KILLED,
    EXIT_BROWSER_NOT_STARTED,
    EXIT_BROWSER_UNUSABLE,
    EXIT_PROFILE_HELD,
    EXIT_PROFILE_LOCKED,
)
from waguard.core.profile.before_start import Damaged
from waguard.errors import WaguardError
from waguard.host.files.disk import is_full
from waguard.profile.lock import ProfileInUseError, ProfileLock
from waguard.wire.worker import WorkerSpec
from waguard.worker.browser.chromium import (
    BrowserKilledError,
    BrowserNotFoundError,
    BrowserStartError,
    BrowserUnusableError,
    Chromium,
    ChromiumSpec,
    ProfileLockedError,
    find_executable,
    launch,
)
from waguard.worker.ending import WorkerEndError
from waguard.worker.profile_care import ProfileCare, ProfileHeldError
from waguard.worker.timings import Timings

ATTEMPTS: Final = 3  # as it is, once more, and then on a new profile


async def lock_profile(profile: Path, timings: Timings) -> ProfileLock:
    """The browser of a worker that was killed dies a moment after it, and holds it until then. Raises
    ``WorkerEndError``."""
    until = time.monotonic() + timings.lock
    while True:
        try:
            return ProfileLock(profile)
        except ProfileInUseError as error:
            if time.monotonic() > until:
                raise WorkerEndError(EXIT_PROFILE_LOCKED, error.line()) from None
        except WaguardError as error:
            raise WorkerEndError(EXIT_BROWSER_NOT_STARTED, error.line()) from None
        await asyncio.sleep(timings.lock_poll)


async def start(spec: WorkerSpec, care: ProfileCare, proxy_port: int | None = None) -> Chromium:
    """Prepare the profile and start Chromium on it; ``proxy_port``: see ``ChromiumSpec``. Raises ``WorkerEndError``."""
    try:
        return await _start(spec, care, proxy_port)
    except ProfileHeldError as error:
        raise WorkerEndError(EXIT_PROFILE_HELD, error.line()) from None
    except ProfileLockedError as error:
        raise WorkerEndError(EXIT_PROFILE_LOCKED, error.line()) from None
    except BrowserKilledError as error:
        raise WorkerEndError(EXIT_BROWSER_KILLED, error.message) from None
    except (BrowserNotFoundError, BrowserUnusableError) as error:
        raise WorkerEndError(EXIT_BROWSER_UNUSABLE, error.line()) from None
    except WaguardError as error:
        raise WorkerEndError(EXIT_BROWSER_NOT_STARTED, error.line()) from None


async def _start(spec: WorkerSpec, care: ProfileCare, proxy_port: int | None) -> Chromium:
    """A Chromium that ends by itself at once twice on this profile, and starts on an empty one, proves the profile
    damaged: it is replaced. One that starts on neither is ``BrowserUnusableError``. Raises what
    ``ProfileCare.prepare`` and ``chromium.launch`` raise.
    """
    for attempt in range(1, ATTEMPTS + 1):
        await care.prepare()
        try:
            return await _launch(spec, Path(spec.profile), (care.lock,), proxy_port)
        except BrowserStartError as error:
            # a kill, as by the kernel for memory, is no fault of the profile
            is_explained = isinstance(error, ProfileLockedError | BrowserKilledError)
            is_explained |= error.returncode is None
            # what a full disk does to a profile is no damage: nothing of it is replaced
            if is_explained or attempt == ATTEMPTS or is_full(Path(spec.profile)):
                raise
            if not await _starts_elsewhere(spec):
                raise BrowserUnusableError(
                    f"{error.message}, on a new profile too",
                    returncode=error.returncode,
                    remedy=error.remedy,
                ) from None
            logger.warning(
                "Chromium does not start on this profile",
                event="browser_start_failed",
                why=error.message,
            )
            if attempt == ATTEMPTS - 1:
                care.suspect(Damaged(error.message))
    raise AssertionError("the last attempt returns or raises")


async def _starts_elsewhere(spec: WorkerSpec) -> bool:
    """Whether Chromium starts on a profile that is surely good: an empty one."""
    try:
        chromium = await _launch(spec, Path(spec.temporary) / "empty", ())
    except BrowserStartError:
        return False
    await chromium.close()
    return True


async def _launch(
    spec: WorkerSpec, profile: Path, inherited: tuple[int, ...], proxy_port: int | None = None
) -> Chromium:
    flavour: Any = spec.flavour
    return await launch(
        ChromiumSpec(
            executable=find_executable(spec.executable, flavour),
            flavour=flavour,
            profile=profile,
            tmpdir=Path(spec.temporary),
            extra_args=spec.extra_args,
            proxy_port=proxy_port,
            sandbox=spec.sandbox,
            marks=spec.marks(),
            inherited_fds=inherited,
        ),
        timeout=spec.launch_timeout,
    )
