"""Ask each host of the cluster at its own address, as the host here would: nothing is changed."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import hdrs

from waguard.config.addresses import is_loopback
from waguard.config.sections import Cluster
from waguard.core.cluster.forwarded_request import (
    START,
    ForwardedRequest,
    corrected,
    digest,
    sealed,
)
from waguard.core.keys import Caller, Right
from waguard.core.replace import replace
from waguard.doctor.checks.hosts import Host
from waguard.doctor.probes.receiver import ahead
from waguard.errors import ConfigError
from waguard.host.files.sealing import read_key

LISTED: Final = "/api/hosts"
ALIKE: Final = "/api/cluster/alike"
WITHIN: Final = 10.0  # s for an answer
_OK: Final = 200


async def hosts(cluster: Cluster, listed: Mapping[str, Any] | None) -> list[Host] | None:
    """All that live, as ``listed``, the answer of the daemon here, names them; None: it names none."""
    if listed is None or cluster.key_file is None:
        return None
    try:
        key = read_key(cluster.key_file, "cluster.key_file")
    except ConfigError:
        return None
    living = [
        Host(host=it["host"], address=it["address"], here=it["host"] == listed["host"])
        for it in listed["hosts"]
        if it["alive"]
    ]
    return list(await asyncio.gather(*(_asked(it, key, str(listed["host"])) for it in living)))


def _is_loopback(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


async def _asked(it: Host, key: bytes, here: str) -> Host:
    request = ForwardedRequest(
        method="GET",
        target=ALIKE,
        to=it.address,
        at=time.time(),
        nonce=secrets.token_hex(16),
        caller=Caller(name=here, right=Right.ADMIN),
        start="unknown",  # that host says it, and is asked once more
        content=digest(b"", content_type="", idempotency_key=""),
    )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN)) as client:
            answer = await _get(client, request, key)
            if again := corrected(answer.headers.get(START, ""), request, key):
                answer = await _get(client, again, key)
            by = ahead(answer.headers.get(hdrs.DATE), time.time())
            it = replace(it, status=answer.status, ahead=by)
            said = await answer.json(content_type=None) if answer.status == _OK else {}
    except (aiohttp.ClientError, OSError, ValueError) as error:  # also TimeoutError
        return replace(it, error=str(error) or type(error).__name__)
    if not isinstance(said, dict) or not said:
        return it
    url = str(said.get("public_url"))
    return replace(
        it,
        answers=str(said.get("host")),
        version=str(said.get("version")),
        public_url=url,
        public_is_loopback=_is_loopback(url) and not _is_loopback(it.address),
        digests=said.get("digests") or {},
    )


async def _get(
    client: aiohttp.ClientSession, request: ForwardedRequest, key: bytes
) -> aiohttp.ClientResponse:
    headers = {hdrs.AUTHORIZATION: f"Bearer {sealed(request, key)}"}
    answer = await client.get(
        f"{request.to}{request.target}", headers=headers, allow_redirects=False
    )
    await answer.read()
    return answer
