"""What came whole and happened once, and each way in which it did not."""

from typing import Any

import pytest

from waguard.core.replace import replace
from waguard.lab.chaos.kinds import Coming
from waguard.lab.chaos.kinds_check import (
    Act,
    Arrived,
    KindsCheck,
    Vote,
    broken,
    kinds,
    not_at_server,
    states,
    without_page,
)

POLL, PICTURE = ("s1", "P"), ("s1", "F")
QUESTION = Coming(
    kind="poll",
    text="?",
    fields={},
    content={"poll_creation": {"question": "?"}},
    people=frozenset({"62@c.us"}),
)
FILE = Coming(kind="picture", text="look", fields={}, file="abc")
ASKED = Arrived(content=QUESTION.content, people=QUESTION.people)
SHOWN = Arrived(content={}, file="abc")
VOTE = Vote(poll=POLL, options=("red",), watched=True)
EDIT, AGAIN = Act("s1", "M", "edit", "a"), Act("s1", "M", "edit", "b")
REVOKE = Act("s1", "N", "revoke")
CHECK = KindsCheck(
    coming={POLL: QUESTION, PICTURE: FILE},
    arrived={POLL: [ASKED], PICTURE: [SHOWN, replace(SHOWN, file="")]},
    files={PICTURE: "abc"},
    votes=[VOTE],
    counted=[replace(VOTE, watched=False)],
    reported=[(POLL, "e1"), (POLL, "e1")],
    going={("s1", "O"): {"type": "image", "filehash": "x"}},
    at_server={("s1", "O"): {"type": "image", "filehash": "x", "body": ""}},
    acts=[(EDIT, "sent"), (AGAIN, "accepted"), (REVOKE, "sent")],
    outbox=[(EDIT, "sent"), (AGAIN, "sent"), (REVOKE, "sent")],
    acted=[EDIT, AGAIN, REVOKE],
)


def test_what_agrees() -> None:
    assert broken(CHECK) == []
    assert kinds(CHECK) == {"poll": 1, "picture": 1}
    assert states(CHECK) == {"sent": 3}
    assert without_page(CHECK) == 0
    assert not_at_server(CHECK) == []


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        (
            {"arrived": {POLL: [replace(ASKED, content={})]}},
            "s1: poll P: {}, not {'poll_creation': {'question': '?'}}",
        ),
        (
            {"arrived": {POLL: [replace(ASKED, people=frozenset())]}},
            "s1: poll P: the people are [], not ['62@c.us']",
        ),
        (
            {"arrived": {PICTURE: [replace(SHOWN, file="other")]}},
            "s1: picture F: another file came with it",
        ),
        ({"files": {PICTURE: "404 b''"}}, "s1: picture F: its file is not whole: 404 b''"),
        ({"files": {}}, "s1: picture F: its file is not whole: None"),
        ({"counted": [], "reported": []}, "s1: poll P: its vote is lost"),
        (
            {"counted": [VOTE, VOTE]},
            "s1: poll P: its vote was counted 2 times",
        ),
        (
            {"counted": [replace(VOTE, options=("green",))]},
            "s1: poll P: nobody voted ('green',)",
        ),
        ({"reported": []}, "s1: poll P: its vote came in as 0 events"),
        (
            {"reported": [(POLL, "e1"), (POLL, "e2")]},
            "s1: poll P: its vote came in as 2 events",
        ),
        (
            {"at_server": {("s1", "O"): {"type": "video", "filehash": "x"}}},
            "s1: image O: the server has other type",
        ),
        ({"acted": [EDIT, AGAIN, AGAIN, REVOKE]}, "s1: edit “b” of M happened 2 times"),
        (
            {"acted": [EDIT, REVOKE]},
            "s1: edit “b” of M is sent, and the server never heard of it",
        ),
        ({"acted": [AGAIN, EDIT, REVOKE]}, "s1: edit “b” of M overtook s1: edit “a” of M"),
        (
            {"outbox": [(EDIT, "refused"), (AGAIN, "sent"), (REVOKE, "sent")]},
            "s1: edit “a” of M is refused, and it happened",
        ),
        (
            {
                "outbox": [(EDIT, "sent"), (AGAIN, "cancelled"), (REVOKE, "sent")],
                "acted": [EDIT, REVOKE],
            },
            "s1: edit “b” of M is cancelled, and nothing took its place",
        ),
        (
            {"acted": [EDIT, AGAIN, REVOKE, Act("s1", "M", "edit", "c")]},
            "s1: edit “c” of M: nobody asked for it",
        ),
        ({"sent_of_acts": ["true_x_A"]}, "an act was reported as a message: true_x_A"),
        ({"left": ["media/coming/x"]}, "a file was left behind: media/coming/x"),
    ],
)
def test_what_does_not_agree(changes: dict[str, Any], reported: str) -> None:
    assert broken(replace(CHECK, **changes)) == [reported]


def test_what_is_excused() -> None:
    """What nobody can know, what a newer one made needless, and what was deleted since."""
    unsure = replace(CHECK, outbox=[(EDIT, "uncertain"), (AGAIN, "sent"), (REVOKE, "sent")])
    assert broken(unsure) == broken(replace(unsure, acted=[AGAIN, REVOKE])) == []
    replaced = replace(CHECK, outbox=[(EDIT, "cancelled"), (AGAIN, "sent"), (REVOKE, "sent")])
    assert broken(replace(replaced, acted=[AGAIN, REVOKE])) == []
    gone = replace(CHECK, votes=[replace(VOTE, watched=False)], counted=[], reported=[])
    assert broken(gone) == []
    assert without_page(gone) == 1
    deleted = {("s1", "O"): {"type": "revoked", "filehash": "x"}}
    assert broken(replace(CHECK, at_server=deleted)) == []


def test_a_deletion_that_the_page_did_alone_is_counted() -> None:
    alone = replace(CHECK, acted=[EDIT, AGAIN])
    assert broken(alone) == []
    assert not_at_server(alone) == [REVOKE]
