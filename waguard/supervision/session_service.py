"""What the API and the outbox ask of sessions."""

import asyncio
import contextlib
from collections.abc import Collection
from typing import Final
from weakref import WeakValueDictionary

from loguru import logger

from waguard.core import remedies
from waguard.core.lifecycle import WANTED_UP, State
from waguard.core.link import Link
from waguard.core.phone_number import number_of
from waguard.core.proxy import Proxy
from waguard.core.session import views
from waguard.core.session.facts import RowRead
from waguard.errors import (
    ConflictError,
    NotFoundError,
    NotOwnedError,
    NotYetError,
    NumberLinkedError,
    SessionIdTakenError,
    UnavailableError,
    WaguardError,
)
from waguard.ports.outcomes import NotSent, Outcome
from waguard.ports.sessions import THE_API, Last, SessionView
from waguard.ports.store import SessionRow
from waguard.supervision.fleet import leaving
from waguard.supervision.fleet.health import HealthReport
from waguard.supervision.fleet.readiness import (
    SENDING,
    UNLINKED,
    Needs,
    is_down,
    needs,
    next_step,
    no_code_will_come,
    not_ready,
    refuse_while_linking,
    require_files,
    require_number,
    shown_code,
)
from waguard.supervision.fleet.registry import Registry
from waguard.supervision.fleet.run_state import RunState
from waguard.supervision.fleet.starting import begin
from waguard.supervision.own_proxies import ProxyFiles
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext
from waguard.supervision.session.session_profile import is_paired, may_be_linked
from waguard.supervision.session_views import view_of, view_of_row
from waguard.wire.calls import FetchFile, Operation, PairingCode, RefreshQr, Send, SendFile, Value
from waguard.wire.reports import QrCode

QR_RETRY_AFTER: Final = 2.0  # s


