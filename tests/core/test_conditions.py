"""Conditions of messages on their way, and of what waguard itself found."""

import pytest

from waguard.core.blame import Blame, Condition
from waguard.core.conditions import (
    LATE_AFTER,
    DeadLetters,
    HeldChats,
    Receiver,
    Unidentified,
    acks_late,
    database_behind,
    degraded,
    fault,
    not_started,
    of_dead_letters,
    of_finding,
    of_held,
    of_receivers,
    of_unidentified,
)
from waguard.core.reconcile import Finding, Kind
from waguard.core.webhooks.delivery import Cause

AT = 1_732_233_600.0
WHEN = "2024-11-22T00:00:00+00:00"


def only(found: list[Condition]) -> Condition:
    (it,) = found
    return it


def letters(cause: Cause | None, count: int = 1, newest: int = 1, **more: object) -> DeadLetters:
    known: dict[str, object] = {"session": None, "since": AT, "sessions": 1, "error": f"e{newest}"}
    return DeadLetters(cause=cause, count=count, newest=newest, **{**known, **more})  # type: ignore[arg-type]


def test_a_receiver_that_works_in_time_is_well() -> None:
    assert of_receivers([Receiver(session=None, waiting=900, oldest=AT, error="once")]) == []


def test_a_receiver_that_takes_nothing_is_down_and_not_late_as_well() -> None:
    it = only(
        of_receivers(
            [
                Receiver(
                    session=None, waiting=1, oldest=AT, late=1, down_since=AT + 5, error="no answer"
                )
            ]
        )
    )
    assert (it.type, it.session, it.blame, it.since) == (
        "webhooks_down",
        None,
        Blame.OPERATOR,
        AT + 5,
    )
    assert it.message == (
        f"the receiver accepts no webhooks (no answer): 1 webhook waits, the first since {WHEN}"
    )


@pytest.mark.parametrize(("error", "said"), [(None, ""), ("it answered 500", " (it answered 500)")])
def test_a_receiver_that_is_late_says_how_much_waits(error: str | None, said: str) -> None:
    it = only(of_receivers([Receiver(session="a", waiting=1_204, oldest=AT, late=2, error=error)]))
    assert (it.type, it.session, it.since) == ("webhooks_late", "a", AT)
    assert it.message == (
        f"1,204 webhooks wait, the first since {WHEN}, in 2 chats for longer than {LATE_AFTER:.0f} s{said}"
    )


def test_dead_letters_are_one_condition_for_each_way_of_deciding() -> None:
    found = of_dead_letters(
        [
            letters(Cause.REFUSED, 3, newest=7),
            letters(Cause.EXPIRED, 2, newest=9, since=AT - 60),
            letters(None, 1, newest=2),
            letters(Cause.UNCERTAIN, newest=8),
            letters(Cause.UNDECRYPTABLE, newest=11),
            letters(Cause.REFUSED, newest=12, session="a"),
        ]
    )
    assert [(it.type, it.session) for it in found] == [
        ("dead_letters", None),
        ("letters_uncertain", None),
        ("letters_undecryptable", None),
        ("dead_letters", "a"),
    ]
    assert found[0].message.startswith("dead letters: 6 webhooks undeliverable")
    assert (found[0].message[-2:], found[0].since) == ("e9", AT - 60)
    assert "`waguard webhooks replay 8`" in found[1].remedy
    assert "`waguard webhooks discard 11`" in found[2].remedy


@pytest.mark.parametrize("cause", [Cause.REMOVED, Cause.OTHER_NUMBER, Cause.UNIDENTIFIED])
def test_what_a_person_decided_or_another_condition_says_is_none_of_them(cause: Cause) -> None:
    assert of_dead_letters([letters(cause, 5)]) == []


def test_chats_that_wait_name_their_session_and_the_first_of_them() -> None:
    it = only(of_unidentified([Unidentified(session="a", chats=2, since=AT, oldest="7@lid")]))
    assert (it.type, it.session, it.since) == ("numbers_unknown", "a", AT)
    assert "`waguard webhooks replay --chat a 7@lid`" in it.remedy
    it = only(of_held([HeldChats(session="a", chats=1, since=AT, why="it is disconnected")]))
    assert it.message == f"received messages of 1 chat wait since {WHEN}: it is disconnected"
    assert "`waguard webhooks drop a`" in it.remedy


def test_a_database_that_is_behind_is_the_hosts() -> None:
    it = database_behind(5_000, None, since=AT, age=61.2)
    assert (it.session, it.blame, it.since) == (None, Blame.HOST, AT)
    assert it.message == "the database is behind: 5,000 writes in the queue, the first for 61 s"
    it = database_behind(1, "the disk is full", since=AT, age=6.0)
    assert it.message.endswith("1 write in the queue, the first for 6 s (the disk is full)")


def test_what_waguard_found_is_of_its_session() -> None:
    found = (
        fault("a", "waguard failed", since=AT),
        acks_late("a", "2 wait", since=AT),
        not_started("a", "no worker runs", since=AT),
        of_finding(Finding("a", Kind.SAME_PHONE, "both", "Log one out."), since=AT),
    )
    assert [(it.type, it.reason, it.blame) for it in found] == [
        ("supervision_failed", "supervision_failed", Blame.HOST),
        ("acks_late", "acks_late", Blame.WHATSAPP),
        ("start", "not_started", Blame.HOST),
        ("same_phone", "same_phone", Blame.OPERATOR),
    ]
    assert {(it.session, it.since) for it in found} == {("a", AT)}
    assert found[-1].remedy == "Log one out."
    assert degraded(found[:2]) == "waguard failed; 2 wait"
    assert degraded(()) is None
