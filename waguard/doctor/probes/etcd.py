"""Ask each member of etcd, by its gateway: nothing is written."""

import asyncio
import base64
import re
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from waguard.cluster import etcd
from waguard.cluster.etcd_gateway import Gateway, Login
from waguard.config.sections import Cluster
from waguard.core.replace import replace
from waguard.doctor.checks.etcd import KEPT, Endpoint, Etcd, Listed
from waguard.errors import ConfigError, EngineUnavailableError

WITHIN: Final = 5.0  # s for a member
_KEYS: Final = {"key": base64.b64encode(b"waguard/").decode(), "limit": 1}
_COMPACTED: Final = "has been compacted"
_QUOTA: Final = "etcd_server_quota_backend_bytes"
_DISK: Final = ("etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds")
_SAMPLE: Final = re.compile(r'^(\w+)(?:\{le="([^"]+)"\})? (\S+)$', re.MULTILINE)
_ENOUGH: Final = 100  # writes, before the slowest of 100 says anything
_SHARE: Final = 0.99
_OK: Final = 200


class _Header(msgspec.Struct):
    cluster_id: str
    member_id: str
    revision: int = 0


class _Status(msgspec.Struct):
    header: _Header
    leader: str = ""
    dbSize: int = 0  # noqa: N815 - etcd's names


class _Member(msgspec.Struct):
    ID: str
    name: str = ""
    clientURLs: tuple[str, ...] = ()  # noqa: N815


class _Members(msgspec.Struct):
    members: tuple[_Member, ...] = ()


class _Alarm(msgspec.Struct):
    alarm: str = "NONE"


class _Alarms(msgspec.Struct):
    alarms: tuple[_Alarm, ...] = ()


async def ask(cluster: Cluster, *, kept: int = KEPT, within: float = WITHIN) -> Etcd:
    """All that is known of it now. ``kept``: how many revisions it may keep; ``within``: seconds for a member."""
    try:
        tls, login = etcd.tls_of(cluster), etcd.login_of(cluster)
    except ConfigError as error:
        return Etcd(error=f"{error.field}: {error.message}")
    asked = await asyncio.gather(*(_endpoint(url, tls, login, within) for url in cluster.endpoints))
    own = cluster.certificate_file
    seen = Etcd(
        endpoints=tuple(it for it, _ in asked),
        now=time.time(),
        own_certificate_ends=None if own is None else _end_of(own),
        is_open=login is None and own is None,
    )
    # one without a majority answers none of it
    good = next((it for it in seen.endpoints if it.error is None and it.leader), None)
    if good is None:
        return seen
    gateway = Gateway([good.url], tls=tls, login=login, deadline=within)
    try:
        return await _of_all(seen, gateway, max(revision for _, revision in asked) - kept)
    finally:
        await gateway.close()


async def _endpoint(
    url: str, tls: ssl.SSLContext | None, login: Login | None, within: float
) -> tuple[Endpoint, int]:
    """What it says, and its revision."""
    gateway = Gateway([url], tls=tls, login=login, deadline=within)
    seen = Endpoint(url=url, certificate_ends=await _certificate_ends(url, tls, within))
    try:
        said, _ = await gateway.call("maintenance/status", {}, _Status)
    except EngineUnavailableError as error:
        why = error.message.removeprefix("etcd does not answer: ").removeprefix(f"{url}: ")
        return replace(seen, error=why, refuses=error.field == "cluster.user_file"), 0
    finally:
        await gateway.close()
    quota, slowest = _measured(await _metrics(url, tls, within))
    seen = replace(
        seen,
        cluster=said.header.cluster_id,
        member=said.header.member_id,
        leader="" if said.leader == "0" else said.leader,
        size=said.dbSize,
        quota=quota,
        slowest=slowest,
    )
    return seen, said.header.revision


async def _of_all(seen: Etcd, gateway: Gateway, old: int) -> Etcd:
    """What one member says of all. ``old``: a revision that is to be gone."""
    may, compacts = None, None
    try:
        await gateway.call("kv/range", _KEYS, dict)
        if old > 0:
            compacts = False
            await gateway.call("kv/range", {**_KEYS, "revision": old}, dict)
    except EngineUnavailableError as error:
        compacts = True if _COMPACTED in error.message else None
        may = None if compacts else error.message
    listed, alarms = _Members(), _Alarms()
    # a user of etcd who may read waguard's keys alone may not ask this
    with suppress(EngineUnavailableError):
        listed, _ = await gateway.call("cluster/member/list", {}, _Members)
        alarms, _ = await gateway.call("maintenance/alarm", {"action": "GET"}, _Alarms)
    return replace(
        seen,
        listed=tuple(
            Listed(member=it.ID, name=it.name, urls=it.clientURLs) for it in listed.members
        ),
        alarms=tuple(sorted({it.alarm for it in alarms.alarms})),
        may=may,
        compacts=compacts,
    )


async def _metrics(url: str, tls: ssl.SSLContext | None, within: float) -> str:
    """As for Prometheus; empty: it has none here."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within)) as client,
            client.get(f"{url}/metrics", ssl=tls or True, allow_redirects=False) as answer,
        ):
            return await answer.text() if answer.status == _OK else ""
    except (aiohttp.ClientError, OSError, UnicodeError):  # also TimeoutError
        return ""


def _measured(text: str) -> tuple[int | None, float | None]:
    """The quota, and how long the slowest but one of 100 writes to the disk takes."""
    quota = None
    counted: dict[str, list[tuple[float, float]]] = {name: [] for name in _DISK}
    for name, limit, value in _SAMPLE.findall(text):
        if name == _QUOTA:
            quota = int(float(value))
        elif (of := name.removesuffix("_bucket")) in counted and limit:
            counted[of].append((float(limit), float(value)))
    slowest = [_slowest(buckets) for buckets in counted.values()]
    return quota, max((it for it in slowest if it is not None), default=None)


def _slowest(buckets: list[tuple[float, float]]) -> float | None:
    """``buckets``: upper limits, with how many took no longer."""
    every = max((count for _, count in buckets), default=0)
    if every < _ENOUGH:
        return None
    return next((limit for limit, count in sorted(buckets) if count >= _SHARE * every), None)


async def _certificate_ends(url: str, tls: ssl.SSLContext | None, within: float) -> float | None:
    """Unix time; None: there is none, or it is not trusted, which another answer says."""
    parts = urlsplit(url)
    if tls is None or parts.scheme != "https":
        return None
    try:
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=tls)
    except OSError:  # also TimeoutError, and ssl.SSLError
        return None
    of = writer.get_extra_info("peercert") or {}
    writer.close()
    return ssl.cert_time_to_seconds(of["notAfter"]) if "notAfter" in of else None


def _end_of(path: Path) -> float | None:
    try:
        from cryptography import x509  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