class SessionService:
    """Fills ``ports.sessions.Sessions``."""

    def __init__(
        self,
        ctx: SessionContext,
        registry: Registry,
        state: RunState,
        health: HealthReport,
        proxies: ProxyFiles,
    ) -> None:
        self._ctx = ctx
        self._registry = registry
        self._state = state
        self._health = health
        self._proxies = proxies
        self._ours = registry.ours
        self._creating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create(
        self,
        session_id: str,
        workspace_id: int,
        *,
        account_id: int | None,
        priority: int,
        proxy: Proxy | None = None,
    ) -> tuple[SessionView, bool]:
        """See ``ports.sessions.Sessions``."""
        # one after the other: one without a proxy would remove that of another whose row is not there yet
        async with self._creating.setdefault(session_id, asyncio.Lock()):
            return await self._create(session_id, workspace_id, account_id, priority, proxy)

    async def _create(
        self,
        session_id: str,
        workspace_id: int,
        account_id: int | None,
        priority: int,
        proxy: Proxy | None,
    ) -> tuple[SessionView, bool]:
        self._require_changeable(session_id)
        if not self._ours.has(session_id):  # nor is it claimed for another workspace
            _require_workspace(await self._ctx.store.session(session_id), workspace_id)
        await self._ours.create(session_id)
        known = self._registry.get(session_id)
        if known is None and self._ours.in_cluster:
            await self._registry.read_kept([], new=session_id)
        if known and known.row.workspace_id != workspace_id:
            known.update_row(await self._ctx.store.session(session_id) or known.row)
        row = known.row if known else await self._ctx.store.session(session_id)
        _require_workspace(row, workspace_id)
        if proxy is not None:  # before there is anything that could start without it
            await self._proxies.write(session_id, proxy)
        elif row is None:
            await self._proxies.purge(session_id)  # of an earlier session of this name
        runs = known is not None and known.lifecycle in WANTED_UP and not known.state.left
        if known and runs and not await self._registry.row_is_gone(session_id):
            return self._view(known), False
        if known:
            await self._registry.finish_removal(known)
        with self._registry.changes.begin(session_id):
            row = await self._ctx.store.create(
                session_id, workspace_id, account_id=account_id, priority=priority
            )
        self._require_changeable(session_id)  # much may have happened meanwhile
        self._ours.require(session_id)
        session = self._registry.add(row)
        session.update_row(row)
        session.start()
        if runs and row.status != session.state.status.status:
            session.post(RowRead(said=row.status))  # it is new, and the session has never been away
        return self._view(session), known is None

    async def views(self, *, removed: bool = False, elsewhere: bool = False) -> list[SessionView]:
        """See ``ports.sessions.Sessions``."""
        self._state.require_loaded()
        others = list[SessionView]()
        if elsewhere and self._ours.in_cluster:
            rows = await self._ctx.store.sessions_of_all_hosts()
            others = [
                view_of_row(row, self._ours.address(row.session_id))
                for row in rows
                if row.session_id not in self._registry
            ]
        found = [*map(self._view, self._registry.sessions), *others]
        listed = (view for view in found if removed or not view.removed_at)
        return sorted(listed, key=lambda view: view.session_id)

    async def view(self, session_id: str, *, elsewhere: bool = False) -> SessionView:
        """See ``ports.sessions.Sessions``."""
        try:
            return self._view(await self.find(session_id))
        except NotOwnedError:
            row = await self._ctx.store.session(session_id) if elsewhere else None
            if row is None:
                raise
        return view_of_row(row, self._ours.address(session_id))

    async def is_in(self, session_id: str, workspaces: Collection[int]) -> bool | None:
        """See ``ports.sessions.Sessions``."""
        session = self._registry.get(session_id)
        if session and session.row.workspace_id in workspaces:
            return True
        self._state.require_loaded()
        row = await self._ctx.store.session(session_id) or (session and session.row)
        return row.workspace_id in workspaces if row else None

    async def start(self, session_id: str, *, restart: bool) -> SessionView:
        """See ``ports.sessions.Sessions``."""
        self._require_changeable(session_id)
        session = await self.find(session_id)
        await self._registry.finish_removal(session)
        with self._registry.changes.begin(session_id):
            row = _existing(await self._ctx.store.set_desired(session_id, up=True))
        self._require_changeable(session_id)
        self._registry.require_here(session)
        session.update_row(row)
        session.start(restart=restart)
        return self._view(session)

    async def stop(self, session_id: str) -> SessionView:
        """See ``ports.sessions.Sessions``."""
        self._require_changeable(session_id)
        session = await self.find(session_id)
        row = _existing(await self._ctx.store.set_desired(session_id, up=False))
        self._require_changeable(session_id)
        self._registry.require_here(session)
        session.update_row(row)
        await session.stop()
        return self._view(session)

    async def logout(
        self, session_id: str, *, by: str = THE_API, last: Last = None
    ) -> tuple[SessionView, bool]:
        """See ``ports.sessions.Sessions``."""
        session = await self.find(session_id)
        _require_profiles(self._ctx)
        with self._registry.leaving(session_id):
            await self._log_out(session, removed=False, by=by, last=last)
        return self._view(session), not session.profile.listed

    async def delete(
        self, session_id: str, *, purge: bool, by: str = THE_API, last: Last = None
    ) -> bool:
        """See ``ports.sessions.Sessions``."""
        session = await self.find(session_id)
        _require_profiles(self._ctx)
        with self._registry.leaving(session_id):
            await self._log_out(session, removed=True, by=by)
            if purge:
                await self._registry.flush(session)
            if last:  # as all before its row: where it fails, it can be repeated
                await last()
            if purge:
                await self._proxies.purge(session_id)
                await self._ctx.store.soft_delete(session_id)
                await self._registry.remove(session_id)
        return not session.profile.listed

    async def qr(self, session_id: str, *, wait: float, refresh: bool = False) -> QrCode:
        """See ``ports.sessions.Sessions``."""
        session = await self.find(session_id)
        if refresh:
            self._registry.require_staying(session_id)
        if refresh and (session.state.left or session.lifecycle not in WANTED_UP):
            await self.start(session_id, restart=False)
        elif refresh and session.link in UNLINKED:
            refuse_while_linking(session, starting_over=True)
            await session.traffic.call(RefreshQr())
        await session.wait_until(
            lambda s: shown_code(s) is not None or no_code_will_come(s), timeout=wait
        )
        self._registry.require_here(session)
        if code := shown_code(session):
            return code
        refuse_while_linking(session)
        if session.link is Link.PAIRING:
            raise ConflictError(
                "the phone links this device now", remedy=next_step(session, remedies.NEW_CODE)
            )
        if session.link in {Link.CONNECTED, Link.SYNCING}:
            raise ConflictError(
                "the session is already linked",
                remedy=f"to link it again, log it out first: `waguard sessions logout {session_id}`",
            )
        if is_down(session):
            raise ConflictError(
                f"the session is {session.lifecycle}: {views.details(session.state) or 'it is not wanted up'}",
                remedy=next_step(session, remedies.NEW_CODE),
            )
        raise NotYetError(
            "no QR code yet", remedy="ask again, or with ?wait=20", retry_after=QR_RETRY_AFTER
        )

    async def send(
        self, session_id: str, call: Send, *, wait: float, phone: str | None = None
    ) -> Outcome:
        """See ``ports.sessions.Sessions``."""
        try:
            session = await self._usable(session_id, SENDING, wait)
            if phone is not None:
                require_number(session, phone)
            if isinstance(call, SendFile):
                require_files(session)
        except WaguardError as error:
            return NotSent(error)
        return await session.traffic.send(call)

    async def call(self, session_id: str, call: Operation, *, wait: float) -> Value:
        """See ``ports.sessions.Sessions``."""
        if isinstance(call, PairingCode):
            await _refuse_linked_number(self._ctx, self._registry, session_id, call.phone)
            refuse_while_linking(await self.find(session_id))
        session = await self._usable(session_id, needs(call), wait)
        if isinstance(call, FetchFile):
            require_files(session)
        return await session.traffic.call(call)

    async def ready(self, session_id: str, *, wait: float, hoping: bool = False) -> None:
        """See ``ports.sessions.Sessions``."""
        await self._usable(session_id, SENDING, wait, hoping=hoping)

    def first_contacts_pause(self, session_id: str) -> float:
        """See ``ports.sessions.Sessions``."""
        session = self._registry.get(session_id)
        return session.traffic.limits.paused_for if session else 0.0

    # ---- what those need ----

    async def find(self, session_id: str) -> SessionActor:
        """From memory, or from its row, which the application may have written a moment ago: such a
        session is started where its row wants it up, also by a GET; but in a cluster, where its host is found first."""
        self._state.require_loaded()
        if session := self._registry.get(session_id):
            self._ours.require(session_id)
            return session
        row = await self._ctx.store.session(session_id)
        if row is None:
            raise NotFoundError("Session not found")
        if self._ours.in_cluster:
            raise self._ours.refusal(session_id)
        self._require_changeable(session_id)
        session = self._registry.add(row)
        if row.desired_up and session.lifecycle is State.STOPPED:
            logger.warning(
                "loaded on request: memory had no such session",
                event="session_taken_in",
                session=session_id,
            )
            session.publisher.writer.record(
                "reconciled",
                before="not in memory",
                after="added and started",
                reason="it was asked for, its row wants it up, and memory had no such session",
            )
        begin(session)
        return session

    async def _usable(
        self, session_id: str, needs: Needs, wait: float, *, hoping: bool = False
    ) -> SessionActor:
        session = await self.find(session_id)
        usable, in_vain = needs
        await session.wait_until(
            lambda s: usable(s) or (in_vain(s) and not hoping) or self._state.stopping,
            timeout=wait,
        )
        self._state.require_running()
        self._registry.require_here(session)
        if not usable(session):
            raise not_ready(session, unrecoverable=in_vain(session))
        return session

    async def _log_out(
        self, session: SessionActor, *, removed: bool, by: str, last: Last = None
    ) -> None:
        name, why = session.row.session_id, f"{'deleted' if removed else 'logged out'} by {by}"
        await self._registry.changes.ended(name)
        with contextlib.suppress(OSError):
            session.profile.find()  # by its row: one that is not paired any more has none elsewhere
        token = leaving.pairing(session)
        session.profile.listed = session.profile.listed or may_be_linked(session.profile)
        if not removed:  # the row of a deleted one says that it is
            await leaving.begin(session, why)
        # without a row, which the application has deleted already, the reconciler forgets it
        session.update_row(await self._ctx.store.leave(name, removed=removed) or session.row)
        deadline = self._ctx.timings.unlink
        await leaving.leave(session, token=token, why=why, deadline=deadline, last=last)

    def _view(self, session: SessionActor) -> SessionView:
        return view_of(session, self._health.conditions(session))

    def _require_changeable(self, session_id: str) -> None:
        """Raises ``UnavailableError`` while nobody may change it."""
        self._state.require_running()
        self._registry.require_staying(session_id)
        self._state.require_loaded()


