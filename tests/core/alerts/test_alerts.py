"""When which destination gets an alert."""

import itertools
from collections.abc import Iterable
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from waguard.core.alerts.alerts import (
    APART,
    FOLD,
    RETRY,
    RETRY_LONGEST,
    UNDELIVERABLE,
    Alert,
    AlertState,
    Delivered,
    Failed,
    Notification,
    Now,
    Observed,
    Send,
    adopted,
    advance,
    configured,
    undelivered,
)
from waguard.core.blame import Blame, Condition
from waguard.core.replace import replace

BEGAN: Final = 1_790_000_000.0
ONE, TWO = "one", "two"


def condition(session: str | None = "a", kind: str = "unlinked", reason: str = "") -> Condition:
    return Condition(
        session=session,
        type=kind,
        blame=Blame.OPERATOR,
        reason=reason or kind,
        message=f"{kind} it is",
        since=BEGAN - 5,
        remedy="Do it.",
    )


DOWN: Final = condition(None, "database_down")


class Drill:
    """Destinations that accept at once, unless ``refuses`` names them; ``sent`` is what each accepted."""

    def __init__(self, *names: str) -> None:
        self.state = configured(AlertState(), names or (ONE,))
        self.at = BEGAN
        self.quiet = False
        self.refuses: set[str] = set()
        self.tried: list[tuple[float, str]] = []
        self.sent: list[tuple[str, list[str], list[str]]] = []

    def see(self, *conditions: Condition, after: float = 0.0, complete: bool = True) -> None:
        """These are all, ``after`` seconds."""
        self.at += after
        self._handle(Observed(conditions, complete))

    def news(self) -> list[tuple[str, list[str], list[str]]]:
        """What was accepted since it was asked last."""
        found, self.sent = self.sent, []
        return found

    def _handle(self, fact: Observed | Delivered | Failed) -> None:
        self.state, sends = advance(self.state, fact, Now(self.at, self.quiet))
        for send in sends:
            self._answer(send)

    def _answer(self, send: Send) -> None:
        name, it = send.destination, send.notification
        self.tried.append((self.at, name))
        if name in self.refuses:
            self._handle(Failed(name, "it answered 500"))
        else:
            self.sent.append((name, names(it.begun), names(it.ended)))
            self._handle(Delivered(name))


def names(alerts: Iterable[Alert]) -> list[str]:
    return [f"{it.session or '*'} {it.type}" for it in alerts]


def test_begin_and_end_are_sent_a_minute_after_each() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD - 1)
    assert drill.news() == []
    drill.see(DOWN, after=1)
    assert drill.news() == [(ONE, ["* database_down"], [])]
    drill.see(DOWN, after=10_000)
    drill.see(after=1)
    drill.see(after=FOLD - 1)
    assert drill.news() == []
    drill.see(after=1)
    assert drill.news() == [(ONE, [], ["* database_down"])]
    drill.see(after=10_000)
    assert drill.news() == []


def test_what_is_over_within_its_minute_is_never_sent() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(after=FOLD - 1)
    drill.see(after=FOLD)
    assert drill.news() == []
    assert not drill.state.open


def test_an_end_that_was_none_is_not_sent() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    drill.news()
    drill.see(after=10)
    drill.see(DOWN, after=FOLD - 1)
    drill.see(DOWN, after=APART)
    assert drill.news() == []


def test_several_within_a_minute_are_one_message() -> None:
    drill = Drill()
    drill.see(condition("a"))
    drill.see(condition("a"), condition("b"), DOWN, after=FOLD - 1)
    drill.see(condition("a"), condition("b"), DOWN, after=1)
    assert drill.news() == [(ONE, ["a unlinked", "b unlinked", "* database_down"], [])]


def test_one_cause_is_sent_once_in_ten_minutes() -> None:
    drill = Drill()
    drill.see(condition("a"))
    drill.see(condition("a"), after=FOLD)
    drill.news()
    drill.see(condition("a"), condition("b"), after=1)
    drill.see(condition("a"), condition("b"), condition("c"), after=APART - 2)
    assert drill.news() == []
    drill.see(condition("a"), condition("b"), condition("c"), after=1)
    assert drill.news() == [(ONE, ["b unlinked", "c unlinked"], [])]


def test_another_cause_does_not_wait_for_that() -> None:
    drill = Drill()
    drill.see(condition("a"))
    drill.see(condition("a"), after=FOLD)
    drill.news()
    drill.see(condition("a"), DOWN, after=1)
    drill.see(condition("a"), DOWN, after=FOLD)
    assert drill.news() == [(ONE, ["* database_down"], [])]


