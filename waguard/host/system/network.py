"""Whether this host has a way to WhatsApp: its default routes, their links, and a connection."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from waguard.core.fleet.network import Reading, shown
from waguard.core.replace import replace
from waguard.host.lacking import lacks
from waguard.host.system.resolver import Resolver

ADDRESSES: Final = 3  # of a name that are tried, should all be silent
_UP: Final = 0x1  # linux/route.h RTF_UP
_REJECT: Final = 0x200  # RTF_REJECT: "unreachable", which is no way out
_NO_LINK: Final = "0"


class Timings(Struct, frozen=True, kw_only=True):
    """Seconds."""

    ask_each: float = 5.0
    answer_within: float = 3.0
    forgotten_after: float = 15.0
    """Without a question: what is known then says nothing of now."""


TIMINGS: Final = Timings()


class Network:
    """To be read on the event loop, each second at most, while sessions are offline."""

    def __init__(
        self,
        url: Callable[[], str],
        arguments: Callable[[], Sequence[str]] = tuple,
        *,
        timings: Timings = TIMINGS,
    ) -> None:
        """``url``: WhatsApp's; ``arguments``: Chromium's, which may have it connect to something else: then an answer would
        say nothing. Both are read at each use, a reload reaches them."""
        self._url = url
        self._arguments = arguments
        self._timings = timings
        self._resolver = Resolver()
        self._asked_url = ""
        self._asking: asyncio.Task[None] | None = None
        self._asked_at: float | None = None
        self._read_at = 0.0
        self._answer = Reading(pending=True)

    def read(self) -> Reading:
        """Waits for nothing: the answer is that of the last question, and another one may begin."""
        if uses_proxy(self._arguments()):
            return read()
        if (url := self._url()) != self._asked_url:
            self._forget(url)
        now = time.monotonic()
        if now - self._read_at > self._timings.forgotten_after:
            self._answer = Reading(pending=True)
        self._read_at = now
        idle = self._asking is None or self._asking.done()
        if idle and (self._asked_at is None or now - self._asked_at >= self._timings.ask_each):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask(), name="is WhatsApp reachable")
        it = self._answer
        return replace(read(), reachable=it.reachable, error=it.error, pending=it.pending)

    def _forget(self, url: str) -> None:
        """Another address is asked from now on."""
        self._asked_url, self._asked_at, self._answer = url, None, Reading(pending=True)
        if self._asking:
            self._asking.cancel()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        within, parts = self._timings.answer_within, urlsplit(self._asked_url)
        host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
        try:
            async with asyncio.timeout(within):
                _, writer = await self._resolver.connect(host, port, each=within / ADDRESSES)
        except TimeoutError:
            error = f"{host}:{port} does not answer within {within:g} s"
            self._answer = Reading(reachable=False, error=error)
        except ValueError:  # no name: that says nothing of the network
            self._answer = Reading()
        except OSError as failed:
            if lacks(failed):  # neither does that
                self._answer = Reading()
                return
            number = failed.errno or 0  # negative: of the resolver
            why = os.strerror(number) if number > 0 else failed.strerror or str(failed)
            error = f"{host}:{port}: {why}"
            self._answer = Reading(reachable=False, error=error)
        else:
            writer.close()
            self._answer = Reading(reachable=True)


def uses_proxy(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a Chromium with these ``arguments`` goes through a proxy."""
    switched = any(it.startswith(("--proxy-server", "--proxy-pac-url")) for it in arguments)
    names = ("https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
    return switched or any(environment.get(name) for name in names)


def read(root: Path = Path("/")) -> Reading:
    """Reads ``root``'s proc and sys, which takes about 0.1 ms and waits for nothing."""
    tables = [_text(root / "proc/net/route"), _text(root / "proc/net/ipv6_route")]
    if tables[0] is None:
        return Reading()
    interfaces = {*_ipv4(tables[0]), *_ipv6(tables[1] or "")} - {"lo"}
    carriers = [_carrier(root / "sys/class/net" / name) for name in interfaces]
    return Reading(route=bool(interfaces), carrier=shown(carriers))


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _carrier(interface: Path) -> bool | None:
    """The kernel refuses the question (EINVAL) while the interface is switched off."""
    said = _text(interface / "carrier")
    return None if said is None else said.strip() != _NO_LINK


def _ipv4(table: str) -> Iterator[str]:
    """Interface, destination, gateway, flags, 3 counters, mask …, in hexadecimal."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and {words[1], words[7]} == {"00000000"} and _is_way(words[3]):  # noqa: PLR2004
            yield words[0]


def _ipv6(table: str) -> Iterator[str]:
    """Destination, its prefix, source, its prefix, next hop, metric, 2 counters, flags, interface."""
    for line in table.splitlines():
        words = line.split()
        if len(words) > 9 and words[1] == "00" and _is_way(words[8]):  # noqa: PLR2004
            yield words[9]


def _is_way(flags: str) -> bool:
    bits = int(flags, 16)
    return bool(bits & _UP) and not bits & _REJECT