def _existing(row: SessionRow | None) -> SessionRow:
    if row is None:
        raise NotFoundError("Session not found")
    return row


def _require_workspace(row: SessionRow | None, workspace_id: int) -> None:
    """Raises ``SessionIdTakenError`` for a row of another one."""
    if row and row.workspace_id != workspace_id:
        raise SessionIdTakenError(
            f"session {row.session_id} belongs to another workspace",
            field="workspace_id",
            value=workspace_id,
            remedy="use another session_id",
        )


def _require_profiles(ctx: SessionContext) -> None:
    """Raises ``UnavailableError`` while a profile that is to be quarantined cannot be found."""
    if why := ctx.fleet.profiles_unknown:
        raise UnavailableError(f"no profile can be quarantined: {why}", retry_after=60)


async def _refuse_linked_number(
    ctx: SessionContext, registry: Registry, session_id: str, phone: str
) -> None:
    """WhatsApp was seen to unlink a session for whose number a code was asked (OpenWA#1653). Raises
    ``NumberLinkedError``, and ``DatabaseUnavailableError`` where it is not known what other hosts have."""
    for other in registry.sessions:
        name = other.row.session_id
        same = name != session_id and other.state.number == phone and not other.state.left
        if same and may_be_linked(other.profile):
            raise NumberLinkedError(phone, name)
    if not registry.ours.in_cluster:
        return
    for row in await ctx.store.sessions_of_all_hosts():
        is_other = row.session_id != session_id and row.session_id not in registry
        if is_other and is_paired(row) and number_of(row.phone_number) == phone:
            raise NumberLinkedError(phone, row.session_id)
