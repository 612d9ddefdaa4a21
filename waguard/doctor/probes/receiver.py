"""Where webhooks go, and which address they give the application."""

import contextlib
import ipaddress
import socket
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from waguard.config.addresses import is_loopback
from waguard.config.passwords import without_passwords
from waguard.config.sections import Config
from waguard.core.replace import replace
from waguard.doctor.checks.instance import Instance
from waguard.doctor.checks.receiver import CallBack, Receiver

WITHIN: Final = aiohttp.ClientTimeout(total=10)
SAME: Final = 3.0  # s that two answers of one daemon may differ in its uptime
_LIMIT: Final = 1 << 16


async def receiver(url: str | None) -> tuple[Receiver, str | None]:
    """What it answers to OPTIONS, and its date. No password is kept."""
    if url is None:
        return Receiver(url=None), None
    shown = without_passwords(url)
    try:
        async with (
            aiohttp.ClientSession(timeout=WITHIN) as client,
            client.options(url, allow_redirects=False) as answer,
        ):
            return Receiver(url=shown, status=answer.status), answer.headers.get("Date")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Receiver(url=shown, error=without_passwords(_why(error))), None


def ahead(date: str | None, now: float) -> float | None:
    """How far the receiver's clock is ahead, in seconds; a date has whole ones only."""
    try:
        return parsedate_to_datetime(date).timestamp() - now if date else None
    except ValueError:
        return None


async def call_back(config: Config, daemon: Instance, health: Mapping[str, Any] | None) -> CallBack:
    """Call the address that webhooks give; ``health``: the daemon's own answer, by which it is known again."""
    url = config.api.public_url or _default(config, daemon)
    hook = config.webhook.url
    seen = CallBack(
        url=url,
        own=config.api.public_url is not None,
        loopback=is_loopback(urlsplit(url).hostname or ""),
        receiver_is_here=hook is None or is_here(urlsplit(hook).hostname or ""),
        several=_several(config),
    )
    if not daemon.up:
        return seen
    status, answer, error = await _health(url)
    waits = health is not None and health.get("status") == "standby"
    same = _same(answer, health)
    return replace(seen, status=status, error=error, same=same, waits=waits)


def _several(config: Config) -> str:
    if config.cluster.engine != "none":
        # where that is loopback, all hosts are on this machine
        here = is_loopback(urlsplit(config.cluster.address).hostname or "")
        return "" if here else "cluster.engine"
    return "lease.standby" if config.lease.standby else ""


def _default(config: Config, daemon: Instance) -> str:
    port = urlsplit(daemon.api or "").port or config.api.port
    host = config.api.host
    if is_loopback(host):
        return f"http://localhost:{port}"
    with contextlib.suppress(ValueError):
        host = socket.gethostname() if ipaddress.ip_address(host).is_unspecified else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _health(url: str) -> tuple[int | None, Mapping[str, Any] | None, str | None]:
    try:
        async with (
            aiohttp.ClientSession(timeout=WITHIN) as client,
            client.get(f"{url}/health", allow_redirects=False) as answer,
        ):
            readable = answer.status in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
            content = await answer.json(content_type=None) if readable else None
            return answer.status, content if isinstance(content, dict) else {}, None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return None, None, _why(error)


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _same(answer: Mapping[str, Any] | None, health: Mapping[str, Any] | None) -> bool | None:
    if answer is None or health is None:
        return None
    here, there = health.get("uptime"), answer.get("uptime")
    if not isinstance(here, int | float):
        return None
    return isinstance(there, int | float) and abs(there - here) <= SAME


def is_here(host: str) -> bool:
    """Whether ``host`` is this machine, by its addresses."""
    if is_loopback(host):
        return True
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return any(_is_own(address) for address in found)


def _is_own(address: str) -> bool:
    """The kernel lets only its own addresses be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
