"""``ports.sessions.Sessions``, and the API's other parts of supervision, that do what a test says."""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from waguard.core.blame import Blame, Condition
from waguard.core.phone_number import number_of
from waguard.core.proxy import Proxy
from waguard.core.reconcile import Correction, Finding
from waguard.core.replace import replace
from waguard.errors import (
    ConflictError,
    NotFoundError,
    NotOwnedError,
    OtherNumberError,
    SessionIdTakenError,
    WaguardError,
)
from waguard.ports.outcomes import Acked, NotSent, Outcome
from waguard.ports.process import Usage
from waguard.ports.sessions import THE_API, Health, Last, SessionView
from waguard.wire.calls import (
    Acks,
    Ask,
    Call,
    Operation,
    Send,
    SendContent,
    SendMedia,
    SendText,
    Value,
)
from waguard.wire.reports import QrCode

SENDS = SendText | SendMedia | SendContent
SESSION = "webjs_1_1732240000_abcdefgh"
WORKSPACE = 1
MOMENT = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)
RAW = "2@abcDEF0123456789,key+/=,identity,secret,1"
DOWN: dict[str, Any] = {"status": "disconnected", "disconnect_reason": "user_initiated"}
HEALTHY = Health(
    supervising=True,
    database=True,
    restored=True,
    total=1,
    connected=1,
    disconnected=0,
)


def a_view(**changes: Any) -> SessionView:
    """A connected session."""
    connected = SessionView(
        session_id=SESSION,
        workspace_id=WORKSPACE,
        status="connected",
        phone_number="6281180001",
        connected_at=MOMENT,
        last_activity=MOMENT,
        disconnect_reason=None,
        disconnect_details=None,
        account_id=7,
        priority=0,
        desired_up=True,
        lifecycle="running",
        link="connected",
        worker_pid=4711,
        browser_pid=4712,
        restarts=2,
        usage=Usage(cpu_percent=1.5, memory=172 << 20),
    )
    return replace(connected, **changes)


STATUS = {
    "session_id": SESSION,
    "workspace_id": 1,
    "status": "connected",
    "phone_number": "6281180001",
    "connected_at": "2026-11-25T01:02:03Z",
    "last_activity": "2026-11-25T01:02:03Z",
    "lifecycle": "running",
    "link": "connected",
    "disconnect_reason": None,
    "disconnect_details": None,
    "worker_pid": 4711,
    "browser_pid": 4712,
    "restarts": 2,
    "cpu_percent": 1.5,
    "memory_mb": 172.0,
    "version": None,
    "waiting": None,
    "degraded": None,
    "conditions": [],
    "undecryptable": {"count": 0, "since": None},
    "removed_at": None,
}
"""What is answered of that session."""
BLOCKED = Condition(
    session="a",
    type="parked",
    blame=Blame.WHATSAPP,
    reason="blocked",
    message="WhatsApp blocks it",
    since=1_732_233_600.0,
    remedy="Look at the phone.",
)


_NOTHING = '{"total": 0, "items": []}'
_CHANGED = '{"id": "120363000000000001@g.us", "participants": []}'
ANSWERS = {
    **dict.fromkeys(("chats", "contacts", "groups"), _NOTHING),
    **dict.fromkeys(("create", "add", "remove"), _CHANGED),
    "group": '{"id": "120363000000000001@g.us", "name": null, "description": null, "owner": null,'
    ' "created_at": null, "total": 0, "is_admin": true, "members": []}',
    "invite": '{"code": "AbCd"}',
    "picture": '{"url": null}',
    "call": "[1]",
}
"""What a page says that has nothing."""


