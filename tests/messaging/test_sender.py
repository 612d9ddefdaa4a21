"""One request with a webhook, where nobody answers it."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from waguard.messaging.timings import WebhookTimings
from waguard.messaging.webhooks.sender import WebhookSender

TIMINGS = WebhookTimings(attempt=30.0, connect=0.1)


@pytest.fixture
def full() -> Iterator[str]:
    """The address of a receiver that takes no more connections."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - socket's own
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"


async def test_a_receiver_to_which_no_connection_is_made_was_not_reached(full: str) -> None:
    async with WebhookSender(lambda: True, timings=TIMINGS) as sender:
        answer = await sender.post(full, b"{}", {})
    assert (answer.status, answer.error) == (None, "no connection: timed out")
    assert not answer.reached
    assert not answer.refused


async def test_one_that_closes_in_the_tls_handshake_is_no_unknown_name() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with (
        await asyncio.start_server(close, "127.0.0.1", 0) as closing,
        WebhookSender(lambda: True) as sender,
    ):
        port = closing.sockets[0].getsockname()[1]
        answer = await sender.post(f"https://127.0.0.1:{port}/hook", b"{}", {})
    assert answer.error == "no connection: it was closed in the TLS handshake"
    assert not answer.reached
