"""OpenAPI 3.1 of all routes, from the signatures of their handlers: made when somebody asks for it."""

import inspect
import sys
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard import __version__
from waguard.api import docstrings
from waguard.api.fields import TYPES
from waguard.api.route import Reply, Route, route_of
from waguard.core.webhooks.delivery import EVENTS

_DESCRIBED: Final = ("waguard.api.", "waguard.core.", "waguard.ports.")
_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"
_CHANGES: Final = frozenset({"DELETE", "POST", "PUT"})
_ABOUT: Final = (
    "Sessions of WhatsApp Web, supervised. Each reply has X-Request-Id, by which the log names the request; "
    "one that the client sends is taken over. Fields that a request has beyond those described here are ignored."
)
_ERRORS: Final = {
    400: "The input is invalid: correct `field`.",
    401: "No key, or a wrong one.",
    403: "The key may not do this.",
    404: "No such session, message, letter, key or file.",
    409: "Only a person can change it.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "WhatsApp, or another host, refuses it; or another body had the same key.",
    425: "The code, or the file, is not there yet.",
    503: "It may succeed in a moment: repeat the identical request after Retry-After.",
    507: "The disk is almost full.",
}
_MAY_PASS: Final = frozenset({425, 503})


class Problem(Struct, kw_only=True):
    """What is wrong, where, and what to do."""

    error: str
    field: str | UnsetType = UNSET
    remedy: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET


class Of(Struct, kw_only=True):
    """What every event says; what else is there depends on the event."""

    workspace_id: int
    session_id: str


class Event(Struct, kw_only=True):
    """One event of a session; webhooks are signed as docs/messages.md says."""

    event: Annotated[str, Meta(extra_json_schema={"enum": sorted(EVENTS)})]
    data: Of


def document(app: web.Application) -> dict[str, Any]:
    """The whole. Blocks: call it in a thread."""
    if sys.flags.optimize > 1:
        docstrings.restore(
            it for name, it in sorted(sys.modules.items()) if name.startswith(_DESCRIBED)
        )
    known = [
        (it, found)
        for it in app.router.routes()
        if it.method != "HEAD" and (found := route_of(it.handler))
    ]
    structs: dict[type[Struct], Any] = {Problem: None, Event: None}
    for _, it in known:
        body = it.types.get("body")
        structs |= dict.fromkeys([*([body] if body else []), *it.replies])
    refs, schemas = msgspec.json.schema_components(structs, ref_template=_REF)
    structs = dict(zip(structs, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    names: dict[str, int] = {}
    for served, it in known:
        assert served.resource  # noqa: S101 - only a catch-all of aiohttp's own has none
        operation = _operation(served, it, structs)
        number = names[operation["operationId"]] = names.get(operation["operationId"], 0) + 1
        operation["operationId"] += f"_{number}" if number > 1 else ""
        paths.setdefault(served.resource.canonical, {})[served.method.lower()] = operation
    whole: dict[str, Any] = _retyped(
        {
            "openapi": "3.1.0",
            "info": {"title": "waguard", "version": __version__, "description": _ABOUT},
            "servers": [{"url": "/"}],
            "security": [{"key": []}, {"bearer": []}],
            "paths": paths,
            "webhooks": {name: {"post": _webhook(name, structs[Event])} for name in sorted(EVENTS)},
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                },
            },
        }
    )
    return whole


def _webhook(name: str, event: dict[str, Any]) -> dict[str, Any]:
    this = {"properties": {"event": {"const": name}}}
    names = ("X-Timestamp", "X-HMAC-Signature", "X-Instance-Url")
    return {
        "operationId": f"event_{name}",
        "tags": ["events"],
        "security": [],
        "parameters": [{"name": it, "in": "header", "schema": {"type": "string"}} for it in names],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": {"allOf": [event, this]}}},
        },
        "responses": {"2XX": {"description": "The receiver has it."}},
    }


