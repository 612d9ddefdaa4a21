"""Find what dead instances left running, and end it: ask, wait, insist. What stands still hears no
question, and is killed at once.

A pid is soon another's: each is signalled through a pidfd, opened before its start time is compared.
"""

import asyncio
import contextlib
import functools
import os
import pwd
import re
import signal
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from loguru import logger
from msgspec import Struct

from waguard.core.host.strays import Foreign, Seen, Stray, classify
from waguard.host.patience import patience
from waguard.host.process import procfs
from waguard.ports.process import Swept

POLL: Final = 0.02  # s; the end of another process's child has no event
# Chromium rewrites the arguments of its children into one, with spaces between them
_PROFILE: Final = re.compile(r"(?:^|[\0 ])--user-data-dir=([^\0]*?)(?=[\0]| --|$)")
_CRASH_HANDLER: Final = "/chrome_crashpad_handler"


class Timings(Struct, frozen=True, kw_only=True):
    """Seconds."""

    follows: float = 1.0
    """A Chromium whose worker was killed a moment ago ends by itself."""
    worker_grace: float = 12.0
    """From TERM to KILL: it closes its Chromium."""
    browser_grace: float = 3.0


TIMINGS: Final = Timings()


def remains(pids: Iterable[int]) -> list[Seen]:
    """Those of these processes that a dead Chromium left. No other process is read."""
    parts = (pid for pid in pids if _is_part(procfs.command_line(pid)))  # few, of all children
    return [it for pid in parts if (it := read(pid)) and it.part and not it.led]


async def end(left: Seen, *, timings: Timings = TIMINGS) -> bool:
    """End it, if it does not go by itself: whether it had to be ended."""
    return await _Left.of(left).end(timings.follows, timings.browser_grace)


async def sweep(
    *, records: str, profiles: str, kept: Collection[int] = (), timings: Timings = TIMINGS
) -> Swept:
    """End the strays of this instance; see ``core.strays.classify``."""
    seen = await asyncio.to_thread(scan, kept)
    return await clear(seen, records=records, profiles=profiles, kept=kept, timings=timings)


async def clear(
    seen: list[Seen],
    *,
    records: str,
    profiles: str,
    kept: Collection[int],
    timings: Timings = TIMINGS,
) -> Swept:
    """``sweep`` by what ``scan`` found. Workers first: they end in order."""
    places = {"records": os.path.realpath(records), "profiles": os.path.realpath(profiles)}
    found = classify(seen, kept=kept, **places)
    left = [_Left.of(one.process) for one in found if isinstance(one, Stray)]
    workers = [one for one in left if one.seen.profile is None and not one.seen.part]
    browsers = [one for one in left if one not in workers]
    ended = await asyncio.gather(*(one.end(0.0, timings.worker_grace) for one in workers))
    ended += await asyncio.gather(
        *(one.end(timings.follows, timings.browser_grace) for one in browsers)
    )
    return Swept(
        ended=tuple(
            one.seen for one, had_to in zip([*workers, *browsers], ended, strict=True) if had_to
        ),
        foreign=tuple(one for one in found if isinstance(one, Foreign)),
    )


class Scans:
    """Scans that are shared: each caller gets one that began after the call. ``apart``: seconds from one's begin to the
    next's."""

    def __init__(self, apart: float = 0.05) -> None:
        self._apart = apart
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[list[Seen]] | None = None
        self._not_before = 0.0

    async def read(self) -> list[Seen]:
        """See ``scan``."""
        if self._next is None:
            self._next = asyncio.create_task(self._scan(), name="scan")
        return await asyncio.shield(self._next)

    async def _scan(self) -> list[Seen]:
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            # a hundred that start at once share it
            await asyncio.sleep(self._not_before - loop.time())
            self._next, self._not_before = None, loop.time() + self._apart
            return await asyncio.to_thread(scan)


def scan(kept: Collection[int] = ()) -> list[Seen]:
    """Every worker and every process of a Chromium on this machine, whosever it is, but for the workers ``kept``."""
    return [seen for pid in procfs.pids() if pid not in kept and (seen := read(pid))]


