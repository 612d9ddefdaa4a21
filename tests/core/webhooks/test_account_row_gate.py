"""Whether a message may leave, by the application's row; and when that row is corrected."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.replace import replace
from waguard.core.webhooks.account_row_gate import (
    DISPUTED,
    LIMITS,
    NEW,
    AccountRow,
    Correct,
    Decision,
    Hold,
    Known,
    Read,
    RepeatReady,
    RowHistory,
    Send,
    corrected,
    disputed_since,
    evaluate,
)
from waguard.core.webhooks.stored import Unknown

RIGHT = AccountRow(status="connected", phone="62811", generation=3)
WRONG = replace(RIGHT, status="authenticated")
BARE = replace(RIGHT, phone=None)
UP = Known()
CORRECT = Correct("authenticated", 3)


def decide(read: Read, known: Known = UP, history: RowHistory = NEW) -> Decision:
    return evaluate(read, known, history, now=1_000.0)[0]


def test_a_row_that_is_right_lets_messages_go() -> None:
    assert decide(RIGHT) == Send()
    assert decide(BARE) == Send()


@pytest.mark.parametrize(
    "status", ["qr_scanning", "authenticated", "disconnected", "failed", "error", ""]
)
def test_a_row_that_is_wrong_is_corrected(status: str) -> None:
    assert decide(replace(RIGHT, status=status)) == Correct(status, 3)


@pytest.mark.parametrize(
    ("read", "known"),
    [
        (Unknown("time-out"), UP),
        (None, UP),
        (replace(RIGHT, deleted=True), UP),
        (replace(WRONG, deleted=True), UP),
        (replace(RIGHT, active=False), UP),
        (replace(WRONG, active=False), UP),
        (replace(RIGHT, wanted=False), UP),
        (replace(WRONG, wanted=False), UP),
        (replace(WRONG, status="disconnected", reason="user_initiated"), UP),
        (RIGHT, Known(why_not="it is disconnected")),
        (WRONG, Known(why_not="it is disconnected")),
        (RIGHT, Known(row_pending=True)),
        (WRONG, Known(row_pending=True)),
    ],
)
def test_what_is_not_ours_to_correct_is_held(read: Read, known: Known) -> None:
    decision = decide(read, known)
    assert isinstance(decision, Hold)
    assert decision.why
    assert decision.until is None


def test_an_old_reason_of_a_row_that_is_connected_does_not_hold() -> None:
    assert decide(replace(RIGHT, reason="user_initiated")) == Send()


def run(reads: Sequence[tuple[float, Read]]) -> tuple[list[Decision], RowHistory]:
    """What is decided, each correction changing the row."""
    history, decided = NEW, []
    for now, read in reads:
        decision, history = evaluate(read, UP, history, now=now)
        decided.append(decision)
        if isinstance(decision, Correct):
            history = corrected(history, now=now)
    return decided, history


def test_the_row_is_corrected_once_a_second_at_most() -> None:
    decided, _ = run([(0.0, WRONG), (0.5, WRONG), (0.99, WRONG), (1.0, WRONG)])
    waiting = Hold("its row says authenticated", until=1.0)
    assert decided == [CORRECT, waiting, waiting, CORRECT]


def test_five_corrections_in_a_minute_are_a_dispute() -> None:
    flips = [(float(n), WRONG) for n in range(6)]
    decided, history = run(flips)
    assert decided == [CORRECT] * 5 + [Hold(DISPUTED, until=64.0)]
    assert disputed_since(history, now=5.0) == 5.0
    assert disputed_since(run(flips[:5])[1], now=5.0) is None


def test_in_a_dispute_messages_stay_held_until_the_row_was_right_for_a_minute() -> None:
    flips: list[tuple[float, Read]] = [(float(n), WRONG) for n in range(6)]
    right: list[tuple[float, Read]] = [(10.0, RIGHT), (64.9, RIGHT), (65.0, RIGHT)]
    decided, history = run([*flips, *right])
    assert decided[6:] == [Hold(DISPUTED), Hold(DISPUTED), Send()]
    assert disputed_since(history, now=65.0) is None


def test_in_a_dispute_it_is_corrected_once_a_minute() -> None:
    decided, history = run([(float(n), WRONG) for n in range(600)])
    at = [n for n, it in enumerate(decided) if it == CORRECT]
    assert at == [0, 1, 2, 3, 4, *range(64, 600, 60)]
    assert disputed_since(history, now=600.0) == 5.0


def test_a_correction_counts_for_a_minute() -> None:
    flips = [(float(n), WRONG) for n in range(5)]
    assert run([*flips, (59.9, WRONG)])[0][-1] == Hold(DISPUTED, until=64.0)
    assert run([*flips, (60.0, WRONG)])[0][-1] == CORRECT


def test_five_corrections_in_a_longer_time_are_none() -> None:
    decided, history = run([(15.0 * n, WRONG) for n in range(40)])
    assert decided == [CORRECT] * 40
    assert disputed_since(history, now=700.0) is None


def test_ready_is_repeated_after_a_correction_where_the_number_is_missing() -> None:
    assert run([(0.0, WRONG), (1.0, BARE), (1.1, BARE)])[0] == [CORRECT, RepeatReady(), Send()]
    assert run([(0.0, WRONG), (1.0, RIGHT), (1.1, BARE)])[0] == [CORRECT, Send(), Send()]
    assert run([(0.0, WRONG), (1.0, BARE), (61.1, BARE)])[0] == [CORRECT, RepeatReady(), Send()]
    displaced = replace(BARE, displaced=True)
    assert run([(0.0, WRONG), (1.0, displaced)])[0] == [CORRECT, Send()]


def test_ready_is_repeated_once_a_minute_at_most() -> None:
    reads = [(0.0, WRONG), (1.0, BARE), (20.0, WRONG), (21.0, BARE), (61.0, BARE), (62.0, BARE)]
    decided, _ = run(reads)
    assert decided == [CORRECT, RepeatReady(), CORRECT, Send(), RepeatReady(), Send()]


def test_an_attempt_that_changed_nothing_is_no_correction() -> None:
    history = NEW
    for now in range(20):
        decision, history = evaluate(WRONG, UP, history, now=float(now))
        assert decision == CORRECT
    assert evaluate(BARE, UP, history, now=20.0)[0] == Send()


reads = st.builds(
    AccountRow,
    status=st.sampled_from(["connected", "authenticated", "disconnected"]),
    generation=st.just(3),
    active=st.sampled_from([True, True, True, False]),
    deleted=st.sampled_from([False, False, False, True]),
    wanted=st.sampled_from([True, True, True, False]),
    reason=st.sampled_from([None, None, "user_initiated"]),
    phone=st.sampled_from([None, "1"]),
    displaced=st.booleans(),
) | st.sampled_from([None, Unknown("why")])
known = st.sampled_from([UP, UP, UP, Known(row_pending=True), Known(why_not="no")])


@given(st.lists(st.tuples(st.floats(0.0, 30.0), reads, known, st.booleans()), max_size=120))
def test_the_gate_keeps_its_promises_whatever_happens(
    steps: list[tuple[float, Read, Known, bool]],
) -> None:
    now, history = 0.0, NEW
    attempts: list[float] = []
    changes: list[float] = []
    readies: list[float] = []
    for pause, read, of_ours, works in steps:
        now += pause
        decision, history = evaluate(read, of_ours, history, now=now)
        if isinstance(decision, Hold):
            assert decision.until is None or decision.until > now
            continue
        assert isinstance(read, AccountRow)
        assert read.active
        assert read.wanted
        assert not read.deleted
        assert of_ours == UP
        match decision:
            case Send():
                assert read.status == "connected"
            case RepeatReady():
                assert read.status == "connected"
                assert read.lacks_number
                assert changes
                assert not readies or changes[-1] > readies[-1] or now >= readies[-1] + 60.0
                assert all(now - at >= LIMITS.between_ready for at in readies)
                readies.append(now)
            case Correct():
                assert read.status == decision.said != "connected"
                assert all(now - at >= LIMITS.between_corrections - 1e-6 for at in attempts)
                recent = [at for at in changes if now - at < LIMITS.period]
                assert len(recent) < LIMITS.corrections + 1
                attempts.append(now)
                if works:
                    history = corrected(history, now=now)
                    changes.append(now)
