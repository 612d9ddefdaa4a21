"""Starts Chromium once, on an empty profile of its own, and says how that went, as JSON on stdout.

Run in a process of its own, as the user that the daemon has:
``python -m waguard.doctor.probes.chromium_try '{"executable": …}'``.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from waguard.errors import WaguardError
from waguard.host.process.executable import Flavour
from waguard.host.process.procfs import command_line, group_members
from waguard.worker.browser.chromium import ChromiumSpec, launch
from waguard.worker.browser.process import version_of

_FILTERED: Final = "Seccomp:\t2"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """As ``[browser]`` has it."""

    executable: str
    flavour: Flavour
    extra_args: tuple[str, ...]
    sandbox: bool
    timeout: float


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How it went; see ``judging.host.Browser``."""

    version: str | None = None
    started: bool = False
    seconds: float = 0.0
    error: str | None = None
    sandboxed: bool | None = None
    starts_without: bool = False


async def try_out(wanted: Wanted) -> Tried:
    """Start it, and once more without its sandbox where it does not start in it."""
    try:
        version = await version_of(Path(wanted.executable), wanted.timeout)
    except (OSError, TimeoutError) as error:
        return Tried(error=str(error) or "it does not say its version in time")
    try:
        seconds, sandboxed = await _start(wanted, sandbox=wanted.sandbox)
    except WaguardError as error:
        return Tried(
            version=version,
            error=error.message,
            starts_without=wanted.sandbox and await _starts_without(wanted),
        )
    return Tried(
        version=version,
        started=True,
        seconds=seconds,
        sandboxed=sandboxed if wanted.sandbox else None,
    )


async def _starts_without(wanted: Wanted) -> bool:
    try:
        await _start(wanted, sandbox=False)
    except WaguardError:
        return False
    return True


async def _start(wanted: Wanted, *, sandbox: bool) -> tuple[float, bool]:
    """Seconds until it answered, and whether its page is filtered by the kernel."""
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder:
        spec = ChromiumSpec(
            executable=Path(wanted.executable),
            flavour=wanted.flavour,
            profile=Path(folder) / "profile",
            tmpdir=Path(folder) / "t",
            extra_args=wanted.extra_args,
            sandbox=sandbox,
        )
        began = time.monotonic()
        chromium = await launch(spec, timeout=wanted.timeout)
        took = time.monotonic() - began
        try:
            await chromium.devtools.open_page(timeout=wanted.timeout)
            pages = [pid for pid in group_members(chromium.pid) if _is_page(pid)]
            return took, bool(pages) and all(map(_is_filtered, pages))
        finally:
            await chromium.close()


def _is_page(pid: int) -> bool:
    """Chromium rewrites its children's arguments into one."""
    return "--type=renderer" in " ".join(command_line(pid)).split()


def _is_filtered(pid: int) -> bool:
    try:
        return _FILTERED in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def main() -> None:
    """One answer on stdout."""
    wanted = msgspec.json.decode(sys.argv[1], type=Wanted)
    sys.stdout.write(msgspec.json.encode(asyncio.run(try_out(wanted))).decode() + "\n")


if __name__ == "__main__":
    main()
