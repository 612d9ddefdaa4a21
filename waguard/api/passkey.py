"""/api/sessions/:id/passkey: a linking that WhatsApp confirms with the account's passkey, which a browser elsewhere has.

The options of the page's request stand in the reply to ``start`` and nowhere else.
"""

from typing import Annotated, Any, ClassVar, Final, TypeVar

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard.api import fields
from waguard.api.audit import who
from waguard.api.deps import DEPS
from waguard.api.fields import AS_IT_IS, Kind, SessionId
from waguard.api.route import OfSession, route
from waguard.core.keys import Right
from waguard.core.passkey_link import PasskeyStage
from waguard.errors import InvalidInputError
from waguard.ports.passkeys import PasskeyView

REQUEST_LIMIT: Final = 128  # characters
CODE_LIMIT: Final = 32


def _text(most: int) -> Kind:
    """What is sent in a wrong place may be an answer: it is not quoted."""

    def read(value: Any, field: str) -> str:
        if isinstance(value, str) and 0 < len(value) <= most:
            return value
        raise InvalidInputError(
            f"{field} is missing or no text", field=field, remedy=f"send 1 to {most} characters"
        )

    return Kind(read)


Request = Annotated[str, _text(REQUEST_LIMIT), Meta(min_length=1, max_length=REQUEST_LIMIT)]
ComparedCode = Annotated[str, _text(CODE_LIMIT), Meta(min_length=1, max_length=CODE_LIMIT)]


L = TypeVar("L", bound="Linking")


class Linking(OfSession, kw_only=True):
    """The linking's stage, and for how long that lasts; null: no linking needs a passkey."""

    stage: PasskeyStage | None
    until: str | None
    expires_in: int | None
    unattended_until: str | None
    code: str | None
    error: str | None


class Advanced(Linking, kw_only=True):
    """The page has it; how far the linking is."""

    STATUS: ClassVar[int] = 202


class Started(OfSession, kw_only=True):
    """The page's request, for the browser that signs."""

    request: str
    options: dict[str, Any]
    expires_in: int


class Answer(Struct, kw_only=True):
    """What the passkey signed: an ``AuthenticationResponseJSON``."""

    request: Request
    assertion: Annotated[Any, AS_IT_IS, Meta(extra_json_schema={"type": "object"})]


class Compared(Struct, kw_only=True):
    """The code that page and phone show."""

    code: ComparedCode


class Refusal(Struct, kw_only=True):
    """Which request is refused; the one that is held where none is named."""

    request: Request | UnsetType = UNSET


@route(Right.OPERATE)
async def show(request: web.Request, session_id: SessionId) -> Linking:
    """How far a linking by passkey is."""
    return await _shown(request, session_id, Linking)


@route(Right.OPERATE, 409)
async def start(request: web.Request, session_id: SessionId) -> Started:
    """Have the page ask for the passkey, and hold its request.

    Again: the one that is held.
    """
    started = await request.app[DEPS].passkeys.start(session_id, by=who(request))
    return Started(
        session_id=session_id,
        request=started.request,
        options=started.options,
        expires_in=round(started.expires_in),
    )


@route(Right.OPERATE, 409, 422)
async def answer(request: web.Request, session_id: SessionId, body: Answer) -> Advanced:
    """Give the page what the passkey signed."""
    passkeys = request.app[DEPS].passkeys
    await passkeys.answer(session_id, body.request, body.assertion, by=who(request))
    return await _shown(request, session_id, Advanced)


@route(Right.OPERATE, 409, 422)
async def confirm(request: web.Request, session_id: SessionId, body: Compared) -> Advanced:
    """Confirm that the phone shows the same code as the page."""
    await request.app[DEPS].passkeys.confirm(session_id, body.code, by=who(request))
    return await _shown(request, session_id, Advanced)


@route(Right.OPERATE, 409)
async def cancel(request: web.Request, session_id: SessionId, body: Refusal) -> Linking:
    """Refuse the request that is held."""
    name = None if body.request is UNSET else body.request
    await request.app[DEPS].passkeys.cancel(session_id, name, by=who(request))
    return await _shown(request, session_id, Linking)


async def _shown(request: web.Request, session_id: str, reply: type[L]) -> L:
    view = await request.app[DEPS].passkeys.view(session_id)
    return reply(session_id=session_id, **shown(view))


def shown(view: PasskeyView) -> dict[str, Any]:
    """The linking's stage, and for how long that lasts."""
    return {
        "stage": view.stage,
        "until": fields.second(view.until),
        "expires_in": None if view.expires_in is None else round(view.expires_in),
        "unattended_until": fields.second(view.unattended_until),
        "code": view.code,
        "error": view.error,
    }
