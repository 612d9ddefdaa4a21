"""Whether a reply is what the API's own description says."""

import functools
import json
from collections.abc import Iterable
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from waguard.api.openapi import Problem
from waguard.api.route import Route, route_of


def check(
    app: web.Application,
    method: str,
    path: str,
    status: int,
    headers: "CIMultiDictProxy[str]",
    content: bytes,
) -> None:
    """Fail for a JSON answer with a field that its struct has not, or without one, or of another type."""
    found = described(app, method, path)
    if found is None or not content or headers["Content-Type"] == "application/json":
        return  # no route; no body; the document itself
    if not headers["Content-Type"].startswith("application/json"):
        kind = headers["Content-Type"].partition(";")[0]
        assert kind in found.media or "*/*" in found.media, (method, path, kind)
        return
    body = json.loads(content)
    replies: list[Any] = [it for it in found.replies if status == it.STATUS]
    wrong = [
        why
        for it in [*replies, *([Problem] if status >= 400 else [])]
        if (why := differs(body, it))
    ]
    assert len(wrong) < len(replies) + (status >= 400), (method, path, status, wrong)


def differs(body: dict[str, Any], struct: type[msgspec.Struct]) -> str:
    """Why a reply is none of these; "": it is one."""
    if more := body.keys() - _names(struct):
        return f"{struct.__name__} has no {sorted(more)}"
    try:
        msgspec.convert(body, struct)
    except msgspec.ValidationError as error:
        return f"{struct.__name__}: {error}"
    return ""


@functools.cache
def _names(struct: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(it.encode_name for it in msgspec.structs.fields(struct))


def described(app: web.Application, method: str, path: str) -> Route | None:
    """The route of a request."""
    raw = URL(path).raw_path
    for resource, routes in _resources(app):
        if resource._match(raw) is not None and (found := routes.get(method)):
            return found
    return None


@functools.lru_cache(maxsize=1)
def _resources(app: web.Application) -> list[tuple[web.Resource, dict[str, Route]]]:
    resources: Iterable[Any] = app.router.resources()
    return [
        (one, {it.method: found for it in one if (found := route_of(it.handler))})
        for one in resources
    ]
