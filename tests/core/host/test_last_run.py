"""What a daemon says of the one before it."""

import pytest

from waguard.core.host.last_run import (
    AHEAD,
    UNREPORTED,
    Restoration,
    Run,
    account,
    began_after,
    deaths,
    evidence,
    impossible,
    reported,
    restoration,
    result,
)
from waguard.core.replace import replace

NOON = 1_790_078_400.0  # 2026-09-22 12:00:00 UTC
RUN = Run(pid=41, start_time=900, boot="first", began=NOON - 3600)


def summary(run: Run, *, boot: str = "first", seen: float = NOON, now: float = NOON + 5) -> str:
    (death,) = deaths(run, last_seen=seen, boot=boot, now=now)
    return account(death)


def test_a_run_that_says_nothing_of_its_end_was_killed_or_crashed() -> None:
    assert summary(RUN) == (
        "waguard (pid 41) was killed or crashed between 12:00:00 UTC, when it was last seen alive, and"
        " 12:00:05 UTC, when the next one began; the machine was not rebooted"
    )


def test_after_a_reboot_nobody_can_say_that_it_was_killed() -> None:
    assert summary(RUN, boot="second", now=NOON + 86_400) == (
        "waguard (pid 41) did not end in order between 2026-09-22 12:00:00 UTC, when it was last seen"
        " alive, and 2026-09-23 12:00:00 UTC, when the next one began; the machine was rebooted in"
        " between"
    )


def test_what_dies_while_it_stops_says_so() -> None:
    assert "last seen alive while it was stopping (SIGTERM), and 12:" in summary(
        replace(RUN, stopping="SIGTERM")
    )


def test_an_error_has_a_moment_of_its_own() -> None:
    failed = replace(RUN, ended=True, error="OSError(5)", stopping="SIGTERM")
    assert summary(failed) == (
        "waguard (pid 41) ended by an error at 12:00:00 UTC: OSError(5); the next one began at"
        " 12:00:05 UTC; the machine was not rebooted"
    )
    assert began_after(failed, last_seen=NOON, boot="first", now=NOON) is None


@pytest.mark.parametrize(
    ("boot", "machine"),
    [
        ("first", "the machine was not rebooted"),
        ("second", "the machine was rebooted in between"),
    ],
)
def test_an_orderly_end_is_no_death_and_a_reboot_after_it_is_known(boot: str, machine: str) -> None:
    run = replace(RUN, ended=True, stopping="SIGTERM")
    assert deaths(run, last_seen=NOON, boot=boot, now=NOON + 60) == ()
    assert began_after(run, last_seen=NOON, boot=boot, now=NOON + 60) == (
        f"waguard (pid 41) had ended in order at 12:00:00 UTC (SIGTERM); {machine}"
    )
    assert began_after(RUN, last_seen=NOON, boot=boot, now=NOON + 60) is None


def test_a_death_that_no_database_took_is_handed_on_and_so_many_are_kept() -> None:
    run = RUN
    for number in range(UNREPORTED + 5):
        found = deaths(run, last_seen=NOON + number, boot="first", now=NOON + number + 1)
        run = replace(RUN, pid=100 + number, unreported=found)
    assert len(run.unreported) == UNREPORTED
    assert [death.pid for death in run.unreported][-2:] == [102 + UNREPORTED, 103 + UNREPORTED]
    ended = replace(run, ended=True)
    assert deaths(ended, last_seen=NOON, boot="first", now=NOON) == run.unreported
    assert reported(run).unreported == ()


def test_the_evidence_is_what_is_known() -> None:
    (death,) = deaths(RUN, last_seen=NOON, boot="first", now=NOON + 5)
    assert evidence(death) == {
        "pid": 41,
        "start_time": 900,
        "boot": "first",
        "began": NOON - 3600,
        "last_seen": NOON,
        "next_began": NOON + 5,
        "rebooted": False,
    }


@pytest.mark.parametrize(
    ("began", "seen", "fits"),
    [
        (NOON, NOON + AHEAD, True),
        (NOON, NOON + AHEAD + 1, False),
        (NOON + AHEAD + 1, NOON, False),
        (-1.0, NOON, False),
        (NOON + 30, NOON, True),  # the clock was set back meanwhile
        (float("inf"), NOON, False),
        (float("nan"), NOON, False),
    ],
)
def test_what_is_still_to_come_is_not_believed(began: float, seen: float, *, fits: bool) -> None:
    run = replace(RUN, began=began)
    assert (impossible(run, last_seen=seen, now=NOON) is None) is fits
    died = deaths(run, last_seen=seen, boot="first", now=NOON)
    handed_on = replace(RUN, unreported=tuple(replace(d, last_seen=seen) for d in died))
    assert (impossible(handed_on, last_seen=NOON, now=NOON) is None) is fits


def test_a_clock_that_was_set_back_a_little_makes_no_death_after_the_next_start() -> None:
    (death,) = deaths(RUN, last_seen=NOON + 30, boot="first", now=NOON)
    assert death.last_seen == death.next_began == NOON


@pytest.mark.parametrize(
    ("living", "gone", "running", "counts", "words"),
    [
        ([], [], {}, Restoration(), "no worker was left, and none was started"),
        (
            [("a", 1), ("b", 2), ("c", 3)],
            ["d"],
            {"a": 1, "b": 2, "c": 9, "d": 8, "e": 7},
            Restoration(adopted=2, replaced=1, lost=1, started=2),
            (
                "2 workers were adopted, 1 worker was replaced, 1 worker was gone already,"
                " 2 sessions were started"
            ),
        ),
        # two workers of one session: an earlier generation was left too
        (
            [("a", 1), ("a", 2)],
            ["a"],
            {"a": 2},
            Restoration(adopted=1, ended=1),
            "1 worker was adopted, 1 worker was ended",
        ),
        ([("a", 1)], [], {}, Restoration(ended=1), "1 worker was ended"),
    ],
)
def test_the_workers_that_were_left_are_counted(
    living: list[tuple[str, int]],
    gone: list[str],
    running: dict[str, int],
    counts: Restoration,
    words: str,
) -> None:
    assert restoration(living, gone, running) == counts
    assert result(counts) == words
