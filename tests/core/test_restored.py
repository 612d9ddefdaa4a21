"""What waits after a restore, and what does not."""

from typing import Final

import pytest

from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.messages.sent_events import notices
from waguard.core.replace import replace
from waguard.core.restored import (
    CLOCK_ERROR,
    EVERY,
    KIND,
    Restored,
    conditions,
    doubt,
    group_waits,
    marked,
    released,
    unreadable,
)
from waguard.core.webhooks.delivery import Doubt

HERE: Final = Restored(backup_at=100.0, restored_at=200.0, database=True, groups=("a", "b"))


def record(at: float, event: str = "message_received") -> InboxRecord:
    return InboxRecord(
        session_id="a",
        workspace_id=7,
        key="k",
        kind=Kind.MESSAGE,
        at=at,
        events=(EventPayload(event, {"message": {"id": "false_1@c.us_X"}}),),
    )


@pytest.mark.parametrize(
    ("event", "uses_lookup", "what"),
    [
        ("message_received", True, Doubt.LOOKUP),
        ("message_received", False, Doubt.WAIT),
        ("call_received", True, Doubt.WAIT),
        ("message_edited", False, Doubt.WAIT),
        ("message_read", False, Doubt.NONE),
        ("message_sent", False, Doubt.NONE),
        ("session_ready", False, Doubt.NONE),
    ],
)
def test_what_becomes_of_a_webhook(event: str, uses_lookup: bool, what: Doubt) -> None:  # noqa: FBT001 - a table
    assert doubt(event, uses_lookup=uses_lookup) is what


def test_only_what_is_older_than_the_restore_is_marked() -> None:
    before, after = record(200.0), record(200.1)
    assert marked(HERE, before, uses_lookup=True).repeated is Doubt.LOOKUP
    assert marked(HERE, before, uses_lookup=False).repeated is Doubt.WAIT
    assert marked(HERE, after, uses_lookup=True) is after
    assert marked(None, before, uses_lookup=True) is before
    old = replace(after, at=200.0 + CLOCK_ERROR, backfilled=True)
    assert marked(HERE, old, uses_lookup=False).repeated is Doubt.WAIT, "a clock that is behind"
    later = replace(after, at=200.1 + CLOCK_ERROR, backfilled=True)
    assert marked(HERE, later, uses_lookup=False) is later
    kept = Restored(backup_at=100.0, restored_at=200.0, database=False)
    assert marked(kept, before, uses_lookup=True) is before


def test_the_receiver_sees_the_mark() -> None:
    [plain], [seen] = (
        notices(it) for it in (record(1.0), marked(HERE, record(1.0), uses_lookup=False))
    )
    assert b'"restored":true' in seen.body
    assert b"restored" not in plain.body
    assert seen.event_id == plain.event_id


@pytest.mark.parametrize(
    ("session", "chat", "waits"),
    [
        ("a", "1@g.us", True),
        ("a", "status@broadcast", True),
        ("a", "1@c.us", False),
        ("c", "1@g.us", False),
    ],
)
def test_groups_wait(session: str, chat: str, waits: bool) -> None:  # noqa: FBT001 - a table
    assert group_waits(HERE, session, chat) is waits
    assert not group_waits(released(HERE), session, chat)
    assert not group_waits(None, session, chat)


def test_what_cannot_be_read_waits_for_all() -> None:
    unknown = unreadable(50.0)
    assert unknown.groups == (EVERY,)
    assert group_waits(unknown, "any", "1@g.us")
    assert marked(unknown, record(49.0), uses_lookup=False).repeated is Doubt.WAIT
    [found] = conditions(unknown, ["a", "b"])
    assert "a, b" in found.message


def test_the_condition_names_sessions_that_there_are() -> None:
    [found] = conditions(HERE, ["b", "c"])
    assert (found.type, "(b)" in found.message, found.since) == (KIND, True, 200.0)
    assert "waguard release groups" in found.remedy
    assert conditions(HERE, ["c"]) == []
    assert conditions(released(HERE), ["a"]) == []
    assert conditions(None, ["a"]) == []
