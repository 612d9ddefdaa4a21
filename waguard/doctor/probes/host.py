"""The machine: Chromium, wa-js, disks, memory, limits, clock, network."""

import asyncio
import hashlib
import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

import waguard
from waguard.config.placing import sqlite_path
from waguard.config.sections import Config
from waguard.doctor.checks.host import Browser, Clock, Limits, Needs, RunningBrowser, Script
from waguard.doctor.checks.instance import Instance
from waguard.doctor.probes.chromium_try import Tried, Wanted
from waguard.doctor.probes.machine import Machine
from waguard.host.process.executable import BrowserNotFoundError, find_executable
from waguard.host.system import network
from waguard.host.system.browsers import Browsers
from waguard.profile import layout
from waguard.worker.page import wajs

CHECKOUT: Final = Path(waguard.__file__).parents[1]
EXTRA: Final = 15.0  # s beside browser.launch_timeout, which two starts may take each
REACHED_WITHIN: Final = 5.0  # s
FUTURE: Final = 120.0  # s that a file may be younger than now
# settings of the kernel's that forbid Chromium's sandbox, with the value that does
_FORBID: Final = {
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "user.max_user_namespaces": ("0", "65536"),
}


async def browser(machine: Machine, config: Config, user: tuple[int, int] | None) -> Browser:
    """Run it once as ``user`` (uid, gid; None: as this one), on a profile of its own."""
    wanted = config.browser
    try:
        path = find_executable(wanted.executable, wanted.flavour)
    except BrowserNotFoundError as error:
        return Browser(missing=error.message, remedy=error.remedy)
    asked = Wanted(
        executable=str(path),
        flavour=wanted.flavour,
        extra_args=wanted.extra_args,
        sandbox=wanted.sandbox,
        timeout=wanted.launch_timeout,
    )
    argv = [sys.executable, "-P", "-m", "waguard.doctor.probes.chromium_try"]
    ran = await machine.run(
        [*argv, msgspec.json.encode(asked).decode()],
        within=3 * wanted.launch_timeout + EXTRA,
        user=user,
    )
    try:
        tried = msgspec.json.decode(ran.out, type=Tried)
    except msgspec.DecodeError:
        why = (ran.error.splitlines() or [f"exit code {ran.code}"])[-1]
        tried = Tried(error=f"it could not be tried as {_name(user)}: {why}")
    return Browser(
        path=str(path),
        version=tried.version,
        started=tried.started,
        seconds=tried.seconds,
        error=tried.error,
        sandboxed=tried.sandboxed,
        starts_without=tried.starts_without,
        namespaces=_forbidden(machine) if wanted.sandbox and not tried.sandboxed else None,
        running=await asyncio.to_thread(_running, machine, config),
    )


def _running(machine: Machine, config: Config) -> tuple[RunningBrowser, ...]:
    """The Chromiums of this runtime folder's workers; none where the installed one is a script."""
    browsers = Browsers(lambda: config, layout.temporary(config.paths.runtime, "-").parent)
    workers = (config.paths.runtime / "workers").resolve()
    installed, found = browsers.installed(), []
    for seen in machine.unsupervised() if installed and installed.build else ():
        of_ours = seen.record is not None and Path(seen.record).parent == workers
        if seen.profile and of_ours and not seen.part and (it := browsers.running(seen.pid)):
            outdated = installed is not None and it.build != installed.build
            age = machine.age(seen.pid)
            found.append(RunningBrowser(named=it.named(), age=age, outdated=outdated))
    return tuple(found)


def _name(user: tuple[int, int] | None) -> str:
    uid = os.geteuid() if user is None else user[0]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _forbidden(machine: Machine) -> str | None:
    for name, (forbids, allows) in _FORBID.items():
        if machine.sysctl(name) == forbids:
            return f"{name}={allows}"
    return None


def script(machine: Machine, config: Config) -> Script:
    """wa-js, by its digest."""
    path = config.whatsapp.wajs or machine.packed_wajs
    digest, error = None, None
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as failed:
        error = failed.strerror or str(failed)
    return Script(
        path=str(path),
        wanted=wajs.SHA256,
        digest=digest,
        error=error,
        own=config.whatsapp.wajs is not None,
        command=_installs(),
    )


def _installs() -> str:
    """What puts this waguard's own files back."""
    if (CHECKOUT / "Makefile").is_file():
        return "make setup"
    packaged = Path(sys.prefix).is_relative_to("/usr/lib/waguard")
    return "apt-get install --reinstall ./waguard_*.deb" if packaged else "make upgrade"


def folders(config: Config) -> Mapping[str, Path]:
    """Whose disks have to have room, by the key that names them."""
    database = sqlite_path(config.database.url)
    return {
        "paths.sessions": config.paths.sessions,
        "paths.state": config.paths.state,
        "paths.runtime": config.paths.runtime,
        **({"database.url": database.parent} if database else {}),
    }


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there: on that disk it will lie."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def needs(config: Config) -> Needs:
    """What has to be left for a start."""
    admission = config.admission
    return Needs(
        session=admission.session_memory,
        reserve=admission.memory_reserve,
        pressure=admission.memory_pressure,
    )


def limits(machine: Machine, daemon: Instance) -> Limits:
    """The limits of the daemon where one runs."""
    pid = daemon.pid if daemon.lives else None
    return Limits(
        whose="waguard" if pid else "this user",
        open_files=machine.open_files(pid),
        pids=machine.left(pid).pids,
        shared_memory=machine.shared_memory(),
    )


def clock(machine: Machine, config: Config, ahead: Mapping[str, float]) -> Clock:
    """``ahead``: what other clocks said, by their names."""
    late = machine.now() + FUTURE
    names = ("clock.json", "run.json")
    return Clock(
        synchronized=machine.synchronized(),
        ahead=dict(ahead),
        from_the_future=tuple(
            str(path)
            for name in names
            if (written := _written(path := config.paths.state / name)) and written > late
        ),
    )


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


async def connect(url: str) -> str | None:
    """Why no connection to ``url`` can be made; None: one was."""
    parts = urlsplit(url)
    number = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        async with asyncio.timeout(REACHED_WITHIN):
            _, writer = await asyncio.open_connection(parts.hostname or "", number)
    except TimeoutError:
        return f"no answer within {REACHED_WITHIN:g} s"
    except OSError as error:
        number = error.errno or 0  # negative: of the resolver
        return os.strerror(number) if number > 0 else error.strerror or str(error)
    writer.close()
    return None


def is_proxied(config: Config) -> bool:
    """Whether Chromium goes through a proxy."""
    return network.uses_proxy(config.browser.extra_args)