@dataclass
class FakeSessions:
    """Knows one connected session. ``fail`` is raised by every call that names a session."""

    known: dict[str, SessionView] = field(default_factory=lambda: {SESSION: a_view()})
    fail: BaseException | None = None
    code: QrCode | None = None
    status: Health = HEALTHY
    corrections: list[Correction] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    calls: list[tuple[str, Call, float]] = field(default_factory=list)
    """What was asked of the worker: session, call, wait."""
    begun: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """Names of the changes that were carried out to their end."""
    left: list[str] = field(default_factory=list)
    """Who had a session logged out or deleted."""
    unlinks: bool = True
    outcomes: deque[Outcome | BaseException] = field(default_factory=deque)
    """Of the next sends, in turn; then every send is sent."""
    values: deque[Value | BaseException] = field(default_factory=deque)
    """Of the next other calls, in turn; then each gets all that any gets."""
    free: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is clear, calls and changes do not end."""
    not_ready: WaguardError | None = None
    """Why nothing can be sent; see ``connect``."""
    first_contacts: float = 0.0
    """Seconds for which they pause."""
    acks: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    """So many look-ups of acks to come have no answer."""
    """What the chats say of messages."""
    proxies: dict[str, Proxy | None] = field(default_factory=dict)
    """Sessions' own."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.free.set()

    def _find(self, session_id: str) -> SessionView:
        if self.fail:
            raise self.fail
        if session_id not in self.known:
            raise NotFoundError("Session not found")
        if self.known[session_id].elsewhere:
            raise NotOwnedError("the session is not this host's")
        return self.known[session_id]

    async def _change(self, session_id: str, what: str, **changes: Any) -> SessionView:
        view = self._find(session_id)
        self.begun.append(what)
        await self.free.wait()
        self.known[session_id] = replace(view, **changes)
        self.done.append(what)
        return self.known[session_id]

    async def create(
        self,
        session_id: str,
        workspace_id: int,
        *,
        account_id: int | None,
        priority: int,
        proxy: Proxy | None = None,
    ) -> tuple[SessionView, bool]:
        if self.fail:
            raise self.fail
        if proxy:
            self.proxies[session_id] = proxy
        if known := self.known.get(session_id):
            if known.workspace_id != workspace_id:
                raise SessionIdTakenError(
                    "taken", field="session_id", value=session_id, remedy="use another id"
                )
            return known, False
        view = a_view(
            session_id=session_id,
            workspace_id=workspace_id,
            status="qr_scanning",
            account_id=account_id,
            priority=priority,
        )
        self.known[session_id] = view
        return view, True

    async def find(self, session_id: str) -> Proxy | None:
        """As ``ports.proxies.Proxies``, which it fills too."""
        return self.proxies.get(self._find(session_id).session_id)

    async def put(self, session_id: str, proxy: Proxy | None) -> None:
        self.proxies[self._find(session_id).session_id] = proxy

    async def views(self, *, removed: bool = False, elsewhere: bool = False) -> list[SessionView]:
        if self.fail:
            raise self.fail
        views = [self.known[name] for name in sorted(self.known)]
        listed = (view for view in views if removed or not view.removed_at)
        return [view for view in listed if elsewhere or not view.elsewhere]

    async def view(self, session_id: str, *, elsewhere: bool = False) -> SessionView:
        known = self.known.get(session_id)
        return known if known and known.elsewhere and elsewhere else self._find(session_id)

    async def is_in(self, session_id: str, workspaces: Collection[int]) -> bool | None:
        if self.fail:
            raise self.fail
        known = self.known.get(session_id)
        return known.workspace_id in workspaces if known else None

    async def start(self, session_id: str, *, restart: bool) -> SessionView:
        return await self._change(session_id, "restart" if restart else "start", desired_up=True)

    async def stop(self, session_id: str) -> SessionView:
        return await self._change(session_id, "stop", **DOWN)

    async def logout(
        self, session_id: str, *, by: str = THE_API, last: Last = None
    ) -> tuple[SessionView, bool]:
        self.left.append(by)
        if last:
            await last()
        return await self._change(session_id, "logout", **DOWN), self.unlinks

    async def delete(
        self,
        session_id: str,
        *,
        purge: bool,
        by: str = THE_API,
        last: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        self.left.append(by)
        await self._change(session_id, "purge" if purge else "delete", removed_at=MOMENT, **DOWN)
        if purge:
            del self.known[session_id]
        if last:
            await last()
        return self.unlinks

    async def qr(self, session_id: str, *, wait: float, refresh: bool = False) -> QrCode:
        self._find(session_id)
        self.done.append(f"qr wait={wait:g} refresh={refresh}")
        return self.code or QrCode(raw=RAW, count=1, expires_at=time.time() + 20)

    async def send(
        self, session_id: str, call: Send, *, wait: float, phone: str | None = None
    ) -> Outcome:
        try:
            number = number_of(self._find(session_id).phone_number)
        except WaguardError as error:
            return NotSent(error)
        if phone is not None and phone != number:
            return NotSent(OtherNumberError(phone, number))
        self.calls.append((session_id, call, wait))
        await self.free.wait()
        usual = Acked(call.message_id, 1_732_240_100)
        outcome = self.outcomes.popleft() if self.outcomes else usual
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def call(self, session_id: str, call: Operation, *, wait: float) -> Value:
        self._find(session_id)
        self.calls.append((session_id, call, wait))
        if isinstance(call, Acks) and self.unread:
            self.unread -= 1
            return Value(acks={}, unread=call.ids)
        if isinstance(call, Acks):
            return Value(acks={it: self.acks[it] for it in call.ids if it in self.acks})
        await self.free.wait()
        usual = Value(text="ABCD-1234", flag=True, content=b"\x89PNG picture")
        if isinstance(call, Ask):
            [given, *_] = json.loads(call.given)
            exists = json.dumps([[one, True] for one in given])
            usual = Value(answer=exists if call.name == "numbers" else ANSWERS.get(call.name))
        value = self.values.popleft() if self.values else usual
        if isinstance(value, BaseException):
            raise value
        return value

    async def ready(self, session_id: str, *, wait: float, hoping: bool = False) -> None:
        self._find(session_id)
        vain = isinstance(self.not_ready, ConflictError) and not hoping
        if self.not_ready and wait and not vain:
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.changed.wait()
            self._find(session_id)
        if self.not_ready:
            raise self.not_ready

    def connect(self, why_not: WaguardError | None = None) -> None:
        """From now on messages can be sent, or cannot."""
        self.not_ready = why_not
        self.changed.set()

    def first_contacts_pause(self, session_id: str) -> float:
        return self.first_contacts

    async def correct(self) -> list[Correction]:
        if self.fail:
            raise self.fail
        done, self.corrections = self.corrections, []
        return done

    async def difference(self) -> tuple[list[Correction], list[Finding]]:
        if self.fail:
            raise self.fail
        return self.corrections, self.findings

    def health(self) -> Health:
        return self.status

    def sends(self) -> list[Send]:
        """Every send that the worker was asked for."""
        return [call for _, call, _ in self.calls if isinstance(call, SENDS)]