def test_quiet_hours_hold_back_and_forget_what_is_over() -> None:
    drill = Drill()
    drill.quiet = True
    drill.see(DOWN, condition("a"))
    drill.see(DOWN, condition("a"), after=7_200)
    drill.see(condition("a"), after=3_600)
    assert drill.news() == []
    drill.quiet = False
    drill.see(condition("a"), after=1)
    assert drill.news() == [(ONE, ["a unlinked"], [])]
    drill.quiet = True
    drill.see(after=1_000)
    drill.see(after=1_000)
    assert drill.news() == []
    drill.quiet = False
    drill.see(after=1)
    assert drill.news() == [(ONE, [], ["a unlinked"])]


def test_only_what_a_person_must_act_on_is_an_alert_and_no_alert_is_about_alerts() -> None:
    drill = Drill()
    seen = (condition(kind="link", reason="offline"), condition(None, UNDELIVERABLE))
    assert seen[1].needs_person
    drill.see(*seen)
    drill.see(*seen, after=FOLD)
    assert drill.news() == []


def test_a_destination_that_fails_is_tried_later_and_later_and_holds_up_no_other() -> None:
    drill = Drill(ONE, TWO)
    drill.refuses = {ONE}
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    assert drill.news() == [(TWO, ["* database_down"], [])]
    for _ in range(20_000):
        drill.see(DOWN, after=1)
    at = [at for at, name in drill.tried if name == ONE]
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert pauses[:6] == [RETRY, 60, 120, 240, 480, RETRY_LONGEST]
    assert set(pauses[6:]) == {RETRY_LONGEST}
    [failing] = undelivered(drill.state).values()
    assert (failing.error, failing.failing_since) == ("it answered 500", BEGAN + FOLD)
    drill.refuses = set()
    drill.see(DOWN, after=RETRY_LONGEST)
    assert drill.news() == [(ONE, ["* database_down"], [])]
    assert not undelivered(drill.state)


def test_what_ended_undelivered_is_not_sent_and_no_trouble_is_left() -> None:
    drill = Drill()
    drill.refuses = {ONE}
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    assert undelivered(drill.state)
    drill.refuses = set()
    drill.see(after=1)
    drill.see(after=RETRY_LONGEST)
    assert drill.news() == []
    assert not undelivered(drill.state)


def test_what_is_unknown_is_not_over() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    drill.news()
    drill.see(after=1, complete=False)
    drill.see(after=APART, complete=False)
    assert drill.news() == []
    drill.see(after=1)
    drill.see(after=FOLD)
    assert drill.news() == [(ONE, [], ["* database_down"])]


def test_the_next_daemon_sends_nothing_twice_and_every_end() -> None:
    drill = Drill()
    drill.see(DOWN, condition("a"))
    drill.see(DOWN, condition("a"), after=FOLD)
    drill.news()
    drill.state = AlertState({}, drill.state.destinations)  # as it is kept
    drill.see(complete=False, after=100)
    drill.see(DOWN, after=100)
    drill.see(DOWN, after=FOLD)
    assert drill.news() == [(ONE, [], ["a unlinked"])]


def test_a_new_destination_gets_what_is_open_and_a_removed_one_nothing() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    drill.news()
    drill.state = configured(drill.state, (TWO,))
    drill.see(DOWN, after=1)
    assert drill.news() == [(TWO, ["* database_down"], [])]
    state, sends = advance(drill.state, Delivered(ONE), Now(drill.at))
    assert (state, list(sends)) == (drill.state, [])


def test_a_destination_gets_one_notification_at_a_time() -> None:
    state = configured(AlertState(), (ONE,))
    state, _ = advance(state, Observed((DOWN,), complete=True), Now(BEGAN))
    state, sends = advance(state, Observed((DOWN,), complete=True), Now(BEGAN + FOLD))
    assert len(sends) == 1
    both = Observed((DOWN, condition("a")), complete=True)
    state, _ = advance(state, both, Now(BEGAN + FOLD + 1))
    state, sends = advance(state, both, Now(BEGAN + 3 * FOLD))
    assert list(sends) == []
    state, [send] = advance(state, Delivered(ONE), Now(BEGAN + 3 * FOLD))
    assert names(send.notification.begun) == ["a unlinked"]


