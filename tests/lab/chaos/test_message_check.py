"""Books that agree, and each way in which they do not."""

from typing import Any

import pytest

from waguard.core.replace import replace
from waguard.lab.chaos.message_check import (
    RECONCILED,
    WRONG_LIMIT,
    Dropped,
    Incoming,
    MessageCheck,
    Outgoing,
    Span,
    Stored,
    answers,
    broken,
    lost,
    misfiled,
    overtaken,
    repeated,
    sent_twice,
    uncertain,
    unseen,
    unsure,
)

A, B = Incoming("s1", "friend", "a", "id-a"), Incoming("s1", "friend", "b", "id-b")
C = Incoming("s1", "friend", "c", "id-c")
STORED_A = Stored("s1", "friend", "a", "e1", 10.0)
STORED_B = Stored("s1", "friend", "b", "e2", 20.0)
STORED_C = Stored("s1", "friend", "c", "e4", 30.0)
SENT, UNSURE = Outgoing("s1", "x", "sent"), Outgoing("s1", "y", "uncertain")
SENT_X = Stored("s1", "friend", "x", "", 40.0, "id-x")
SENT_P = Stored("s1", "friend", "p", "e5", 50.0, "id-p")
DROPPED_B = Dropped("s1", "id-b", "e2", "no session is connected")
WRONG = Span(
    session="s1",
    row="disconnected",
    reported="connected",
    began=61.0,
    seconds=2.5,
    seen=100,
    own=False,
)
CHECK = MessageCheck(
    incoming=(A, B),
    stored=(STORED_A, STORED_B),
    inbox={("s1", "a"): 1, ("s1", "b"): 1},
    daemon_kills=(15.0,),
    outgoing=(SENT, UNSURE),
    server={("s1", "x"): 1},
    sent=(SENT_X, SENT_P),
    chats={("s1", "x"): "friend", ("s1", "p"): "friend"},
    on_phone=(("s1", "p"),),
    faults=1,
)


def test_ledgers_that_agree() -> None:
    assert broken(CHECK) == []
    assert (lost(CHECK), misfiled(CHECK), overtaken(CHECK), unseen(CHECK)) == ([], [], [], [])
    assert sent_twice(CHECK) == {}
    assert repeated(CHECK) == 0
    assert uncertain(CHECK) == [UNSURE]
    assert answers(CHECK) == {"sent": 1, "uncertain": 1}


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"stored": (STORED_A,)}, ["1 of 2 messages are lost: s1 “b”"]),
        (
            {"stored": (STORED_A,), "dropped": (DROPPED_B,)},
            [
                "1 of 2 messages are lost: s1 “b”",
                "1 times the application dropped one: no session is connected",
            ],
        ),
        (
            {"uncertain": {"e1": "id-a", "e2": "id-b"}},
            ["2 messages are uncertain after 1 faults"],
        ),
        (
            {"inbox": {("s1", "a"): 2, ("s1", "b"): 1}},
            ["1 messages have no row, or more than one: s1 “a”"],
        ),
        ({"inbox": {("s1", "a"): 1}}, ["1 messages have no row, or more than one: s1 “b”"]),
        ({"stored": (STORED_B, STORED_A)}, ["s1: “b” overtook “a” in the chat with friend"]),
        (
            {"stored": (STORED_A, STORED_B, replace(STORED_B, event_id="e3", at=21.0))},
            [
                "s1: “b” came in as 2 events",
                "s1: “b” was stored again, and nothing excuses that",
            ],
        ),
        ({"server": {("s1", "x"): 2}}, ["s1: “x” was sent 2 times"]),
        ({"server": {}}, ["s1: “x” is sent, and the server never had it"]),
        (
            {"outgoing": (replace(SENT, answer="refused"),)},
            ["s1: “x” is refused, and the server has it"],
        ),
        (
            {"outgoing": (replace(SENT, answer="none"),)},
            ["s1: “x” was sent, and nobody got an answer"],
        ),
        (
            {"outbox": {("s1", "x"): "delivered"}, "server": {}},
            ["s1: “x” is delivered, and the server never had it"],
        ),
        (
            {"sent": (SENT_X, SENT_P, SENT_X)},
            ["s1: the application has 2 rows of the sent message id-x"],
        ),
        (
            {"sent": (SENT_X, replace(SENT_P, chat="me"))},
            ["1 of 4 rows are of another contact: s1 “p”"],
        ),
        (
            {"stored": (replace(STORED_A, chat="me"), STORED_B)},
            ["1 of 4 rows are of another contact: s1 “a”"],
        ),
        (
            {"wrong_rows": (WRONG,)},
            [
                "s1: its row was disconnected for 2.5 s while the API said connected, from 00:01:01 UTC"
            ],
        ),
    ],
)
def test_ledgers_that_do_not_agree(changes: dict[str, Any], reported: list[str]) -> None:
    assert broken(replace(CHECK, **changes)) == reported


