"""Sessions' own receivers of webhooks."""

from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard.api import fields, rights
from waguard.api.deps import DEPS
from waguard.api.fields import Boolean, Kind, SessionId, short
from waguard.api.rights import Narrowing
from waguard.api.route import Done, OfSession, Reply, route
from waguard.core import outgoing_address as address
from waguard.core.keys import Right
from waguard.core.webhooks.delivery import EVENTS, OLD_SERVICE, MessageFields
from waguard.errors import InvalidInputError, NotFoundError
from waguard.ports.webhooks import Endpoint

SECRET_LIMIT: Final = 1_000  # characters
_OTHER: Final = "use another address"
SECRET_LENGTH: Final = 16  # characters; a shorter one could be guessed


def _url(value: Any, field: str) -> str:
    if isinstance(value, str):
        return value
    raise fields.bad(field, value, "not an address", "http://host/… or https://host/…")


def _secret(value: Any, field: str) -> str:
    secret: str = short(SECRET_LIMIT).read(value, field)
    if len(secret) >= SECRET_LENGTH and secret.isprintable():
        return secret
    raise InvalidInputError(
        "the secret cannot be used", field=field, remedy=f"{SECRET_LENGTH} printable characters"
    )


def _events(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise fields.bad(field, value, "not a list of events", f"names of {sorted(EVENTS)}")
    if unknown := sorted(set(value) - EVENTS):
        known = ", ".join(sorted(EVENTS))
        raise fields.bad(field, unknown[0], "there is no such event", f"known: {known}")
    return tuple(value)


def _fields(value: Any, field: str) -> MessageFields:
    if isinstance(value, str) and value in set(MessageFields):
        return MessageFields(value)
    raise fields.bad(field, value, "no such set of fields", " or ".join(MessageFields))


class PutReceiver(Struct, kw_only=True):
    """A session's own receiver. Without a secret its deliveries are not signed."""

    secret: (
        Annotated[
            str,
            Kind(_secret, blank=True),
            Meta(min_length=SECRET_LENGTH, max_length=SECRET_LIMIT),
        ]
        | None
    ) = None
    url: Annotated[
        str, Kind(_url), Meta(pattern="^https?://", examples=["https://app.example/hook"])
    ]
    hold: Boolean = True
    events: (
        Annotated[
            tuple[Annotated[str, Meta(extra_json_schema={"enum": sorted(EVENTS)})], ...],
            Kind(_events),
        ]
        | None
    ) = None
    fields: Annotated[MessageFields, Kind(_fields)] = MessageFields.APPLICATION


class Receiver(Reply, kw_only=True):
    """A session's own receiver, without its secret; ``success`` where it is asked for alone."""

    success: bool | UnsetType = UNSET
    session_id: str
    url: str
    signed: bool
    hold: bool
    events: tuple[str, ...]
    fields: MessageFields


@route(Right.READ)
async def show(request: web.Request, session_id: SessionId) -> Receiver:
    """The session's own receiver. The secret is never shown."""
    view = await request.app[DEPS].sessions.view(session_id)
    found = await request.app[DEPS].webhooks.endpoints.find(view.session_id)
    if found is None:
        raise NotFoundError("the session has no webhook of its own", remedy="set one by PUT")
    return _receiver(found, success=True)


@route(Right.OPERATE)
async def put(request: web.Request, session_id: SessionId, body: PutReceiver) -> Receiver:
    """Set the session's own receiver."""
    view = await request.app[DEPS].sessions.view(session_id)
    allow = request.app[DEPS].config().webhook.allow_private
    if why := address.url_refusal(body.url, allow_private=allow):
        private = address.url_refusal(body.url, allow_private=True) is None
        remedy = "use a public address, or set webhook.allow_private = true" if private else _OTHER
        raise InvalidInputError(f"the address is refused: {why}", field="url", remedy=remedy)
    if address.has_user(body.url):
        raise InvalidInputError(
            "it has a user or password", field="url", remedy="use a secret instead"
        )
    endpoint = Endpoint(
        session_id=view.session_id,
        url=body.url,
        secret=body.secret,
        hold=body.hold,
        events=OLD_SERVICE if body.events is None else body.events,
        fields=body.fields,
    )
    await request.app[DEPS].webhooks.endpoints.put(endpoint)
    return _receiver(endpoint, success=True)


def _receiver(endpoint: Endpoint, *, success: bool | UnsetType = UNSET) -> Receiver:
    return Receiver(
        success=success,
        session_id=endpoint.session_id,
        url=endpoint.url,
        signed=endpoint.secret is not None,
        hold=endpoint.hold,
        events=endpoint.events,
        fields=endpoint.fields,
    )


@route(Right.OPERATE)
async def delete(request: web.Request, session_id: SessionId) -> OfSession:
    """Remove the session's own receiver; what it still should get becomes dead letters."""
    if not await request.app[DEPS].webhooks.delete_endpoint(session_id):
        raise NotFoundError("the session has no webhook of its own")
    return OfSession(session_id=session_id)


class WantedReceivers(Struct, kw_only=True):
    """Whose: one session's, or all."""

    session_id: SessionId | None = None


class Receivers(Done, kw_only=True):
    """Receivers of the sessions that have one of their own."""

    receivers: list[Receiver]


@route(Right.READ, narrows=Narrowing.LIST)
async def listing(request: web.Request, query: WantedReceivers) -> Receivers:
    """List the sessions' own receivers."""
    names = [query.session_id] if query.session_id else await rights.sessions_seen(request)
    found = await request.app[DEPS].webhooks.endpoints.every()
    return Receivers(
        receivers=[_receiver(it) for it in found if rights.within(names, it.session_id)]
    )