def test_what_ended_while_it_was_sent_gets_its_end() -> None:
    state = configured(AlertState(), (ONE,))
    state, _ = advance(state, Observed((DOWN,), complete=True), Now(BEGAN))
    state, _ = advance(state, Observed((DOWN,), complete=True), Now(BEGAN + FOLD))
    state, _ = advance(state, Observed((), complete=True), Now(BEGAN + FOLD + 1))
    state, _ = advance(state, Delivered(ONE), Now(BEGAN + FOLD + 2))
    state, _ = advance(state, Observed((), complete=True), Now(BEGAN + FOLD + 3))
    state, [send] = advance(state, Observed((), complete=True), Now(BEGAN + 2 * FOLD + 3))
    assert send.notification.begun == ()
    assert names(send.notification.ended) == ["* database_down"]


def test_a_clock_that_is_set_back_delays_nothing_for_long() -> None:
    drill = Drill()
    drill.see(condition("a"))
    drill.see(condition("a"), after=FOLD)
    drill.see(condition("a"), DOWN, after=1)
    drill.at -= 86_400
    drill.news()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    assert drill.news() == [(ONE, ["* database_down"], ["a unlinked"])]
    drill.refuses = {ONE}
    drill.see(DOWN, condition("b"))
    drill.see(DOWN, condition("b"), after=FOLD)
    drill.refuses = set()
    drill.at -= 86_400
    drill.see(DOWN, condition("b"))
    drill.see(DOWN, condition("b"), after=FOLD)
    assert drill.news() == [(ONE, ["b unlinked"], [])]


KNOWN: Final = (DOWN, condition("a"), condition("b"), condition("a", "supervision_failed"))
STEP: Final = st.tuples(
    st.sets(st.integers(0, len(KNOWN) - 1)),
    st.sampled_from((1.0, 20.0, FOLD, 300.0, APART)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(STEP, max_size=30))
def test_each_begin_is_followed_by_its_end_and_in_the_end_all_is_known(
    steps: list[tuple[set[int], float, bool, bool, bool]],
) -> None:
    drill = Drill()
    for open_ones, after, quiet, refused, complete in steps:
        drill.quiet, drill.refuses = quiet, {ONE} if refused else set()
        drill.see(*(KNOWN[it] for it in sorted(open_ones)), after=after, complete=complete)
    drill.quiet, drill.refuses = False, set()
    for _ in range(3):
        drill.see(*KNOWN[:2], after=APART + RETRY_LONGEST)
    known: set[str] = set()
    for _, begun, ended in drill.sent:
        assert known.isdisjoint(begun)
        assert known.issuperset(ended)
        known = (known | set(begun)) - set(ended)
    assert known == set(names([*drill.state.open.values()]))
    assert not undelivered(drill.state)


def test_what_a_destination_has_got_later_is_later_whatever_the_clock_says() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    before = drill.state.destinations
    drill.at -= 3_600
    drill.see()
    drill.see(after=FOLD)
    assert [ended for _, _, ended in drill.news()] == [[], ["* database_down"]]
    assert adopted(drill.state, before).destinations == drill.state.destinations
    assert adopted(configured(AlertState(), (ONE,)), before).destinations == before


def test_while_nothing_is_wrong_nothing_is_made() -> None:
    drill = Drill()
    before: AlertState = drill.state
    drill.see(condition(kind="link", reason="offline"), after=1)
    assert drill.state is before


def test_what_nobody_can_say_is_over_is_not_over() -> None:
    drill = Drill()
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    drill.news()
    unknown = frozenset({"database_down/database_down/"})
    for _ in range(3):
        drill.at += FOLD
        drill._handle(Observed((), complete=True, unknown=unknown))
    assert drill.news() == []
    drill.see(after=1)
    drill.see(after=FOLD)
    assert drill.news() == [(ONE, [], ["* database_down"])]


def test_of_two_states_of_a_destination_the_later_one_counts() -> None:
    drill = Drill(ONE, TWO)
    before = drill.state
    drill.see(DOWN)
    drill.see(DOWN, after=FOLD)
    sent = drill.state.destinations
    assert adopted(before, sent).destinations == sent
    assert adopted(drill.state, before.destinations).destinations == sent
    assert adopted(configured(before, [ONE]), sent).destinations == {ONE: sent[ONE]}
    waiting = replace(sent[ONE], sending=Notification())
    on_its_way = replace(before, destinations={ONE: waiting})
    assert adopted(on_its_way, sent).destinations == {ONE: waiting}, "its answer is to come"
