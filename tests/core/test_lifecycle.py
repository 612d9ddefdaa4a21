from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from waguard.core.lifecycle import (
    HAS_PROCESS,
    TRANSITIONS,
    WANTED_UP,
    Effect,
    Event,
    IllegalEventError,
    State,
    Transition,
    stays_down,
    step,
)

TOLD_TO_EXIT = {State.RECYCLING, State.STOPPING, State.PARKING}
WANTS_UP = {Event.START_REQUESTED, Event.RESTART_REQUESTED, Event.ADOPTED}
WANTS_DOWN = {Event.STOP_REQUESTED, Event.PARK}


@pytest.mark.parametrize("state", State)
def test_start_restart_stop_and_park_may_be_asked_for_at_any_time(state: State) -> None:
    assert step(state, Event.START_REQUESTED).target in WANTED_UP
    assert step(state, Event.RESTART_REQUESTED).target in WANTED_UP
    assert step(state, Event.STOP_REQUESTED).target in {State.STOPPING, State.STOPPED}
    assert step(state, Event.PARK).target in {State.PARKING, State.PARKED}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", [Event.START_REQUESTED, Event.STOP_REQUESTED, Event.PARK])
def test_asking_twice_is_asking_once(state: State, event: Event) -> None:
    """An API call that is repeated must not start a second worker or end one twice."""
    target, _ = step(state, event)
    assert step(target, event) == Transition(target)


@pytest.mark.parametrize(
    ("state", "wanted", "unwanted"),
    [
        (State.STARTING, False, False),
        (State.RUNNING, False, False),
        (State.RECYCLING, False, False),
        (State.BACKOFF, False, False),
        (State.STOPPED, False, True),  # its restore is still to come, or nobody wants it
        (State.STOPPING, False, True),
        (State.PARKING, True, True),
        (State.PARKED, True, True),
    ],
)
def test_what_only_a_person_brings_up_again(state: State, *, wanted: bool, unwanted: bool) -> None:
    assert stays_down(state, wanted=True) is wanted
    assert stays_down(state, wanted=False) is unwanted


@pytest.mark.parametrize("state", sorted(HAS_PROCESS))
def test_a_worker_may_die_at_any_moment(state: State) -> None:
    expected = {
        State.STOPPING: State.STOPPED,
        State.PARKING: State.PARKED,
    }.get(state, State.BACKOFF)
    assert step(state, Event.EXITED).target is expected


def test_a_worker_that_is_replaced_is_ended_before_another_is_started() -> None:
    state, effects = step(State.RUNNING, Event.RESTART_REQUESTED)
    assert (state, effects) == (State.RECYCLING, (Effect.TERMINATE,))
    state, effects = step(state, Event.EXITED)
    assert (state, effects) == (State.BACKOFF, (Effect.ARM_BACKOFF,))
    assert step(state, Event.BACKOFF_ELAPSED) == (State.STARTING, (Effect.SPAWN,))


def test_a_start_while_it_stops_waits_for_the_old_worker() -> None:
    state, effects = step(State.STOPPING, Event.START_REQUESTED)
    assert (state, effects) == (State.RECYCLING, ())
    assert step(state, Event.EXITED).target is State.BACKOFF


def test_an_adopted_worker_is_not_spawned_again() -> None:
    assert step(State.STOPPED, Event.ADOPTED) == (State.STARTING, ())


def test_an_adopted_worker_needs_a_session_that_has_none() -> None:
    for state in HAS_PROCESS:
        with pytest.raises(IllegalEventError):
            step(state, Event.ADOPTED)


def test_an_event_outside_the_table_is_a_bug() -> None:
    with pytest.raises(IllegalEventError, match="became_ready is not accepted in stopped"):
        step(State.STOPPED, Event.BECAME_READY)


def test_every_event_has_a_place_and_every_state_a_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {event for row in TRANSITIONS.values() for event in row} == set(Event)


def reachable(start: State) -> set[State]:
    seen, todo = {start}, deque([start])
    while todo:
        for transition in TRANSITIONS[todo.popleft()].values():
            if transition.target not in seen:
                seen.add(transition.target)
                todo.append(transition.target)
    return seen


@pytest.mark.parametrize("state", State)
def test_from_every_state_every_state_can_be_reached(state: State) -> None:
    assert reachable(state) == set(State)


class WorkerMachine(RuleBasedStateMachine):
    """Replay any history that the table accepts against a model of one process."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.STOPPED
        self.processes = 0
        self.terminated = False
        self.backoff_armed = False
        self.wanted = False

    @rule(event=st.sampled_from(Event))
    def happens(self, event: Event) -> None:
        if event is Event.EXITED:
            if not self.processes:
                return
            self.processes -= 1
            self.terminated = False
        if event is Event.BACKOFF_ELAPSED:
            if not self.backoff_armed:
                return
            self.backoff_armed = False
        if event not in TRANSITIONS[self.state]:
            with pytest.raises(IllegalEventError):
                step(self.state, event)
            return
        if event in WANTS_UP | WANTS_DOWN:
            self.wanted = event in WANTS_UP
        if event is Event.ADOPTED:
            self.processes += 1
        self.state, effects = step(self.state, event)
        for effect in effects:
            self.apply(effect)

    def apply(self, effect: Effect) -> None:
        match effect:
            case Effect.SPAWN:
                self.processes += 1
            case Effect.TERMINATE:
                assert self.processes, "nobody is there to be asked"
                assert not self.terminated, "asked twice"
                self.terminated = True
            case Effect.ARM_BACKOFF:
                assert not self.backoff_armed, "armed twice"
                self.backoff_armed = True
            case Effect.DISARM_BACKOFF:
                assert self.backoff_armed, "nothing to disarm"
                self.backoff_armed = False

    @invariant()
    def the_last_request_wins(self) -> None:
        assert self.wanted == (self.state in WANTED_UP)

    @invariant()
    def one_process_exactly_while_the_state_says_so(self) -> None:
        assert self.processes == (self.state in HAS_PROCESS)

    @invariant()
    def a_process_was_asked_to_exit_exactly_while_it_must(self) -> None:
        assert self.terminated == (self.state in TOLD_TO_EXIT)

    @invariant()
    def a_timer_is_armed_exactly_in_backoff(self) -> None:
        assert self.backoff_armed == (self.state is State.BACKOFF)


TestWorkerMachine = WorkerMachine.TestCase
