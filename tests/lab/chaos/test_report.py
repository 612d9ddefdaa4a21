"""What a campaign came to."""

from waguard.lab.chaos.report import Healed, Line, Messages, Outcome, as_json, by_kind

HEALED = (
    Healed("kill", 3.0, 120.0),
    Healed("hang", 9.0, 120.0),
    Healed("kill", 1.0, 210.0),
    Healed("kill", 1.5, 120.0),
)


def test_each_kind_has_a_line() -> None:
    assert by_kind(HEALED) == [Line("hang", 1, 9.0, 9.0, 120.0), Line("kill", 3, 1.5, 3.0, 210.0)]
    assert by_kind(()) == []


def test_the_exit_code_is_0_only_when_nothing_was_broken() -> None:
    assert Outcome(seed=1, sessions=2, healed=HEALED).exit_code == 0
    assert Outcome(seed=1, sessions=2, healed=HEALED, broken=("a stray",)).exit_code == 1
    assert Outcome(seed=1, sessions=2, healed=HEALED, manual_steps=1).exit_code == 1


def test_a_machine_reads_it() -> None:
    outcome = Outcome(
        seed=1,
        sessions=2,
        healed=HEALED,
        broken=("a stray",),
        left_out=("fill disk",),
        messages=Messages(
            incoming=8,
            undecryptable=3,
            uncertain=1,
            lost=4,
            repeated=1,
            overtaken=2,
            misfiled=5,
            outgoing={"sent": 2},
            sent_twice=6,
            on_phone=7,
            unseen=9,
            kinds={"poll": 3},
            files_again=1,
            votes=3,
            votes_without_page=1,
            acts={"sent": 2},
            deletions_unheard=1,
        ),
        seconds=9.99,
    )
    assert as_json(outcome) == {
        "seed": 1,
        "sessions": 2,
        "faults": 4,
        "by_kind": {
            "hang": {"count": 1, "median": 9.0, "worst": 9.0, "bound": 120.0},
            "kill": {"count": 3, "median": 1.5, "worst": 3.0, "bound": 210.0},
        },
        "broken": ["a stray"],
        "manual_steps": 0,
        "left_out": ["fill disk"],
        "messages": {
            "incoming": 8,
            "undecryptable": 3,
            "uncertain": 1,
            "lost": 4,
            "repeated": 1,
            "overtaken": 2,
            "misfiled": 5,
            "outgoing": {"sent": 2},
            "sent_twice": 6,
            "on_phone": 7,
            "unseen": 9,
            "kinds": {"poll": 3},
            "files_again": 1,
            "votes": 3,
            "votes_without_page": 1,
            "acts": {"sent": 2},
            "deletions_unheard": 1,
        },
        "seconds": 10.0,
    }
