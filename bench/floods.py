"""Attacks on the API by who has no key, for ``bench.abuse``: loopback only, each on many connections.

idle: 1,500 connections, a third of them with half a head. slow: 200 bodies that come byte by byte.
big: 4 at a time, 24 MB of empty lists each. keys: 16 clients that guess as fast as they are answered.
chunks: 200 bodies of 1 MB in chunks of one byte. crowd: 1,800 of those. again: 16 that send one, hang
up and come again. ahead: 16 that send requests without waiting for answers. plain: 200 bodies of
900 kB at full speed, on new connections again and again. whole: 16 that ask for /health/live, each time on a new
connection. messages, edits: no connections, but a page in other
hands, which reports 65 kB at a time as fast as it is read.
"""

import asyncio
import contextlib
import itertools
import os
import re
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from waguard.api.limits import MEDIA_BODY_LIMIT
from waguard.host.process import open_files as files

IDLE, SLOW, BIG, GUESSERS = 1_500, 200, 4, 16
QUEUED = 64 << 10  # bytes of a connection, in the kernel
CHUNKS, CROWD, AGAIN, AHEAD, PLAIN, WHOLE = 200, 1_800, 16, 16, 200, 16
STATUS, SEND, MEDIA = "/api/sessions/s0/status", "/api/messages/send", "/api/messages/send-media"


async def _forever(port: int, attack: Callable[[Any, Any], Coroutine[Any, Any, None]]) -> None:
    """On one connection after the other; a server that hangs up, or refuses, is asked again."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(sock=await _connected(port))
            with contextlib.closing(writer):
                await attack(reader, writer)
        await asyncio.sleep(0 if attack in {_again, _whole} else 0.2)


async def _connected(port: int) -> socket.socket:
    """With a small queue in the kernel: by itself each of 1,800 keeps up to 4 MB there."""
    one = socket.socket()
    one.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUED)
    try:
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    except BaseException:
        one.close()
        raise
    return one


def _head(path: str, length: int, key: str = "") -> bytes:
    reported = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    reported += f"X-Api-Key: {key}\r\n" if key else ""
    return f"{reported}Content-Length: {length}\r\n\r\n".encode()


async def _idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if os.urandom(1)[0] % 3 == 0:
        writer.write(b"GET /health HTTP/1.1\r\nHost: local")
    await reader.read()


async def _slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    writer.write(_head(SEND, 900_000) + b'{"message":"')
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.2)


BODY = b"[" + b"[]," * ((MEDIA_BODY_LIMIT >> 2) * 4 // 3 - 2) + b"[]]"


async def _big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_head(MEDIA, len(BODY)))
    writer.write(BODY)
    await reader.readuntil(b"\r\n\r\n")


async def _guess(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for number in itertools.count():
        writer.write(_head(SEND, 2, f"guess-{number}") + b"{}")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    writer.write(ONE_BYTE)  # apart: so all connections share it
    await reader.read()


ONE_BYTE = b"1\r\nx\r\n" * 1_000_000


async def _again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    head = f"POST {SEND} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + ONE_BYTE[:300_000])
    await asyncio.sleep(0.002)
    writer.transport.abort()


async def _ahead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    many = f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 500

    async def send() -> None:
        while True:
            writer.write(many)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        while await reader.read(1 << 16):
            pass
    finally:
        sending.cancel()


async def _plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_head(SEND, 900_000))
    writer.write(PLAIN_BODY)
    await reader.readuntil(b"\r\n\r\n")


PLAIN_BODY = b"x" * 900_000


async def _whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    await reader.read()


PAGES = {"messages": "message", "edits": "edit"}  # what its page reports
ATTACKS = {
    **dict.fromkeys(PAGES, (_idle, 0)),
    "calm": (_idle, 0),
    "idle": (_idle, IDLE),
    "slow": (_slow, SLOW),
    "big": (_big, BIG),
    "keys": (_guess, GUESSERS),
    "chunks": (_chunks, CHUNKS),
    "crowd": (_chunks, CROWD),
    "again": (_again, AGAIN),
    "ahead": (_ahead, AHEAD),
    "plain": (_plain, PLAIN),
    "whole": (_whole, WHOLE),
}


async def attack(name: str, port: int) -> None:
    """Until it is told to end."""
    files.raise_limit()
    kind, count = ATTACKS[name]
    print("begins", flush=True)
    tasks = [asyncio.create_task(_forever(port, kind)) for _ in range(count)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
