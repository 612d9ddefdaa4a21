"""Names that no nameserver answers for, on a host with one common thread; and one with a silent address."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from waguard.host.system.resolver import Resolver

ZONE: Final = ".silent.example"
LONG: Final = 60.0  # s


@dataclass(frozen=True)
class SilentNames:
    """``asked``: the names as they came; each waits until ``answers`` is set, and does not exist then."""

    asked: list[str] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)


@contextmanager
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentNames]:
    """Names that end with ``ZONE``; within the event loop."""
    it, resolve = SilentNames(), socket.getaddrinfo

    def silent(host: Any, *about: Any, **more: Any) -> Any:
        if not str(host).endswith(ZONE):
            return resolve(host, *about, **more)
        it.asked.append(host)
        it.answers.wait(LONG)
        raise socket.gaierror(socket.EAI_AGAIN, "it is silent")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    try:
        yield it
    finally:
        it.answers.set()


@contextmanager
def half_silent(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name with two addresses: the first one drops what comes to ``port``, the second one is 127.0.0.1."""

    async def addresses(_: Resolver, __: str) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(Resolver, "addresses", addresses)
    with ExitStack() as opened:
        opened.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        for _ in range(4):  # which fills its backlog
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - it has no name
            filler.connect_ex(("127.0.0.2", port))
        yield "half.example"


async def common_thread_is_free(*, within: float = 5.0) -> bool:
    """Whether the common thread waits for nothing."""
    try:
        async with asyncio.timeout(within):
            return await asyncio.to_thread(lambda: True)
    except TimeoutError:
        return False
