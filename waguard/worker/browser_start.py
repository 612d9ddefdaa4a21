"""Start Chromium on a session's profile, and find out whose fault it is where it does not start."""

from pathlib import Path
from typing import Any, Final

from loguru import logger

from waguard.core.profile.profile import Damaged
from waguard.host.disk import is_full
from waguard.wire.protocol import WorkerSpec
from waguard.worker.browser.chromium import (
    BrowserStartError,
    BrowserUnusableError,
    Chromium,
    ChromiumSpec,
    ProfileLockedError,
    find_executable,
    launch,
)
from waguard.worker.profile_care import ProfileCare

ATTEMPTS: Final = 3  # as it is, once more, and then on a new profile


async def start(spec: WorkerSpec, care: ProfileCare) -> Chromium:
    """Prepare the profile and start Chromium on it.

    A Chromium that ends at once twice on this profile, and starts on an empty one, proves the profile
    damaged: it is replaced. One that starts on neither is ``BrowserUnusableError``. Raises what
    ``ProfileCare.prepare`` and ``chromium.launch`` raise.
    """
    for attempt in range(1, ATTEMPTS + 1):
        await care.prepare()
        try:
            return await _launch(spec, Path(spec.profile), (care.lock,))
        except BrowserStartError as error:
            is_explained = isinstance(error, ProfileLockedError) or error.returncode is None
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


async def _launch(spec: WorkerSpec, profile: Path, inherited: tuple[int, ...]) -> Chromium:
    flavour: Any = spec.flavour
    return await launch(
        ChromiumSpec(
            executable=find_executable(spec.executable, flavour),
            flavour=flavour,
            profile=profile,
            tmpdir=Path(spec.temporary),
            extra_args=spec.extra_args,
            sandbox=spec.sandbox,
            marks=spec.marks(),
            inherited_fds=inherited,
        ),
        timeout=spec.launch_timeout,
    )