def _retyped(node: Any) -> Any:
    """With the types that clients may write."""
    match node:
        case list():
            return [_retyped(it) for it in node]
        case dict():
            types = {"type": node[TYPES]} if TYPES in node else {}
            # of a tuple, whose length is limited, too; makers of clients take no false there
            left_out = {TYPES} if node.get("items") is not False else {TYPES, "items"}
            return {k: _retyped(it) for k, it in node.items() if k not in left_out} | types
        case _:
            return node


def _operation(
    served: web.AbstractRoute, it: Route, structs: dict[type[Struct], Any]
) -> dict[str, Any]:
    place, name = it.handler.__module__.rpartition(".")[2], it.handler.__name__
    named = f"{place}: {name}".replace("_", " ").capitalize()
    summary, _, more = _said(it.handler, named).partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": f"{place}_{name}",
        "tags": [place],
        "summary": summary.replace("\n", " ").removesuffix("."),
        "parameters": [
            *_of_path(it),
            *_of_struct("query", it.types.get("query")),
            *_of_struct("header", it.types.get("headers")),
        ],
        "responses": _responses(served.method, it, structs),
    }
    if more:
        operation["description"] = more
    if it.right:
        operation |= {"x-right": it.right, "x-narrows": it.narrows}
    else:
        operation["security"] = []
    if it.takes:
        schema = {"type": "string", "format": "binary", "minLength": 1}
        operation["requestBody"] = {"required": True, "content": {it.takes: {"schema": schema}}}
    if body := it.types.get("body"):
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(body)),
            "content": {_JSON: {"schema": structs[body]}},
        }
    return operation


def _said(of: Any, otherwise: str) -> str:
    """What the docstring says; ``inspect.getdoc`` would give a base class's where it has none."""
    return inspect.cleandoc(of.__doc__ or otherwise)


def _of_path(it: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(kind)}
        for name, kind in it.path.items()
    ]


def _of_struct(place: str, struct: type[Struct] | None) -> list[dict[str, Any]]:
    """What is not there is nothing: there is no null in a query or a header."""
    if struct is None:
        return []
    schemas = msgspec.json.schema_components([struct])[1]
    found = schemas[struct.__name__]
    parameters = []
    for name, schema in found["properties"].items():
        default = schema.pop("default", None)
        shown = next((it for it in schema.get("anyOf", ()) if it != {"type": "null"}), schema)
        if "$ref" in shown:  # an enumeration
            shown = schemas[shown["$ref"].rpartition("/")[2]]
        if default not in {None, False}:
            shown |= {"default": default}
        required = name in found.get("required", ())
        parameters.append({"name": name, "in": place, "required": required, "schema": shown})
    return parameters


def _responses(method: str, it: Route, structs: dict[type[Struct], Any]) -> dict[str, Any]:
    found: dict[int, list[type[Reply]]] = {}
    for reply in it.replies:
        found.setdefault(reply.STATUS, []).append(reply)
    responses = {status: _response(replies, structs) for status, replies in found.items()}
    if it.media:
        done = responses.setdefault(200, {"description": "Done.", "content": {}})
        done["content"] |= {kind: {} for kind in it.media}
    problem = {"schema": structs[Problem]}
    for status in _errors(method, it):
        one = responses.setdefault(status, {"description": _ERRORS[status], "content": {}})
        own = one["content"].get(_JSON)
        one["content"][_JSON] = (
            {"schema": {"anyOf": [own["schema"], structs[Problem]]}} if own else problem
        )
        if status in _MAY_PASS:
            one["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return {str(status): responses[status] for status in sorted(responses)}


def _response(replies: list[type[Reply]], structs: dict[type[Struct], Any]) -> dict[str, Any]:
    refs = [structs[reply] for reply in replies]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    words = " Or: ".join(_said(reply, reply.__name__) for reply in replies)
    return {"description": words.replace("\n", " "), "content": {_JSON: {"schema": schema}}}


def _errors(method: str, it: Route) -> set[int]:
    takes = it.path or {"body", "query", "headers"} & it.types.keys()
    return {
        *it.errors,
        *((401, 403, 503) if it.right else ()),
        *((400,) if takes else ()),
        *((400, 413, 415) if method in _CHANGES else ()),
        *((404,) if it.path else ()),
    }
