"""/api/sessions/:id/wajs/:function: functions of wa-js that read, as far as ``whatsapp.call_through`` names them."""

from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta, Struct, field

from waguard.api import fields
from waguard.api.asking import ask
from waguard.api.deps import DEPS
from waguard.api.fields import Kind, SessionId
from waguard.api.route import OfSession, route
from waguard.core.call_through import refusal
from waguard.core.keys import Right
from waguard.errors import ForbiddenError

ARGUMENTS_LIMIT: Final = 10


def _arguments(value: Any, name: str) -> list[Any]:
    if isinstance(value, list) and len(value) <= ARGUMENTS_LIMIT:
        return value
    raise fields.bad(
        name, type(value).__name__, f"invalid {name}", f"a list of up to {ARGUMENTS_LIMIT}"
    )


FunctionName = Annotated[
    str, fields.short(100), Meta(max_length=100, examples=["chat.getMessages"])
]


class Called(Struct, kw_only=True):
    """The function's arguments, as JSON."""

    arguments: Annotated[
        list[Any],
        Kind(_arguments),
        Meta(max_length=ARGUMENTS_LIMIT, extra_json_schema={"items": {}}),
    ] = field(default_factory=list)


class Answered(OfSession, kw_only=True):
    """What it gave, as plain values: ids as texts, of models their attributes, what has no JSON as null."""

    function: str
    result: Any


@route(Right.ADMIN, 409, 422)
async def call(
    request: web.Request, session_id: SessionId, function: FunctionName, body: Called
) -> Answered:
    """Call a function of wa-js that reads, where ``whatsapp.call_through`` names it."""
    allowed = request.app[DEPS].config().whatsapp.call_through
    if function not in allowed or refusal(function):
        raise ForbiddenError(
            "this function may not be called",
            field="function",
            remedy="name it in whatsapp.call_through, where it is one that reads",
        )
    result = await ask(request, session_id, "call", function, body.arguments, into=Any)
    return Answered(session_id=session_id, function=function, result=result)