def read(pid: int) -> Seen | None:
    """What this process is; None: neither a worker nor of a Chromium that can be known, or gone."""
    arguments = procfs.command_line(pid)
    profile, part = _profile(pid, arguments), _is_part(arguments)
    if profile is None and not part and "waguard.worker" not in arguments:
        return None
    living, marks = procfs.living(pid), procfs.environment(pid)
    record = marks.get("WAGUARD_RECORD")
    if living is None or (profile is None and record is None):
        return None
    if not marks and not procfs.command_line(pid):
        return None  # it is ending: its marks went with its memory, and what they said is unknown
    return Seen(
        pid=pid,
        start_time=living.start_time,
        parent=living.parent,
        user=_user(pid),
        command=" ".join(arguments),
        profile=profile,
        record=os.path.realpath(record) if record else None,
        session=marks.get("WAGUARD_SESSION"),
        group=living.group,
        led=living.group == pid or procfs.start_time(living.group) is not None,
        part=part,
    )


def _is_part(arguments: list[str]) -> bool:
    return "--type=" in "\0".join(arguments) or (
        bool(arguments) and arguments[0].endswith(_CRASH_HANDLER)
    )


def _profile(pid: int, arguments: list[str]) -> str | None:
    """The profile of a process of a Chromium."""
    profiles: list[str] = _PROFILE.findall("\0".join(arguments))
    if not profiles:
        return None
    with contextlib.suppress(OSError):
        return os.path.realpath(Path(f"/proc/{pid}/cwd").readlink() / profiles[-1])
    return os.path.realpath(profiles[-1])


def _user(pid: int) -> str:
    try:
        return _name_of(os.stat(f"/proc/{pid}").st_uid)  # noqa: PTH116 - as ``procfs`` does it
    except OSError:
        return "nobody"


@functools.lru_cache(maxsize=64)
def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


class _Left(Struct, frozen=True):
    seen: Seen
    members: tuple[tuple[int, int], ...]
    """Pid and start time of each process of the group that it leads."""

    @classmethod
    def of(cls, seen: Seen) -> "_Left":
        pids = procfs.group_members(seen.pid)
        return cls(seen, tuple((pid, procfs.start_time(pid) or 0) for pid in pids))

    async def end(self, follows: float, grace: float) -> bool:
        """Whether it did not go by itself within ``follows`` seconds."""
        if not self._kill_stopped():
            if await self._gone(follows):
                return False
            self._say("a stray process is ended")
        _signal(self.seen.pid, self.seen.start_time, signal.SIGTERM)
        if await self._gone(grace):
            return True
        # what it has started meanwhile too, while its number is its own
        now = _Left.of(self.seen).members if self._lives() else ()
        for pid, started in {*self._all(), *now}:
            _signal(pid, started, signal.SIGKILL)
        await self._gone(grace)
        return True

    def _kill_stopped(self) -> bool:
        """Also of its group: whether there was one."""
        stopped = [(pid, started) for pid, started in {*self._all()} if procfs.is_stopped(pid)]
        if stopped:
            self._say("a stopped stray process is killed")
        for pid, started in stopped:
            _signal(pid, started, signal.SIGKILL)
        return bool(stopped)

    def _say(self, what: str) -> None:
        seen = self.seen
        logger.warning(
            what,
            event="stray_ended",
            session=seen.session,
            pid=seen.pid,
            command=seen.command[:200],
        )

    def _lives(self) -> bool:
        return procfs.start_time(self.seen.pid) == self.seen.start_time

    async def _gone(self, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with patience(within):
                while any(procfs.start_time(pid) == started for pid, started in self._all()):  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(POLL)
                return True
        return False

    def _all(self) -> Iterator[tuple[int, int]]:
        yield self.seen.pid, self.seen.start_time
        yield from self.members


def _signal(pid: int, started: int, number: signal.Signals) -> None:
    try:
        with contextlib.ExitStack() as at_the_end:
            pidfd = os.pidfd_open(pid)
            at_the_end.callback(os.close, pidfd)
            if procfs.start_time(pid) == started:
                signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
    except OSError as error:
        logger.error(
            "a stray process cannot be ended", event="stray_not_ended", pid=pid, why=error.strerror
        )
