"""What a worker says or how it ends, as a fact that the core handles."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.core.blame import Blame, Failure
from waguard.core.host.evidence import host_failure
from waguard.core.passkey_link import PasskeyLink
from waguard.core.session.facts import Beat, Fact, Reported, Unanswered
from waguard.errors import UnavailableError, one_line, printable
from waguard.host.memory.proxies import ProxyUnreadableError
from waguard.ports.process import Process
from waguard.supervision.session.page_watch import page_of
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import ProfileUnreadableError
from waguard.supervision.session.worker_link import Take, WorkerLink
from waguard.supervision.timings import Timings
from waguard.wire.protocol import Hello
from waguard.wire.reports import Passkey, Report
from waguard.wire.stable import StableHeartbeat, StableReport

SAID_AGAIN: Final = 60  # tries after which that a line is still missing is logged again
_TURNS: Final = 3  # of the loop: what lies in a socket is received, and read, and one more


class AnswerCheck:
    """What keeps a worker from answering that it closes, since it was asked to."""

    def __init__(self) -> None:
        self._cpu: float | None = None
        """What it had used at the last check."""

    async def check(self, worker: int, process: Process, link: WorkerLink) -> Unanswered | None:
        """None: it is gone."""
        if (effort := process.effort()) is None:
            return None
        heard = link.received
        for _ in range(_TURNS):  # what it had said by then is handled first
            await asyncio.sleep(0)
        ran = 0.0 if self._cpu is None else effort.cpu - self._cpu
        self._cpu = effort.cpu
        # its answer may be behind what it still says: it rests because nobody has read that
        talks = link.received != heard
        rests = effort.rests and not talks
        return Unanswered(worker=worker, rests=rests, ran=0.0 if talks else ran)


def report_fact(ctx: SessionContext, worker: int, it: Report, now: float) -> Reported:
    """A worker's report; ``now``: monotonic seconds."""
    passkey, versions = _passkey(it.passkey), ctx.versions
    meant = versions.given(it.session)
    return Reported(
        worker=worker,
        at=now,
        phase=it.phase,
        link=it.link,
        phone=it.phone,
        code=it.qr.raw if it.qr else None,
        codes_ended=it.qr_idle,
        waits=it.waits,
        loads=it.loads,
        scripts_ended=it.scripts_ended,
        details=it.details and printable(it.details),
        socket=it.socket and printable(it.socket),
        update_offered=it.update_offered,
        covered=it.covered,
        flooded=it.flooded,
        passkey=passkey,
        passkey_left=passkey.until - ctx.clock.wall() if passkey else 0.0,
        refused=it.refused,
        refusals=it.refusals,
        retry_after=it.retry_after or 0.0,
        evidence=it.silence and printable(it.silence),
        other_version=versions.has_other(it.session, page_of(worker, it, meant=meant)),
    )


def _passkey(it: Passkey | None) -> PasskeyLink | None:
    if it is None:
        return None
    return PasskeyLink(
        stage=it.stage,
        until=it.until,
        unattended_until=it.unattended_until,
        request=it.request,
        code=it.code and printable(it.code),
        error=it.error and printable(it.error),
    )


def beat_fact(
    ctx: SessionContext, worker: int, at: float, page_at: float | None, *, unrecoverable: bool
) -> Beat:
    """A heartbeat, sent or written. To wait for a core is no fault of the page."""
    lost = unrecoverable and not ctx.cpu_is_saturated()
    return Beat(worker=worker, at=at, page_at=page_at, unrecoverable=lost)


def stable_fact(worker: int, message: StableReport | StableHeartbeat, now: float) -> Fact:
    """What a worker of another protocol says."""
    if isinstance(message, StableHeartbeat):
        return Beat(worker=worker, at=now, page_at=None if message.page is None else now)
    phase, link = message.phase, message.link
    return Reported(worker=worker, at=now, phase=phase, link=link, phone=message.phone)


async def host_lacks(ctx: SessionContext, session: str, *, browser: bool) -> Failure | None:
    """What the host lacks now; ``browser``: see ``Witness``. None also where that cannot be read."""
    try:
        return host_failure(await ctx.witness.read(browser=browser))
    except Exception as error:  # noqa: BLE001 - without it the exit is never reported
        log = logger.bind(session=session).opt(exception=error)
        log.critical("a bug in waguard", event="bug")
        return None


async def has_ended(process: Process, seconds: float) -> bool:
    """Whether it has within so long; returns as soon as it has."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
            return True
    return False


async def line_to(
    process: Process, path: Path, hello: Hello, take: Take, timings: Timings
) -> WorkerLink:
    """As ``WorkerLink.connect``; where this host lacks what a line takes, it is tried again while the process lives."""
    tries = 0
    while True:
        try:
            return await WorkerLink.connect(path, hello, take, timings)
        except UnavailableError as error:
            log = logger.bind(session=hello.session)
            said = "this host lacks what a line to the worker takes; trying again"
            level = "DEBUG" if tries % SAID_AGAIN else "WARNING"
            log.log(level, said, event="worker_unconnected", worker=process.pid, why=error.line())
            tries += 1
            if await has_ended(process, timings.greet_again):
                raise


async def goes_on(process: Process, report: Report | None, seconds: float) -> bool:
    """Whether a worker without a line neither closes, by its last report, nor ends within so long."""
    closes = report is not None and report.phase == "closing"
    return not closes and not await has_ended(process, seconds)


def spawn_failure(error: Exception) -> Failure:
    """Why no worker could be started."""
    why = one_line(error)
    if isinstance(error, ProxyUnreadableError):
        cause = "a session's proxy cannot be read"
        return Failure(Blame.HOST, "proxy_unreadable", cause, why, str(error.value))
    if isinstance(error, ProfileUnreadableError):
        cause = "a profile cannot be read"
        return Failure(Blame.HOST, "profile_unreadable", cause, why, str(error.value))
    return Failure(Blame.HOST, "spawn_failed", "no worker could be started", why)
