"""No bug, and nothing that a page or the database says, takes one of the places of a delivery queue for good."""

from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

from tests.core.webhooks.queues import item
from tests.messaging.gateway import gateway
from tests.messaging.receiver import Receiver, event
from tests.waiting import wait_until
from waguard.core.webhooks.facts import LookupDone, Outcome
from waguard.core.webhooks.pending import Pending
from waguard.core.webhooks.state import CONCURRENT
from waguard.messaging.webhooks import endpoint_queue
from waguard.ports.bus import BusEvent


def message(number: int, chat: str = "1@c.us", session: str = "a") -> BusEvent:
    payload = {"id": f"false_{chat}_{number}", "body": f"body {number}"}
    return event(number, session=session, message=payload)


async def test_a_field_that_a_page_calls_sha256_takes_no_place(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    content = {"raw": {"sha256": "x"}}
    hostile = [
        event(n, message={"id": f"false_{n}@c.us_A", "body": "", "content": content})
        for n in range(CONCURRENT)
    ]
    async with gateway(tmp_path, receiver.url, fields="all") as it:
        it.put(*hostile)
        it.put(message(100, session="b"))
        taken = await receiver.wait_taken(CONCURRENT + 1)
        assert await it.drained()
    assert sum(it["data"]["message"].get("content") == content for it in taken) == CONCURRENT
    assert not any("a bug in waguard" in line for line in logged)


async def test_a_bug_in_an_attempt_takes_no_place(
    receiver: Receiver, tmp_path: Path, logged: list[str]
) -> None:
    async with gateway(tmp_path, receiver.url, fields="all") as it:
        deliver = it.queue()._attempts.deliver
        broken = True

        async def faulty(item: Pending, **more: Any) -> Outcome:
            if broken and item.session_id == "a":
                raise RuntimeError("a bug")
            return await deliver(item, **more)

        it.queue()._attempts.deliver = faulty  # type: ignore[method-assign]
        it.put(*(message(n, chat=f"{n}@c.us") for n in range(CONCURRENT)))
        await wait_until(lambda: sum("a bug" in line for line in logged) >= CONCURRENT, "they fail")
        it.put(message(100, session="b"))
        [taken] = await receiver.wait_taken(1)
        assert taken["data"]["message"]["body"] == "body 100"
        broken = False
        assert await it.drained()
    assert len(receiver.taken()) == CONCURRENT + 1


async def test_a_bug_in_a_search_for_a_message_does_not_hold_up_what_follows() -> None:
    attempts = Mock(is_stored=AsyncMock(side_effect=RuntimeError("a bug")))
    found = await endpoint_queue._stored_there(attempts, item(1))
    assert found == LookupDone(key=item(1).key, id=1, found=None)
