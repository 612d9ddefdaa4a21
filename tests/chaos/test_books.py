"""Books that agree, and each way in which they do not."""

from dataclasses import replace
from typing import Any

import pytest

from waguard.chaos.books import (
    Books,
    Delivered,
    Incoming,
    Outgoing,
    answers,
    broken,
    repeated,
    uncertain,
)

A, B = Incoming("s1", "friend", "a"), Incoming("s1", "friend", "b")
TOOK_A = Delivered("s1", "friend", "a", "e1", 10.0)
TOOK_B = Delivered("s1", "friend", "b", "e2", 20.0)
SENT, UNSURE = Outgoing("s1", "x", "sent"), Outgoing("s1", "y", "uncertain")
BOOKS = Books(
    incoming=(A, B),
    delivered=(TOOK_A, TOOK_B),
    rows={("s1", "a"): 1, ("s1", "b"): 1},
    daemon_ends=(15.0,),
    outgoing=(SENT, UNSURE),
    server={("s1", "x"): 1},
)


def test_books_that_agree() -> None:
    assert broken(BOOKS) == []
    assert repeated(BOOKS) == 0
    assert uncertain(BOOKS) == [UNSURE]
    assert answers(BOOKS) == {"sent": 1, "uncertain": 1}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"delivered": (TOOK_A,)}, ["1 of 2 messages never came in: s1 “b”"]),
        (
            {"rows": {("s1", "a"): 2, ("s1", "b"): 1}},
            ["1 messages have no row, or more than one: s1 “a”"],
        ),
        ({"rows": {("s1", "a"): 1}}, ["1 messages have no row, or more than one: s1 “b”"]),
        ({"delivered": (TOOK_B, TOOK_A)}, ["s1: “b” overtook “a” in the chat with friend"]),
        (
            {"delivered": (TOOK_A, TOOK_B, replace(TOOK_B, event_id="e3", at=21.0))},
            [
                "s1: “b” came in as 2 events",
                "s1: “b” was delivered again although no daemon had ended",
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
            ["s1: “x” was sent, and nobody was ever told"],
        ),
        (
            {"outbox": {("s1", "x"): "delivered"}, "server": {}},
            ["s1: “x” is delivered, and the server never had it"],
        ),
    ],
)
def test_books_that_do_not_agree(changes: dict[str, Any], told: list[str]) -> None:
    assert broken(replace(BOOKS, **changes)) == told


def test_a_killed_daemon_may_repeat_the_same_event() -> None:
    again = replace(TOOK_A, at=16.0)
    books = replace(BOOKS, delivered=(TOOK_A, again, TOOK_B))
    assert broken(books) == []
    assert repeated(books) == 1


def test_the_outbox_has_the_last_word() -> None:
    books = replace(BOOKS, outbox={("s1", "y"): "read"}, server={("s1", "x"): 1, ("s1", "y"): 1})
    assert broken(books) == []
    assert uncertain(books) == []
    assert answers(books) == {"sent": 1, "read": 1}


def test_only_some_of_many_are_named() -> None:
    many = tuple(replace(A, text=str(number)) for number in range(7))
    (lost, _) = broken(replace(BOOKS, incoming=many, delivered=(), rows={}))
    assert lost.endswith("s1 “4” and 2 more")
