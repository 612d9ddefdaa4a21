"""What the application gets of what a worker reports."""

from typing import Any

import pytest

from tests.supervision.reports import message
from waguard.core.messages.identity import People
from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.naming import named
from waguard.ports.store import SessionRow
from waguard.supervision import translate

ROW = SessionRow(session_id="s", workspace_id=1, status="connected", desired_up=True, generation=1)
OWN, ANNA, LID, GROUP = "49151@c.us", "49170@c.us", "7000001@lid", "120363000000000001@g.us"


def on_phone(chat: str, **fields: Any) -> InboxRecord:
    mine: dict[str, Any] = {
        "id": f"true_{chat}_A",
        "chat": chat,
        "to": chat,
        "sender": OWN,
        "from_me": True,
    }
    [record] = translate.received(ROW, message(**(mine | fields)), 1.0)
    return record


@pytest.mark.parametrize("chat", [ANNA, GROUP])
@pytest.mark.parametrize("backfilled", [False, True])
def test_what_was_written_on_the_phone_is_from_its_chat(chat: str, *, backfilled: bool) -> None:
    event = on_phone(chat, backfilled=backfilled).events[0]
    assert event.event == "message_sent"
    assert (event.data["message"]["from"], event.data["to"]) == (chat, chat)


def test_and_from_the_number_of_a_lid() -> None:
    record = named(on_phone(LID), People([(LID, ANNA)]), f"true_{ANNA}_A", None)
    assert record.events[0].data["message"]["from"] == ANNA
