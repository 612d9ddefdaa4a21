"""/api/versions and /api/wajs: which version of WhatsApp, and of wa-js, sessions get."""

import re
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from waguard.api import fields
from waguard.api.audit import who
from waguard.api.deps import ASK_HOSTS, DEPS, FORWARDED, SESSION
from waguard.api.fields import Kind, digits
from waguard.api.rights import Narrowing
from waguard.api.route import Done, route
from waguard.core.keys import Right
from waguard.core.versions.views import VersionRow, VersionStatus
from waguard.ports.versions import BundleRow

_REVISION_LIMIT: Final = 10**15
_DIGEST: Final = re.compile(r"[0-9a-f]{6,64}")
_REVISION: Final = fields.integer(1, _REVISION_LIMIT)


def _needed(value: Any, field: str) -> int:
    if value is None or value == "":
        raise fields.bad(field, None, "revision is missing", "send the number of a version")
    return _REVISION(value, field)


def _digest(value: Any, field: str) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value.lower()):
        return value.lower()
    raise fields.bad(field, value, "invalid digest", "SHA-256 in hex, or 6 digits of it or more")


_PATTERN: Final = "0*[1-9][0-9]{0,15}"
Digest = Annotated[str, Kind(_digest), Meta(pattern="^[0-9A-Fa-f]{6,64}$")]
OneSession = Annotated[
    str, Kind(fields.session_id, blank=True), Meta(pattern="^[A-Za-z0-9_-]{0,128}$")
]


class Pin(Struct, kw_only=True):
    """A stored version."""

    revision: Annotated[int, Kind(_needed), digits(1, _REVISION_LIMIT, f"^{_PATTERN}$")]


class TryVersion(Struct, kw_only=True):
    """What one session is loaded with; without ``revision`` what WhatsApp serves."""

    session_id: OneSession | None = None
    revision: (
        Annotated[int, Kind(_REVISION, blank=True), digits(1, _REVISION_LIMIT, f"^({_PATTERN})?$")]
        | None
    ) = None


class TryBundle(Struct, kw_only=True):
    """The bundle that one session is loaded with."""

    session_id: OneSession | None = None
    sha256: Digest


class UseBundle(Struct, kw_only=True):
    """A bundle."""

    sha256: Digest


class Version(Struct, kw_only=True):
    """A version of WhatsApp Web, and whose pages have it."""

    revision: int
    status: VersionStatus
    since: str | None
    why: str
    sessions: tuple[str, ...]
    wajs: tuple[str, ...]
    stored: bool
    latest: bool
    served: bool


class HostVersions(Done, kw_only=True):
    """Those that a session has, that are stored or pinned, the newest first."""

    mode: str
    newest: int | None
    pinned: int | None
    held_from: int | None
    trying: str | None
    versions: list[Version]


class Versions(HostVersions, kw_only=True):
    """Those that a session has, that are stored or pinned, the newest first.

    Each host of a cluster decides for itself: ``host`` is the one that answers, ``hosts`` are the others that live; null:
    it has not answered within 3 s.
    """

    host: str | UnsetType = UNSET
    hosts: dict[str, HostVersions | None] | UnsetType = UNSET


class Bundle(Struct, kw_only=True):
    """A bundle of wa-js."""

    sha256: str
    version: str | None
    packed: bool
    in_use: bool
    candidate: bool
    rolled_back_at: str | None
    sessions: tuple[str, ...]


class Bundles(Done, kw_only=True):
    """Those that can be injected."""

    configured: str | None
    bundles: list[Bundle]


@route(Right.READ)
async def listing(request: web.Request) -> Versions:
    """Versions of WhatsApp Web."""
    found, cluster = _versions(request), request.app[DEPS].cluster
    if cluster and FORWARDED not in request:
        found.host = cluster.hosts.view().host
        answers = await request.app[ASK_HOSTS](request.path)
        found.hosts = {host: _of_host(it) for host, it in sorted(answers.items())}
    return found


@route(Right.ADMIN, 404, 409)
async def pin(request: web.Request, body: Pin) -> Versions:
    """Serve this stored version to all sessions."""
    await request.app[DEPS].versions.pin(body.revision, by=who(request))
    return _versions(request)


@route(Right.ADMIN, 409)
async def unpin(request: web.Request) -> Versions:
    """End that."""
    await request.app[DEPS].versions.unpin(by=who(request))
    return _versions(request)


@route(Right.ADMIN, 404, 409, narrows=Narrowing.REFUSED)
async def try_version(request: web.Request, body: TryVersion) -> Versions:
    """Load one session with a version."""
    session = await _session(request, body.session_id)
    request.app[DEPS].versions.try_version(body.revision, session=session, by=who(request))
    return _versions(request)


@route(Right.READ)
async def bundles(request: web.Request) -> Bundles:
    """Bundles of wa-js."""
    await request.app[DEPS].versions.refresh_bundles()
    return _bundles(request)


@route(Right.ADMIN, 404, 409, narrows=Narrowing.REFUSED)
async def try_bundle(request: web.Request, body: TryBundle) -> Bundles:
    """Load one session with a bundle."""
    session = await _session(request, body.session_id)
    await request.app[DEPS].versions.try_bundle(body.sha256, session=session, by=who(request))
    return _bundles(request)


@route(Right.ADMIN, 404, 409)
async def use_bundle(request: web.Request, body: UseBundle) -> Bundles:
    """Let all sessions have a bundle, after canaries."""
    await request.app[DEPS].versions.use_bundle(body.sha256, by=who(request))
    return _bundles(request)


async def _session(request: web.Request, given: str | None) -> str | None:
    """The session of the body, which must be there. Raises ``NotFoundError``."""
    if given:
        request[SESSION] = (await request.app[DEPS].sessions.view(given)).session_id
    return given


def _versions(request: web.Request) -> Versions:
    found = request.app[DEPS].versions.listing()
    return Versions(
        mode=found.mode,
        newest=found.newest,
        pinned=found.pin,
        held_from=found.held_from,
        trying=found.trial,
        versions=[_version(it) for it in found.rows],
    )


def _of_host(answer: Any) -> HostVersions | None:
    if answer is None:
        return None
    try:
        return msgspec.convert(answer, HostVersions)
    except msgspec.ValidationError:  # of another version
        return None


def _version(it: VersionRow) -> Version:
    return Version(**msgspec.structs.asdict(it) | {"since": fields.second(it.since)})


def _bundles(request: web.Request) -> Bundles:
    found = request.app[DEPS].versions.listing()
    return Bundles(configured=found.configured, bundles=[_bundle(it) for it in found.bundles])


def _bundle(it: BundleRow) -> Bundle:
    return Bundle(
        sha256=it.sha256,
        version=it.version,
        packed=it.packed,
        in_use=it.in_use,
        candidate=it.candidate,
        rolled_back_at=fields.second(it.rolled_back),
        sessions=it.sessions,
    )