def test_what_could_not_be_decrypted_at_first_may_be_overtaken_and_nothing_else() -> None:
    sealed = replace(CHECK, incoming=(replace(A, sealed=True), B), stored=(STORED_B, STORED_A))
    assert broken(sealed) == []
    assert broken(replace(sealed, stored=(STORED_B,))) == ["1 of 2 messages are lost: s1 “a”"]
    doubled = replace(sealed, stored=(STORED_B, STORED_A, replace(STORED_A, event_id="e3")))
    assert broken(doubled)[0] == "s1: “a” came in as 2 events"
    assert broken(replace(sealed, inbox={("s1", "b"): 1})) == [
        "1 messages have no row, or more than one: s1 “a”"
    ]
    others = replace(sealed, incoming=(A, replace(B, sealed=True), C))
    others = replace(others, inbox={**CHECK.inbox, ("s1", "c"): 1})
    assert broken(replace(others, stored=(STORED_C, STORED_A, STORED_B))) == [
        "s1: “c” overtook “a” in the chat with friend"
    ]


def test_what_waguard_lists_as_uncertain_is_not_lost() -> None:
    check = replace(CHECK, stored=(STORED_A,), dropped=(DROPPED_B,), uncertain={"e2": "id-b"})
    assert broken(check) == []
    assert unsure(check) == [B]
    assert unsure(replace(check, stored=(STORED_A, STORED_B))) == []  # it was taken after all


def test_what_no_column_holds_is_listed_as_a_dead_letter() -> None:
    check = replace(CHECK, incoming=(A, replace(B, unstorable=True)), stored=(STORED_A,))
    assert broken(check) == ["1 of 2 messages are lost: s1 “b”"]
    assert broken(replace(check, dead=frozenset({"id-b"}))) == []
    # another one that is a dead letter is lost: its users do not have it
    other = replace(CHECK, stored=(STORED_A,), dead=frozenset({"id-b"}))
    assert broken(other) == ["1 of 2 messages are lost: s1 “b”"]


def test_what_was_sent_and_has_no_row_is_counted() -> None:
    assert unseen(replace(CHECK, sent=(SENT_X,))) == [("s1", "p")]


def test_a_killed_daemon_may_repeat_the_same_event() -> None:
    again = replace(STORED_A, at=16.0)
    check = replace(CHECK, stored=(STORED_A, again, STORED_B))
    assert broken(check) == []
    assert repeated(check) == 1
    assert broken(replace(check, finds_stored=True)) != []  # it could have known


def test_an_answer_that_never_arrived_may_be_repeated_once() -> None:
    first = replace(STORED_B, at=20.0)
    second, third = replace(first, at=21.0), replace(first, at=22.0)
    check = replace(CHECK, stored=(STORED_A, first, second), unheard=(("e2", 20.0),))
    assert broken(check) == []
    assert broken(replace(check, unheard=(("e1", 20.0),))) != []  # another event's
    assert broken(replace(check, stored=(STORED_A, first, second, third))) == [
        "s1: “b” was stored again, and nothing excuses that"
    ]


def test_a_row_that_is_wrong_for_a_moment() -> None:
    short = replace(WRONG, seconds=WRONG_LIMIT)
    assert broken(replace(CHECK, wrong_rows=(short,))) == []
    own = replace(WRONG, own=True, seconds=RECONCILED)  # the application's own doing
    assert broken(replace(CHECK, wrong_rows=(own,))) == []
    assert broken(replace(CHECK, wrong_rows=(replace(own, seconds=RECONCILED + 0.1),))) != []


@pytest.mark.parametrize(("seen", "lines"), [(5, 0), (10, 0), (11, 1)])
def test_a_row_of_a_machine_that_has_no_time_for_observations(seen: int, lines: int) -> None:
    slow = replace(WRONG, seconds=3.2, seen=seen)
    assert len(broken(replace(CHECK, wrong_rows=(slow,)))) == lines


def test_the_outbox_has_the_final_say() -> None:
    check = replace(CHECK, outbox={("s1", "y"): "read"}, server={("s1", "x"): 1, ("s1", "y"): 1})
    assert broken(check) == []
    assert uncertain(check) == []
    assert answers(check) == {"sent": 1, "read": 1}


def test_only_some_of_many_are_named() -> None:
    many = tuple(replace(A, text=str(number)) for number in range(7))
    (lost, _) = broken(replace(CHECK, incoming=many, stored=(), inbox={}))
    assert lost.endswith("s1 “4” and 2 more")
