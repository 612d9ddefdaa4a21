"""/api/versions and /api/wajs: which version of WhatsApp, and of wa-js, sessions get."""

import re
from typing import Any, Final

from aiohttp import web

from waguard.api import fields
from waguard.api.auth import caller
from waguard.api.deps import BODY, DEPS
from waguard.core.versions.views import VersionRow
from waguard.ports.versions import BundleRow, Listing

_REVISION_LIMIT: Final = 10**15
_DIGEST: Final = re.compile(r"[0-9a-f]{6,64}")


async def listing(request: web.Request) -> web.Response:
    """GET /api/versions: those that some session has, that are stored or pinned; the newest first."""
    return _versions(request)


async def pin(request: web.Request) -> web.Response:
    """POST …/pin ``{"revision"}``: serve this stored one to all sessions."""
    control, body = request.app[DEPS].versions, request[BODY]
    revision = _revision(body)
    if revision is None:
        raise fields.bad("revision", None, "revision is missing", "send the number of a version")
    control.pin(revision, by=caller(request))
    return _versions(request)


async def unpin(request: web.Request) -> web.Response:
    """POST …/unpin: end that."""
    request.app[DEPS].versions.unpin(by=caller(request))
    return _versions(request)


async def try_version(request: web.Request) -> web.Response:
    """POST …/try ``{"revision"?, "session_id"?}``: load one session with it; without a revision with what
    WhatsApp serves."""
    control, body = request.app[DEPS].versions, request[BODY]
    session = await _session(request)
    control.try_version(_revision(body), session=session, by=caller(request))
    return _versions(request)


async def bundles(request: web.Request) -> web.Response:
    """GET /api/wajs: the bundles that can be injected."""
    await request.app[DEPS].versions.refresh_bundles()
    return _bundles(request)


async def try_bundle(request: web.Request) -> web.Response:
    """POST /api/wajs/try ``{"sha256", "session_id"?}``: load one session with this bundle."""
    control, session = request.app[DEPS].versions, await _session(request)
    await control.try_bundle(_digest(request), session=session, by=caller(request))
    return _bundles(request)


async def use_bundle(request: web.Request) -> web.Response:
    """POST /api/wajs/use ``{"sha256"}``: let all sessions have it, after canaries."""
    control = request.app[DEPS].versions
    await control.use_bundle(_digest(request), by=caller(request))
    return _bundles(request)


def _revision(body: dict[str, Any]) -> int | None:
    return fields.optional_integer(body, "revision", least=1, most=_REVISION_LIMIT)


async def _session(request: web.Request) -> str | None:
    """The session of the body, which must be there. Raises ``NotFoundError``."""
    given = request[BODY].get("session_id")
    if given is None or given == "":
        return None
    return (await request.app[DEPS].sessions.view(fields.session_id(given))).session_id


def _digest(request: web.Request) -> str:
    given = request[BODY].get("sha256")
    if isinstance(given, str) and _DIGEST.fullmatch(given.lower()):
        return given.lower()
    raise fields.bad("sha256", given, "invalid digest", "SHA-256 in hex, or 6 digits of it or more")


def _versions(request: web.Request) -> web.Response:
    found = request.app[DEPS].versions.listing()
    return web.json_response(
        {
            "success": True,
            "mode": found.mode,
            "newest": found.newest,
            "pinned": found.pin,
            "held_from": found.held_from,
            "trying": found.trial,
            "versions": [_version(it) for it in found.rows],
        }
    )


def _version(it: VersionRow) -> dict[str, Any]:
    return {
        "revision": it.revision,
        "status": str(it.status),
        "since": None if it.since is None else fields.iso(round(it.since)),
        "why": it.why,
        "sessions": list(it.sessions),
        "wajs": list(it.wajs),
        "stored": it.stored,
        "latest": it.latest,
        "served": it.served,
    }


def _bundles(request: web.Request) -> web.Response:
    found: Listing = request.app[DEPS].versions.listing()
    shown = [_bundle(it) for it in found.bundles]
    return web.json_response({"success": True, "configured": found.configured, "bundles": shown})


def _bundle(it: BundleRow) -> dict[str, Any]:
    return {
        "sha256": it.sha256,
        "version": it.version,
        "packed": it.packed,
        "in_use": it.in_use,
        "candidate": it.candidate,
        "rolled_back_at": None if it.rolled_back is None else fields.iso(round(it.rolled_back)),
        "sessions": list(it.sessions),
    }
