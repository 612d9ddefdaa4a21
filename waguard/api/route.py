"""What a route takes and gives, read off its handler's signature when it is first called."""

import functools
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from waguard.api import rights
from waguard.api.deps import BODY
from waguard.api.fields import Kind
from waguard.api.problems import Handler
from waguard.api.rights import Narrowing
from waguard.core.keys import Right

T = TypeVar("T", bound=msgspec.Struct)

# of other services of this kind: their clients would believe that it is done
BELIEVED: Final = frozenset({"config", "user_agent", "webhook", "webhooks"})


SENDS: Final = frozenset(
    {
        "/api/messages/send",
        "/api/messages/send-media",
        "/api/messages/send-location",
        "/api/messages/send-contact",
        "/api/messages/send-poll",
        "/api/messages/{id}/reaction",
        "/api/messages/{id}/edit",
        "/api/messages/{id}/revoke",
    }
)
"""Resources whose POST waits for WhatsApp, within a time of its own."""


class Reply(msgspec.Struct, kw_only=True):
    """A JSON answer."""

    STATUS: ClassVar[int] = 200
    RETRY_AFTER: ClassVar[int | None] = None
    """Seconds."""


class Done(Reply, kw_only=True):
    """Done."""

    success: bool = True


REPLY: Final = web.RequestKey("reply", Reply)
"""What a handler answered, where that is JSON."""


class OfSession(Done, kw_only=True):
    """Done with a session."""

    session_id: str


class Field(NamedTuple):
    """One of a request, as its struct has it."""

    name: str
    key: str
    """The name in JSON and in queries."""
    kind: Kind
    required: bool
    nullable: bool


class Route(NamedTuple):
    """A handler, and what only its decorator says."""

    right: Right | None
    """None: it needs no key."""
    errors: tuple[int, ...]
    media: tuple[str, ...]
    """Types of answers that are no JSON."""
    narrows: Narrowing
    handler: Callable[..., Awaitable[Any]]
    takes: str | None = None
    """The type of a body that is no JSON, and that the handler reads."""

    @property
    def types(self) -> dict[str, Any]:
        """Those of the parameters, and of "return"."""
        return self.handler.__annotations__

    @property
    def path(self) -> dict[str, Any]:
        """The fields of the path."""
        _, *given = self.types.items()  # the first one is the request
        return {name: it for name, it in given if name not in _APART}

    @property
    def replies(self) -> list[type[Reply]]:
        """Each kind of JSON answer."""
        gives = self.types["return"]
        several = typing.get_args(gives) or (gives,)
        return [it for it in several if issubclass(it, Reply)]


_APART: Final = frozenset({"headers", "query", "body", "return"})
_ROUTES: Final[dict[Handler, Route]] = {}


def route(
    right: Right | None,
    *errors: int,
    media: tuple[str, ...] = (),
    narrows: Narrowing | None = None,
    takes: str | None = None,
) -> Callable[[Callable[..., Awaitable[Any]]], Handler]:
    """Decorate ``async def handler(request, <field of the path>, query, headers, body) -> Reply | …``.

    ``errors`` are those that its signature does not imply; ``narrows`` None: it narrows to the session that path or
    body name, else it is refused to keys that are for some sessions.
    """

    def decorated(handler: Callable[..., Awaitable[Any]]) -> Handler:
        narrowing = narrows or _narrowing(handler.__annotations__)

        @functools.wraps(handler)
        async def served(request: web.Request) -> web.StreamResponse:
            if right:
                rights.require_right(request, right)
                rights.require_narrowing(request, narrowing)
            arguments = _arguments(request, handler)
            if right and rights.narrowed(request):
                await rights.require_named(request, narrowing, arguments)
            if right and narrowing is not Narrowing.WORKSPACE:
                await rights.require_workspace(request, arguments)
            answer = await handler(request, **arguments)
            if isinstance(answer, Reply):
                request[REPLY] = answer
                answer = json_reply(answer)
            response: web.StreamResponse = answer
            return response

        _ROUTES[served] = Route(right, errors, media, narrowing, handler, takes)
        return served

    return decorated


def _narrowing(types: Mapping[str, Any]) -> Narrowing:
    fields = getattr(types.get("body"), "__struct_fields__", ())
    named = "session_id" in types or "session_id" in fields
    return Narrowing.SESSION if named else Narrowing.REFUSED


def route_of(handler: Any) -> Route | None:
    """What is known of a handler of the router."""
    return _ROUTES.get(handler)


def is_open(request: web.Request) -> bool:
    """Whether the request's route needs no key."""
    found = route_of(request.match_info.handler)
    return found is not None and found.right is None


def json_reply(answer: Reply) -> web.Response:
    """In JSON."""
    headers = {"Retry-After": str(answer.RETRY_AFTER)} if answer.RETRY_AFTER else None
    return web.json_response(msgspec.to_builtins(answer), status=answer.STATUS, headers=headers)


def _arguments(request: web.Request, handler: Callable[..., Any]) -> dict[str, Any]:
    path, query, headers, body = _parameters(handler)
    given = {it.name: it.kind.read(request.match_info[it.key], it.key) for it in path}
    if query:
        given["query"] = read(request.query, query)
    if headers:
        given["headers"] = read(request.headers, headers)
    if body:
        said: dict[str, Any] = request[BODY]
        given["body"] = read(said, body)
    return given


@functools.cache
def _parameters(handler: Callable[..., Any]) -> tuple[tuple[Field, ...], Any, Any, Any]:
    it = Route(None, (), (), Narrowing.REFUSED, handler)
    path = tuple(_field(name, name, kind, required=True) for name, kind in it.path.items())
    return path, it.types.get("query"), it.types.get("headers"), it.types.get("body")


def read(given: Mapping[str, Any], into: type[T], place: str = "") -> T:
    """The struct, its fields in their order. Raises ``InvalidInputError`` for the first that is wrong; what it does
    not know is ignored. ``place`` comes before their names."""
    values: dict[str, Any] = {}
    for it in _fields(into):
        value = given.get(it.key, UNSET)
        if value is UNSET:
            if not it.required:
                continue
            value = None
        elif value is None and it.nullable:
            values[it.name] = None
            continue
        elif value == "" and it.kind.blank and not it.required:
            continue
        values[it.name] = it.kind.read(value, place + it.key)
    return into(**values)


def ignored(request: web.Request, body: msgspec.Struct) -> list[str] | UnsetType:
    """Fields of the request's body that say more than waguard does."""
    found = BELIEVED & request[BODY].keys() - {it.key for it in _fields(type(body))}
    return sorted(found) or UNSET


@functools.cache
def _fields(of: type[msgspec.Struct]) -> tuple[Field, ...]:
    return tuple(
        _field(it.name, it.encode_name, it.type, required=it.required)
        for it in msgspec.structs.fields(of)
    )


def _field(name: str, key: str, annotation: Any, *, required: bool) -> Field:
    several = (annotation, *typing.get_args(annotation))
    notes = [note for it in several for note in getattr(it, "__metadata__", ())]
    kind = next(it for it in notes if isinstance(it, Kind))
    return Field(name, key, kind, required, nullable=type(None) in several)
