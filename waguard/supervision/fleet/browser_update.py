"""Chromium's updates under a living fleet: what runs is compared with what is installed, and sessions are replaced."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from loguru import logger

from waguard.core.backoff import NEVER
from waguard.core.blame import Blame
from waguard.core.host import browser_update as updates
from waguard.core.host.browser_update import Bad, Browser, Seen, UpdateState
from waguard.core.lifecycle import WANTED_UP, State
from waguard.core.link import Link
from waguard.core.replace import replace
from waguard.core.row_status import ParkCause
from waguard.core.session import views
from waguard.core.session.facts import RestartRequested
from waguard.core.session.state import Intent, SessionState
from waguard.errors import WaguardError, one_line
from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.small_file import UnreadableError
from waguard.ports.process import BrowserFile
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.session.session_context import SessionContext

FILE: Final = "chromium.json"  # in ``paths.state``
COPIED_AGAIN: Final = 3_600.0  # s after a copy that failed; each costs the disk hundreds of MB
_OUTDATED, _FAILED = "browser_outdated", "browser_update_failed"


class BrowserUpdate:
    """Performs what ``core.host.browser_update`` decides. What failed outlives the daemon."""

    def __init__(self, ctx: SessionContext, registry: Registry) -> None:
        self._ctx = ctx
        self._registry = registry
        self._browsers = ctx.browsers
        self._path = ctx.config().paths.state / FILE
        self._unknown = False
        """The file is there, and the system did not let it be read: it is not replaced."""
        self._written = self._remembered()
        self._writes = True
        self._copying: asyncio.Task[None] | None = None
        self._tried: str | None = None
        """The build that was copied last, or could not be."""
        self._copy_after = NEVER
        """When it is copied again, because it could not be; monotonic."""
        installed = self._browsers.installed()
        self.state = UpdateState(
            installed=installed.build or None if installed else None,
            since=ctx.clock.monotonic(),
            bad=self._written,
        )
        self._use(self._browsers.kept())

    async def check(self) -> None:
        """A tick, some seconds apart: read what runs, and replace a session where one is to be."""
        reports = {it.name: it.runner.report for it in self._registry.sessions}
        pids = {name: it.browser_pid for name, it in reports.items() if it and it.browser_pid}
        found = await asyncio.to_thread(self._read, pids)
        seen, now = self._seen(found), self._ctx.clock.monotonic()
        self.state, name, why = updates.advance(self.state, seen, now)
        self._use(found.kept)
        if name and (session := self._registry.get(name)):
            log = logger.bind(session=name)
            log.warning("a session gets another Chromium", event="browser_replaced", why=why)
            session.post(RestartRequested(why=why))
        self._report(found, seen.sessions)
        if self.state.bad != self._written and not self._unknown:
            await asyncio.to_thread(self._save, self.state.bad)
        self._begin_copy(found)

    async def close(self) -> None:
        """End a copy that is being made: the next daemon makes it."""
        if self._copying:
            self._browsers.end()
            await self._copying

    # ---- read ----

    def _read(self, pids: Mapping[str, int]) -> "_Found":
        """Blocks. The installed one is run where a session is to depend on it."""
        installed = self._browsers.installed()
        running = {
            name: it
            for name, pid in pids.items()
            # a pid may be another's by now
            if installed and (it := self._browsers.running(pid, installed.path.name))
        }
        builds = {name: Browser(build=it.build) for name, it in running.items()}
        refused = None
        if installed and updates.asks(self.state, installed.build, builds):
            version, refused = self._browsers.ask(installed.path)
            installed = replace(installed, version=version)
        return _Found(installed, running, self._browsers.kept(), refused)

    def _seen(self, found: "_Found") -> Seen:
        fleet, now = self._ctx.mailbox.fleet, self._ctx.clock.monotonic()
        sessions = {}
        for name, member in fleet.members.items():
            session, up = self._registry.get(name), member.state in {*WANTED_UP, State.PARKED}
            if session is None or not up or session.state.intent is Intent.DOWN:
                continue
            connected = member.state is State.RUNNING and member.link is Link.CONNECTED
            it = found.running.get(name)
            sessions[name] = Browser(
                build=it.build if it else None,
                connected=now - member.link_since if connected else None,
                idle=session.traffic.idle,
                restarts=session.state.restarts,
                parked=views.parked_for(session.state) is ParkCause.RESTART_BUDGET,
                doubtful=_is_doubtful(session.state),
                excused=name in fleet.waiting or session.state.network_down is not None,
            )
        away = fleet.network_down or fleet.whatsapp.why or fleet.breaker.opening
        tried = self._ctx.versions.decision.state.trial  # of a version of WhatsApp Web
        return Seen(
            installed=found.installed.build if found.installed else None,
            refused=found.refused,
            broken=str(fleet.broken.why) if fleet.broken else None,
            kept=found.kept.build if found.kept else None,
            sessions=sessions,
            calm=not away,
            busy=bool(tried or fleet.starting or fleet.waiting or fleet.recycling or fleet.closed),
        )

    # ---- what follows ----

    def _use(self, kept: BrowserFile | None) -> None:
        """Start the next Chromium from the copy while the installed one fails."""
        other = kept is not None and kept.build != self.state.installed
        self._browsers.used = kept if other and updates.is_bad(self.state) else None

    def _report(self, found: "_Found", sessions: Mapping[str, Browser]) -> None:
        others = updates.outdated(self.state, sessions)
        self._browsers.outdated = len(others)
        outages, installed, bad = self._ctx.fleet.outages, found.installed, self.state.bad
        if installed is None:
            return  # unknown changes nothing
        named = ", ".join(sorted({found.running[name].named() for name in others}))
        run = f"{len(others)} of {len(found.running)} sessions run {named}" if others else ""
        why = None
        if bad and updates.is_bad(self.state):
            left = "; the next start uses the kept copy" if self._browsers.used else ""
            goes_on = f"; {run}, and keep it" if run else ""
            why = f"{installed.named()} fails: {bad.why}{goes_on}{left}"
        outages.update(_FAILED, why)
        outdated = f"{run}; {installed.named()} is installed" if run and why is None else None
        outages.update(_OUTDATED, outdated)

    def _begin_copy(self, found: "_Found") -> None:
        """Copy a Chromium that works, before its package replaces it."""
        it, config = found.installed, self._ctx.config()
        if it is None or it.build != self.state.good or not config.browser.keep_previous:
            return
        if found.kept and found.kept.build == it.build:
            return
        if it.build == self._tried and self._ctx.clock.monotonic() < self._copy_after:
            return
        if self._copying is None or self._copying.done():
            self._tried, self._copy_after = it.build, NEVER
            self._copying = asyncio.create_task(self._copy(it), name="copy of Chromium")

    async def _copy(self, it: BrowserFile) -> None:
        try:
            await asyncio.to_thread(self._browsers.keep, it)
        except OSError as error:
            self._copy_after = self._ctx.clock.monotonic() + COPIED_AGAIN
            why = str(error)
            logger.error("Chromium is not kept", event="browser_not_kept", why=why)
        else:
            logger.info("Chromium is kept", event="browser_kept", build=it.build)

    # ---- what outlives the daemon ----

    def _remembered(self) -> Bad | None:
        try:
            return msgspec.json.decode(small_file.read(self._path), type=Bad)
        except FileNotFoundError:
            return None
        except (UnreadableError, ValueError, RecursionError) as error:
            self._unknown = damaged.stays(self._path, error)
            if not self._unknown:
                damaged.quarantine(self._path, error)
            return None

    def _save(self, bad: Bad | None) -> None:
        try:
            if bad:
                replace_private(self._path, msgspec.json.encode(bad))
            else:
                self._path.unlink(missing_ok=True)
        except (OSError, WaguardError) as error:
            if self._writes:
                said = "that a Chromium fails cannot be remembered"
                logger.warning(said, event="state_not_written", why=one_line(error))
            self._writes = False
        else:
            self._written, self._writes = bad, True


def _is_doubtful(state: SessionState) -> bool:
    """Whether what WhatsApp, or its account, does explains that it is not connected."""
    if views.parked_for(state) not in {None, ParkCause.RESTART_BUDGET}:
        return True
    if state.failure and state.failure.blame is Blame.WHATSAPP:
        return True
    link, refused = views.link(state), state.worker is not None and state.worker.refused
    if link is Link.OFFLINE:
        return refused or state.proxied
    # one that does not end may be Chromium's: it reads the page's whole store
    return link not in {Link.UNKNOWN, Link.SYNCING, Link.CONNECTED}


class _Found(NamedTuple):
    """What was read at one moment."""

    installed: BrowserFile | None
    running: Mapping[str, BrowserFile]
    kept: BrowserFile | None
    refused: str | None
