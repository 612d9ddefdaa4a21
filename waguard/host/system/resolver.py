"""The addresses of names, as the system knows them."""

import asyncio
import functools
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Final

THREADS: Final = 32
"""Names that are looked up at once."""


class Resolver:
    """Each user has one for itself, as its names may all be silent. A look-up takes a thread until the system answers,
    also where nobody waits any more: so it has its own threads, and who comes meanwhile for the same name joins it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "resolver")
        self._asked: dict[str, asyncio.Future[list[str]]] = {}
        self._accepted: dict[str, str] = {}
        """By name: the address that accepted the last connection."""

    async def addresses(self, host: str) -> list[str]:
        """Those of ``host``, in the system's order. Raises ``OSError``, ``ValueError``."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        if (asked := self._asked.get(host)) is None:
            loop = asyncio.get_running_loop()
            asked = self._asked[host] = loop.run_in_executor(self._threads, _addresses, host)
            asked.add_done_callback(functools.partial(self._answered, host))
        await asyncio.wait((asked,))  # whose cancellation leaves the look-up alone
        return asked.result()

    async def connect(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, *, each: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address of ``host`` that accepts one, the newest of them first. An address has
        ``each`` s where others follow. Raises ``OSError``, ``ValueError``."""
        name = host if tls else None
        left = sorted(await self.addresses(host), key=lambda it: it != self._accepted.get(host))
        failed = OSError("its name has no address")
        while left:
            address = left.pop(0)
            try:
                async with asyncio.timeout(each if left else None):
                    made = await asyncio.open_connection(
                        address, port, ssl=tls, server_hostname=name
                    )
            except OSError as error:
                failed = error
            else:
                self._accepted[host] = address
                return made
        raise failed

    def _answered(self, host: str, asked: asyncio.Future[list[str]]) -> None:
        del self._asked[host]
        asked.exception()  # seen, also where nobody waits any more


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
