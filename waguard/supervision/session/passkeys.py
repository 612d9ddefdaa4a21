"""Linkings that WhatsApp confirms with the account's passkey: the page's request goes out once, and only an answer that
was checked comes back to it.

Requests are kept in memory alone. Who did what is on the audit log before the page learns of it; nothing of a request
or an answer is.
"""

import json
from collections.abc import Awaitable, Callable

from waguard.core import passkey, passkey_link, remedies
from waguard.core.passkey import GONE, Entry, Gone, Held, WrongAnswerError
from waguard.core.passkey_link import PasskeyStage, words
from waguard.core.replace import replace
from waguard.core.session import views
from waguard.core.session.effects import Record
from waguard.errors import ConflictError, RefusedError, WaguardError
from waguard.ports.passkeys import PasskeyView, StartedPasskey
from waguard.supervision.session.actor import SessionActor
from waguard.supervision.session.session_context import SessionContext
from waguard.wire.calls import PasskeyAnswer, PasskeyCancel, PasskeyConfirm, PasskeyStart

_CAN_START = frozenset({PasskeyStage.OFFERED, PasskeyStage.ASKED, PasskeyStage.FAILED})


class Passkeys:
    """Fills ``ports.passkeys.Passkeys``. ``find``: the session with this id; raises as that Protocol says."""

    def __init__(self, ctx: SessionContext, find: Callable[[str], Awaitable[SessionActor]]) -> None:
        self._ctx = ctx
        self._find = find
        self._held: dict[str, Held] = {}

    def forget(self, session_id: str) -> None:
        """Another host has the session, and its linking began again."""
        self._held.pop(session_id, None)

    async def view(self, session_id: str) -> PasskeyView:
        """See ``ports.passkeys.Passkeys``."""
        link = views.passkey((await self._find(session_id)).state)
        if link is None:
            return PasskeyView()
        return PasskeyView(
            stage=link.stage,
            until=link.until,
            expires_in=max(0.0, link.until - self._ctx.clock.wall()),
            unattended_until=link.unattended_until,
            code=link.code,
            error=link.error,
        )

    async def start(self, session_id: str, *, by: str) -> StartedPasskey:
        """See ``ports.passkeys.Passkeys``."""
        session = await self._find(session_id)
        if (link := views.passkey(session.state)) is None or link.stage not in _CAN_START:
            raise _not_that_far(session)
        _record(session, Entry.STARTED, by)
        worker = _worker(session)
        found = (await session.traffic.call(PasskeyStart())).passkey
        asked = passkey.options(_read(found.options)) if found else None
        if found is None or asked is None or worker is None:
            raise ConflictError("the page asks for something else than a passkey of WhatsApp's")
        left = passkey_link.left(link, found.left, now=self._ctx.clock.wall())
        ends = self._ctx.clock.monotonic() + left
        # one that the page still holds was not answered, whatever became of an earlier answer on its way
        held = Held(request=found.request, options=asked, worker=worker, ends=ends)
        self._held[session_id] = held
        return StartedPasskey(request=found.request, options=asked.json, expires_in=left)

    async def answer(self, session_id: str, request: str, assertion: object, *, by: str) -> None:
        """See ``ports.passkeys.Passkeys``."""
        session = await self._find(session_id)
        held, now = self._held.get(session_id), self._ctx.clock.monotonic()
        why = passkey.gone(held, request, worker=_worker(session), now=now)
        if held is None or why:
            raise _gone(session, why or Gone.UNKNOWN, by)
        try:
            checked = passkey.check(assertion, held.options)
        except WrongAnswerError as error:
            why_not = f"{error.wrong}: {error}"
            _record(session, Entry.REFUSED, by, why_not)
            raise RefusedError(
                why_not, field="assertion", remedy=remedies.text(remedies.SIGN_AGAIN, session.name)
            ) from None
        self._held[session_id] = replace(held, answered=True)  # at once: another may come meanwhile
        _record(session, Entry.ANSWERED, by)
        call = PasskeyAnswer(request=request, assertion=checked.to_json())
        if not (await session.traffic.call(call)).flag:
            raise _gone(session, Gone.NOT_HELD, by)

    async def confirm(self, session_id: str, code: str, *, by: str) -> None:
        """See ``ports.passkeys.Passkeys``."""
        session = await self._find(session_id)
        link = views.passkey(session.state)
        if link is None or link.stage is not PasskeyStage.CONFIRM or link.code is None:
            raise _not_that_far(session)
        if not passkey.is_same_code(code, link.code):
            why = "the code is not the one that WhatsApp Web shows"
            _record(session, Entry.REFUSED, by, why)
            raise RefusedError(
                why, field="code", remedy=remedies.text(remedies.COMPARE_CODES, session.name)
            )
        _record(session, Entry.CONFIRMED, by)
        if not (await session.traffic.call(PasskeyConfirm(code=link.code))).flag:
            raise _not_that_far(session)

    async def cancel(self, session_id: str, request: str | None = None, *, by: str) -> None:
        """See ``ports.passkeys.Passkeys``."""
        session = await self._find(session_id)
        link = views.passkey(session.state)
        if link is None or link.stage is not PasskeyStage.ASKED:
            raise _not_that_far(session)
        held = self._held.get(session_id)
        if request not in {None, link.request, held and held.request}:
            raise _gone(session, Gone.UNKNOWN, by)
        _record(session, Entry.CANCELLED, by)
        if not (await session.traffic.call(PasskeyCancel(request=request))).flag:
            raise _not_that_far(session)
        if self._held.get(session_id) is held:  # nobody has started again meanwhile
            self._held.pop(session_id, None)


def _read(options: str) -> object:
    """None: the page gave none that can be read."""
    try:
        return json.loads(options)
    except (ValueError, RecursionError):
        return None


def _worker(session: SessionActor) -> int | None:
    return session.state.worker.number if session.state.worker else None


def _record(session: SessionActor, entry: Entry, by: str, why: str | None = None) -> None:
    session.publisher.record(Record(str(entry), reason=f"{by}: {why}" if why else by))


def _gone(session: SessionActor, why: Gone, by: str) -> WaguardError:
    _record(session, Entry.REFUSED, by, f"{why}: {GONE[why]}")
    return ConflictError(
        f"{why}: {GONE[why]}; {_now(session)}",
        field="request",
        remedy=remedies.text(remedies.START_AGAIN, session.name),
    )


def _not_that_far(session: SessionActor) -> WaguardError:
    if link := views.passkey(session.state):
        return ConflictError(
            _now(session), remedy=remedies.text(remedies.PASSKEY[link.stage], session.name)
        )
    found = next(iter(views.conditions(session.state)), None)
    return ConflictError(_now(session), remedy=found.remedy if found else None)


def _now(session: SessionActor) -> str:
    if link := views.passkey(session.state):
        return words(link)
    return f"no linking of this session needs a passkey now, its link is {session.link}"
