"""/api/audit: who changed what by the API, and what came of it. Each change is an entry of the audit log, but for sends,
which have rows of their own, and for what changed nothing: it was malformed, not allowed, or named what is not there."""

import math
import time
from typing import Any, Final

from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from waguard.api import fields
from waguard.api.confirmations import PATH as REPLIES
from waguard.api.deadline import READS
from waguard.api.deps import CALLER, DEPS, ELSEWHERE, FORWARDED, SESSION
from waguard.api.fields import Moment, Number
from waguard.api.problems import REQUEST_ID, SERVER_ERROR, Handler
from waguard.api.route import REPLY, SENDS, Done, route
from waguard.core.incidents.changes import CHANGE, outcome
from waguard.core.keys import Right
from waguard.errors import UnavailableError, WaguardError, printable
from waguard.ports.store import AuditEntry

LISTED: Final = 500
KEYLESS: Final = "the application, without a key"
UNCERTAIN: Final = "uncertain"
"""The outcome in the reply of a change that may have been done."""
_PATH_LIMIT: Final = 200  # characters
_CHANGED_NOTHING: Final = frozenset({400, 401, 403, 404})  # nor was what it named looked at
NOT_AUDITED: Final = SENDS | frozenset(
    {
        "/api/cluster/events",  # received, as what workers report
        "/api/cluster/keys",  # who has revoked a key has recorded it
        REPLIES,
        "/api/media",
        "/api/messages/{id}/media",
        "/api/messages/bulk-send",
        "/api/sessions/{session_id}/chats/{chat_id}/seen",
        "/api/sessions/{session_id}/chats/{chat_id}/typing",
        "/api/sessions/{session_id}/qr",
    }
)
"""Resources whose POST sends, only reads, brings what was received, or says what another host has recorded or done."""


class CutOffError(UnavailableError):
    """The host that does it did not answer to the end: it may have been done."""


def who(request: web.Request) -> str:
    """Who calls, for the audit log. The name of a key is quoted: it may be any."""
    caller = request.get(CALLER)
    if caller is None:
        return KEYLESS
    return f'key "{printable(caller.name)}"' if caller.key else caller.name


@web.middleware
async def audited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record the change once its handler has ended, also behind its request; never delay or fail it."""
    resource = request.match_info.route.resource
    if request.method in READS or resource is None or resource.canonical in NOT_AUDITED:
        return await handler(request)
    at, began = time.time(), time.monotonic()
    status: int | None = None  # it is cut off
    try:
        response = await handler(request)
        status = response.status
    except CutOffError:
        raise
    except (WaguardError, web.HTTPException) as error:
        status = error.status
        raise
    except Exception:
        status = SERVER_ERROR
        raise
    finally:
        # who has answered it has recorded it
        if status not in _CHANGED_NOTHING and not request.get(ELSEWHERE):
            caller, forwarded = request.get(CALLER), request.get(FORWARDED)
            is_uncertain = getattr(request.get(REPLY), "outcome", None) == UNCERTAIN
            evidence = {
                "path": request.rel_url.raw_path[:_PATH_LIMIT],
                "status": status,
                "request": request[REQUEST_ID],
                "seconds": math.ceil((time.monotonic() - began) * 1000) / 1000,
                "key": caller.key if caller else None,
                "address": (forwarded.client if forwarded else request.remote) or None,
            }
            request.app[DEPS].audit(
                AuditEntry(
                    session_id=request.get(SESSION, request.match_info.get("session_id")),
                    kind=CHANGE,
                    before=f"{request.method} {resource.canonical}",
                    after=outcome(None if is_uncertain else status),
                    reason=who(request),
                    evidence={name: it for name, it in evidence.items() if it is not None},
                    at=at,
                )
            )
    return response


class WantedChanges(Struct, kw_only=True):
    """Those that were asked for at ``since`` or later; ``before``: the next page."""

    since: Moment = 0.0
    before: Number | None = None


class Change(Struct, kw_only=True):
    """A change: when it was asked for, by whom, where, and what came of it.

    ``session_id`` null: it concerns no session, or all. ``key``: the id of a key that can be revoked. ``outcome``: done,
    refused, failed or unknown (it was cut off). ``host``: only in a cluster, the one that has done it.
    """

    at: str
    by: str
    key: str | None
    address: str | None
    session_id: str | None
    route: str
    path: str
    status: int | None
    outcome: str
    request_id: str
    seconds: float
    host: str | UnsetType | None = UNSET


class Changes(Done, kw_only=True):
    """Changes, the newest first; ``before`` asks for the next page."""

    changes: list[Change]
    before: int | None


@route(Right.ADMIN)
async def listing(request: web.Request, query: WantedChanges) -> Changes:
    """List who changed what, the newest first; sends are not among them."""
    deps = request.app[DEPS]
    found = await deps.store.changes(since=query.since, before=query.before, limit=LISTED)
    more, named = len(found) == LISTED, deps.cluster is not None
    return Changes(
        changes=[_shown(it, named=named) for _, it in found],
        before=found[-1][0] if more else None,
    )


def _shown(it: AuditEntry, *, named: bool) -> Change:
    evidence: Any = it.evidence
    return Change(
        at=fields.iso(it.at or 0.0),
        by=it.reason or "",
        key=evidence.get("key"),
        address=evidence.get("address"),
        session_id=it.session_id,
        route=it.before or "",
        path=evidence.get("path", ""),
        status=evidence.get("status"),
        outcome=it.after or "",
        request_id=evidence.get("request", ""),
        seconds=evidence.get("seconds", 0.0),
        host=it.host if named else UNSET,
    )
