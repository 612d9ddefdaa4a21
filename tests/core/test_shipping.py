"""Whose profile is the newest, and when the next shipment is due."""

import pytest

from waguard.core.shipping import (
    AHEAD,
    MESSAGES,
    WITHIN,
    Claim,
    Decision,
    LayDown,
    Local,
    Newer,
    Note,
    Retire,
    Scan,
    Use,
    about,
    decide,
    due_in,
    newer_words,
    not_shared_words,
)

A, B = Note("a", 5), Note("b", 6)
NOTHING = Claim(note=A)
SHIPPED = Claim(note=A, sealed=b"x", shipped_at=9.0)
ORDERLY = Claim(note=A, sealed=b"x", shipped_at=9.0, orderly=True)
LATE = 65.0


def local(
    note: Note | None, *, stored: bool = True, paired: bool = True, written_at: float = 8.0
) -> Local:
    return Local(note=note, stored=stored, paired=paired, written_at=written_at)


@pytest.mark.parametrize(
    ("claim", "seen", "host", "decision"),
    [
        # nobody has ever shared it
        (None, local(None), "a", Use()),
        (None, local(B), "a", Use()),
        # the host that used it last
        (SHIPPED, local(A), "a", Use()),
        (ORDERLY, local(A), "a", Use()),
        (NOTHING, local(A), "a", Use()),
        (SHIPPED, local(None), "a", Use()),  # an older waguard replaced its profile
        (SHIPPED, local(Note("a", 3)), "a", LayDown(rolled_back=True)),  # a clone of the machine
        (SHIPPED, local(None, stored=False, paired=False), "a", LayDown(rolled_back=True)),
        (ORDERLY, local(A, stored=False), "a", LayDown(rolled_back=False)),
        (NOTHING, local(None, stored=False, paired=False), "a", Use()),
        # another host
        (SHIPPED, local(None, stored=False, paired=False), "b", LayDown(rolled_back=True)),
        (ORDERLY, local(None, stored=False, paired=False), "b", LayDown(rolled_back=False)),
        (SHIPPED, local(Note("b", 3)), "b", LayDown(rolled_back=True)),
        # a database that was restored from a copy, or a host that shared nothing meanwhile
        (SHIPPED, local(B), "b", Newer()),
        # the database was away before it could be told of that lease
        (SHIPPED, local(Note("a", 6)), "a", Use()),
        (SHIPPED, local(Note("b", 3), written_at=9.0 + AHEAD), "b", LayDown(rolled_back=True)),
        (SHIPPED, local(Note("b", 3), written_at=9.5 + AHEAD), "b", Newer()),
        (SHIPPED, local(None, written_at=9.5 + AHEAD), "b", Newer()),  # paired again
        (SHIPPED, local(None, paired=False, written_at=9e9), "b", LayDown(rolled_back=True)),
        (NOTHING, local(B), "b", Newer()),
        (
            SHIPPED,
            local(A),
            "b",
            LayDown(rolled_back=True),
        ),  # copied by hand, before it was shipped
        (ORDERLY, local(A), "b", LayDown(rolled_back=False)),  # after it: the same is shipped
        (
            SHIPPED,
            local(A, written_at=9.5),
            "b",
            Use(),
        ),  # copied by hand, and newer than what is shipped
        (NOTHING, local(A), "b", Use()),  # copied by hand, and there is nothing else
        (NOTHING, local(Note("b", 3)), "b", Retire()),
        (NOTHING, local(None), "b", Retire()),
        (NOTHING, local(None, stored=False, paired=False), "b", Scan()),
        (NOTHING, local(None, paired=False), "b", Scan()),
    ],
)
def test_what_a_session_is_started_with(
    claim: Claim | None, seen: Local, host: str, decision: Decision
) -> None:
    assert decide(claim, seen, host) == decision


def test_who_has_to_decide_reads_both_times() -> None:
    words = newer_words(SHIPPED, local(A, written_at=1.79e9))
    times = "written at 2026-09-21T14:13:20Z, the session was shared at 1970-01-01T00:00:09Z"
    assert words.endswith(times)
    # the epoch says so, and the times may say the opposite
    words = newer_words(SHIPPED, local(B))
    assert "b used it in epoch 6" in words
    assert "by a in epoch 5" in words
    assert "is not shared" in newer_words(NOTHING, local(B))


@pytest.mark.parametrize(
    ("changes", "first_ago", "last_ago", "due"),
    [
        (0, None, None, None),
        (1, 0.0, 0.0, WITHIN),
        (1, 4.0, 4.0, WITHIN - 4.0),
        (MESSAGES - 1, 1.0, 0.0, WITHIN - 1.0),
        (MESSAGES, 1.0, 0.0, 0.0),
        (1, 99.0, 99.0, 0.0),
        (0, None, 10.0, LATE - 10.0),  # what Chromium writes late
        (0, None, LATE + 1.0, 0.0),
    ],
)
def test_when_the_next_shipment_is_due(
    changes: int, first_ago: float | None, last_ago: float | None, due: float | None
) -> None:
    assert due_in(changes, first_ago, last_ago) == due


def test_who_is_not_shared_is_named() -> None:
    assert not_shared_words({}) is None
    words = not_shared_words({"b": "it is large", "a": "its disk is away"})
    assert words
    assert words.endswith("as they are: a: its disk is away; b: it is large")


def test_a_piece_is_bound_to_its_place() -> None:
    places = [
        about("s", 1, "f", 1),
        about("s", 1, "f", 11),
        about("s", 11, "f", 1),
        about("s1", 1, "f", 1),
    ]
    assert len(set(places)) == len(places)
