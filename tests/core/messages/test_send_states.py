"""A message on its way out: nothing is lost, nothing is doubled, whatever crashes in between."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from waguard.core.messages.send_states import (
    AT_SERVER,
    ENDED,
    FROM,
    WITHOUT_CONTENT,
    State,
    after_poll,
    by_ack,
    moves,
)
from waguard.errors import RefusedError, UnavailableError
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused, Uncertain, state_after

ACKS = st.sampled_from([-1, 0, 1, 2, 3, 4])
ACKED, UNCERTAIN, NOT_SENT = Acked("m", 1), Uncertain(), NotSent(UnavailableError("not yet"))
STATES = st.sampled_from(list(State))


@pytest.mark.parametrize(
    ("ack", "state"),
    [
        (None, None),
        (0, None),
        (-1, State.REFUSED),
        (1, State.SENT),
        (2, State.DELIVERED),
        (3, State.READ),
        (4, State.READ),
    ],
)
def test_where_an_ack_leads(ack: int | None, state: State | None) -> None:
    assert by_ack(ack) is state
    assert after_poll(ack) is (state or State.UNCERTAIN)


@pytest.mark.parametrize("outcome", [ACKED, Refused(RefusedError("no")), UNCERTAIN, NOT_SENT])
@pytest.mark.parametrize("waits", [True, False])
def test_only_what_certainly_has_not_left_is_sent_again(outcome: Outcome, waits: bool) -> None:  # noqa: FBT001 - both
    state = state_after(outcome, waits=waits)
    assert (state is State.ACCEPTED) == (waits and outcome is NOT_SENT)
    assert moves(State.SENDING, state)


def test_every_state_can_be_left_or_has_ended() -> None:
    assert set(FROM) == set(State)
    left = {before for states in FROM.values() for before in states}
    assert left >= {State.ACCEPTED, State.SENDING, State.UNCERTAIN}
    assert not ENDED & {State.ACCEPTED, State.SENDING, State.UNCERTAIN}
    assert AT_SERVER <= ENDED <= WITHOUT_CONTENT


@given(STATES, st.lists(ACKS, max_size=8))
def test_acks_only_lead_forward(start: State, acks: list[int]) -> None:
    order = [State.UNCERTAIN, State.REFUSED, State.SENT, State.DELIVERED, State.READ]
    state = start
    for ack in acks:
        after = by_ack(ack)
        if after and moves(state, after):
            assert state not in order or order.index(after) > order.index(state)
            state = after
    if start is not State.CANCELLED and any(ack >= 1 for ack in acks):
        assert state in AT_SERVER


class Message(RuleBasedStateMachine):
    """One queued message. ``row`` is what is committed, ``memory`` what the daemon that lives now
    thinks; a crash takes the memory. WhatsApp has the truth in ``left``, ``ack``."""

    def __init__(self) -> None:
        super().__init__()
        self.row = State.ACCEPTED
        self.begun = False
        """In memory: the commit of "sending" is through, the command has not been given yet."""
        self.asked = False
        """A command was given, and its answer is still to come."""
        self.left = 0
        self.ack: int | None = None
        self.cancelled = False

    def move(self, after: State) -> None:
        if moves(self.row, after):
            self.row = after

    @precondition(lambda self: self.row is State.ACCEPTED and not self.begun)
    @rule()
    def begin(self) -> None:
        self.move(State.SENDING)
        self.begun = True

    @precondition(lambda self: self.row is State.ACCEPTED)
    @rule()
    def cancel(self) -> None:
        self.move(State.CANCELLED)
        self.cancelled = True

    @precondition(lambda self: self.begun)
    @rule(reaches=st.booleans(), takes=st.booleans())
    def give_the_command(self, reaches: bool, takes: bool) -> None:  # noqa: FBT001 - hypothesis gives them
        """It may not reach the worker; WhatsApp's server may not get what the page sends."""
        self.begun = False
        if not reaches:
            self.move(state_after(NOT_SENT, waits=True))
            return
        self.asked = True
        self.left += 1
        self.ack = 1 if takes else 0

    @precondition(lambda self: self.asked)
    @rule(heard=st.booleans())
    def answer(self, heard: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        self.asked = False
        sent = heard and self.ack == 1
        self.move(state_after(ACKED if sent else UNCERTAIN, waits=True))

    @precondition(lambda self: self.ack is not None)
    @rule(more=st.integers(0, 2))
    def an_ack_comes(self, more: int) -> None:
        assert self.ack is not None
        self.ack = min(3, self.ack + more)
        if after := by_ack(self.ack):
            self.move(after)

    @precondition(lambda self: self.row in {State.SENDING, State.UNCERTAIN} and not self.asked)
    @rule(there=st.booleans())
    def poll(self, there: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """Only what left can be there, but the page may have forgotten it."""
        if not self.begun:
            self.move(after_poll(self.ack if there and self.left else None))

    @rule()
    def crash(self) -> None:
        """What the next daemon does not send again is looked up; ``begin`` is for the accepted."""
        self.begun = self.asked = False

    @invariant()
    def it_leaves_once_at_most(self) -> None:
        assert self.left <= 1
        assert not (self.left and self.cancelled)

    @invariant()
    def what_left_is_never_reported_unsent(self) -> None:
        if self.left:
            assert self.row not in {State.ACCEPTED, State.CANCELLED, State.FAILED}

    @invariant()
    def what_is_reported_sent_is(self) -> None:
        if self.row in AT_SERVER:
            assert self.ack
            assert self.ack >= 1

    @invariant()
    def nothing_is_lost_without_a_word(self) -> None:
        """Either it may still begin, or its state says that it has to be followed up."""
        if not self.left:
            assert self.row in {State.ACCEPTED, State.SENDING, State.UNCERTAIN, State.CANCELLED}


TestMessage = Message.TestCase
TestMessage.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
