"""Receivers of sessions, and addresses that are never called."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.messaging.gateway import QUICK, gateway
from tests.messaging.receiver import (
    Receiver,
    event,
    receiving,
)
from tests.silent_names import ZONE, common_thread_is_free, silent_names
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import MessageFields
from waguard.core.webhooks.state import Queue
from waguard.host.system.resolver import Resolver
from waguard.messaging.webhooks import dead_letters
from waguard.messaging.webhooks.sender import WebhookSender
from waguard.messaging.webhooks.signing import sign
from waguard.ports.webhooks import GLOBAL, Endpoint


async def test_a_session_has_a_receiver_of_its_own(receiver: Receiver, tmp_path: Path) -> None:
    async with receiving() as own, gateway(tmp_path, receiver.url, allow_private=True) as it:
        secret = "a secret of its own"
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=own.url, secret=secret))
        it.put(event(1, session="a"), event(2, session="b"))
        await receiver.wait_taken(2)
        await own.wait_taken(1)
        assert await it.drained()
        [attempt] = own.attempts
        assert attempt.payload["data"]["session_id"] == "a"
        signed = attempt.headers["X-Timestamp"], attempt.body
        assert attempt.headers["X-Hmac-Signature"] == sign(secret.encode(), *signed)
        assert await it.webhooks.delete_endpoint("a")
        await it.stored(event(3, session="a"))
        await receiver.wait_taken(3)
    assert len(own.attempts) == 1


async def test_what_a_receiver_refused_is_tried_at_once_at_the_next_one(
    receiver: Receiver, tmp_path: Path, dead_port: int
) -> None:
    url = f"http://127.0.0.1:{dead_port}/hook"
    patient = replace(QUICK, base_delay=3_600.0, max_delay=3_600.0)
    async with gateway(tmp_path, url, policy=patient, allow_private=True) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=url, secret=None))
        await it.stored(event(1, session="a"), event(2, session="b"))
        for name in ("a", GLOBAL):
            await wait_until(lambda: it.queue(name).state.due, "it was refused")  # noqa: B023 - called at once
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=receiver.url, secret=None))
        await receiver.wait_taken(1)
        it.configure(url=receiver.url)
        await receiver.wait_taken(2)


def attempts(queue: Queue) -> list[int]:
    """Those of the first of each chat that have ended."""
    return [partition.first.attempts for partition in queue.partitions.values()]


@pytest.mark.parametrize("status", [429, 503])
async def test_the_pause_that_a_receiver_asked_for_is_not_that_of_the_next_one(
    receiver: Receiver, tmp_path: Path, status: int
) -> None:
    asked: tuple[int, dict[str, str]] = (status, {"Retry-After": "3600"})
    policy = replace(QUICK, longest_retry_after=3_600.0)
    async with (
        receiving() as earlier,
        gateway(tmp_path, earlier.url, policy=policy, allow_private=True) as it,
    ):
        earlier.troubles.extend([asked] * 3)
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=earlier.url, secret=None))
        await it.stored(event(1, session="a"), event(2, session="b"))
        for name in ("a", GLOBAL):
            await wait_until(lambda: 1 in attempts(it.queue(name).state), "it was refused")  # noqa: B023 - called at once
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=receiver.url, secret=None))
        await receiver.wait_taken(1)
        it.configure(url=receiver.url)
        await receiver.wait_taken(3)
    assert not earlier.taken()


async def test_a_receiver_gets_the_fields_that_it_wants(receiver: Receiver, tmp_path: Path) -> None:
    async with receiving() as own, gateway(tmp_path, receiver.url, allow_private=True) as it:
        every = Endpoint(session_id="a", url=own.url, secret=None, fields=MessageFields.ALL)
        await it.webhooks.endpoints.put(every)
        content = {"location": {"latitude": 1, "longitude": 2}}
        message = {"id": "false_c_1", "content": content}
        it.put(event(1, session="a", message=message), event(2, session="b", message=message))
        await receiver.wait_taken(1)
        await own.wait_taken(1)
    assert own.attempts[0].payload["data"]["message"]["content"] == content
    assert "content" not in receiver.attempts[0].payload["data"]["message"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_session_may_not_send_us_to_ourselves(
    receiver: Receiver, tmp_path: Path, host: str
) -> None:
    url = receiver.url.replace("127.0.0.1", host)
    async with gateway(tmp_path, None) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=url, secret=None))
        it.put(event(1))
        assert await it.drained()
        [letter] = await it.dead()
    assert "address is refused" in letter.error
    assert receiver.arrived == 0


async def test_a_name_that_leads_to_us_is_refused_when_it_is_resolved(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was harmless when it was set, and is bound to another address now."""

    async def rebound(self: Any, host: str) -> list[str]:
        assert host == "harmless.example"
        return ["127.0.0.1"]

    monkeypatch.setattr(Resolver, "addresses", rebound)
    url = receiver.url.replace("127.0.0.1", "harmless.example")
    async with gateway(tmp_path, None) as it:
        await it.webhooks.endpoints.put(Endpoint(session_id="a", url=url, secret=None))
        it.put(event(1))
        assert await it.drained()
        [letter] = await it.dead()
        assert "the address is refused: it is a private address" in letter.error
        it.configure(allow_private=True)
        assert await it.webhooks.dead_letters.replay() == 1
        await receiver.wait_taken(1)


async def test_names_that_nobody_answers_for_hold_up_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = [f"https://{number}{ZONE}/" for number in range(3)]
    with silent_names(monkeypatch) as names:
        async with WebhookSender(lambda: False) as sender:
            posts = [asyncio.create_task(sender.post(url, b"{}", {})) for url in urls]
            await wait_until(lambda: names.asked, "one is asked for")
            assert await common_thread_is_free()
            await wait_until(lambda: len(names.asked) == len(posts), "so are the others")
            names.answers.set()
            assert {it.error for it in await asyncio.gather(*posts)} == {
                "no connection: it is silent"
            }


async def test_a_global_address_that_is_no_longer_set(receiver: Receiver, tmp_path: Path) -> None:
    receiver.free.clear()
    async with gateway(tmp_path, receiver.url) as it:
        await it.stored(event(1))
    async with gateway(tmp_path, None) as it:
        assert await it.drained()
        assert [letter.error for letter in await it.dead()] == [dead_letters.UNSET]
        receiver.free.set()
        it.configure(url=receiver.url)
        assert await it.drained()
        assert await it.webhooks.dead_letters.replay() == 1
        assert await it.drained()
        assert len(receiver.taken()) == 1
