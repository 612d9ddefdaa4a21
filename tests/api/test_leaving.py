"""What becomes of messages on their way when a session is logged out, deleted or purged."""

import pytest

from tests.api.conftest import Api
from tests.api.fake_sessions import SESSION, WORKSPACE
from tests.waiting import wait_until
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.errors import UnavailableError
from waguard.ports.webhooks import GLOBAL

SEND = {"session_id": SESSION, "recipient_phone": "6281234567890", "message": "hello"}


async def queue(api: Api) -> int:
    api.sessions.not_ready = UnavailableError("it is away")
    answer = await api.call("POST", "/api/messages/send?async=1", SEND)
    assert answer.status == 202
    return int(answer.json()["id"])


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("POST", f"/api/sessions/{SESSION}/logout", "logged out"),
        ("POST", f"/sessions/{SESSION}/logout", "logged out"),
        ("DELETE", f"/api/sessions/{SESSION}", "deleted"),
        ("DELETE", f"/api/sessions/{SESSION}?purge=1", "deleted"),
    ],
)
async def test_what_was_still_to_be_sent_fails_with_the_reason(
    api: Api, method: str, path: str, why: str
) -> None:
    number = await queue(api)
    assert (await api.call(method, path)).status == 200

    async def failed() -> bool:
        row = await api.database.outbox.find(number)
        return row is not None and row.state == "failed" and why in (row.error or "")

    assert await failed()


async def test_a_stop_leaves_them_alone(api: Api) -> None:
    number = await queue(api)
    assert (await api.call("POST", f"/api/sessions/{SESSION}/stop")).status == 200
    row = await api.database.outbox.find(number)
    assert row is not None
    assert row.state == "accepted"


@pytest.mark.parametrize(("purge", "dead"), [("", 0), ("?purge=1", 1)])
async def test_what_waits_to_be_delivered_is_a_dead_letter_only_after_a_purge(
    api: Api, purge: str, dead: int
) -> None:
    api.configure("webhook", url="http://127.0.0.1:9/hook")
    received = InboxRecord(
        session_id=SESSION,
        workspace_id=WORKSPACE,
        key="k",
        kind=Kind.MESSAGE,
        at=1.0,
        events=(EventPayload("message_received", {"message": {"id": "false_1@c.us_A"}}),),
    )
    stored: list[InboxRecord] = []
    api.journal.put((received,), stored.extend)
    await wait_until(lambda: stored, "it is stored")
    assert (await api.call("DELETE", f"/api/sessions/{SESSION}{purge}")).status == 200
    assert len(await api.database.messages.dead()) == dead
    waiting, _ = await api.database.messages.pending(GLOBAL, after=0, limit=9)
    assert len(waiting) == 1 - dead
