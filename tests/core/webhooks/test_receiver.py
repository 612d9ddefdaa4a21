"""What the answers of one receiver say about it."""

import pytest

from waguard.core.webhooks.circuit import CircuitPolicy
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.pending import Key
from waguard.core.webhooks.receiver import (
    Receiver,
    advice_on,
    failed,
    other,
    quiet,
    succeeded,
)

POLICY = CircuitPolicy(trip_after=3, base_pause=2.0)
BAD = Answer(status=500)
A, B, C = (("s", f"{name}@c.us") for name in "abc")


def refused(receiver: Receiver, *keys: Key, own: bool = False) -> Receiver:
    for key in keys:
        receiver = failed(POLICY, receiver, key, BAD, at=10.0, wall=1_000.0, jitter=1.0, own=own)
    return receiver


def test_one_partition_alone_opens_no_circuit_while_another_one_works() -> None:
    one = refused(succeeded(Receiver(), C, at=1.0), *[A] * 9)
    assert one.circuit.failures == 0
    assert not one.refuses_alike


def test_one_partition_opens_the_circuit_where_no_other_is_known_to_work() -> None:
    one = refused(succeeded(Receiver(), A, at=1.0), *[A] * 3)
    assert one.circuit.opened_until == 12.0


def test_two_partitions_open_the_circuit_although_a_third_one_worked() -> None:
    two = refused(succeeded(Receiver(), C, at=1.0), A, B, A, B)
    assert two.refuses_alike
    assert two.circuit.opened_until == 12.0


def test_an_open_circuit_counts_whoever_is_refused() -> None:
    opened = quiet(succeeded(Receiver(), C, at=1.0), until=9.0)
    assert refused(opened, A).circuit.failures == 1


def test_two_that_were_refused_are_enough_to_know() -> None:
    assert refused(Receiver(), A, B, C, A).refused == (A, B)


def test_what_is_refused_for_its_own_sake_excuses_nobody() -> None:
    assert refused(refused(Receiver(), A, B), A, own=True).refused == (B,)


def test_a_success_ends_a_spell_in_which_all_were_refused() -> None:
    after = succeeded(refused(Receiver(), A, B), C, at=20.0)
    assert (after.spells, after.refused, after.failing_since) == (1, (), None)
    assert succeeded(after, C, at=21.0).spells == 1


def test_the_newest_success_of_another_one_is_known_to_each() -> None:
    receiver = Receiver()
    for at, key in enumerate((A, B, C, C)):
        receiver = succeeded(receiver, key, at=at, stored=key is not C)
    assert [other(receiver.worked, key) for key in (A, B, C)] == [3.0, 3.0, 1.0]
    assert [other(receiver.stored, key) for key in (A, B, C)] == [1.0, 0.0, 1.0]
    assert other((), A) is None
    assert (len(receiver.worked), len(receiver.stored)) == (2, 2)


def test_what_was_served_and_refused_is_counted() -> None:
    before = Receiver()
    after = succeeded(succeeded(refused(before, A), A, at=1.0, stored=True), B, at=2.0)
    counts = (after.served, after.stored_count, after.refused_count)
    assert counts == (
        before.served + 2,
        before.stored_count + 1,
        before.refused_count + 1,
    )


def test_a_webhook_that_is_refused_again_counts_once() -> None:
    one = failed(POLICY, Receiver(), A, BAD, at=1.0, wall=1.0, jitter=1.0, first=False)
    assert one.refused_count == Receiver().refused_count


def test_it_fails_since_the_first_failure() -> None:
    first = failed(POLICY, Receiver(), A, BAD, at=1.0, wall=100.0, jitter=1.0)
    assert refused(first, B).failing_since == 100.0
    assert (first.error, first.advice) == (BAD.summary(), advice_on(BAD))


@pytest.mark.parametrize(("own", "unstored"), [(False, True), (True, False)])
def test_an_unstored_message_speaks_for_the_receiver_unless_it_is_its_own_fault(
    *, own: bool, unstored: bool
) -> None:
    answer = Answer(status=200, stored=False)
    after = failed(POLICY, Receiver(), A, answer, at=1.0, wall=1.0, jitter=1.0, own=own)
    assert after.unstored is unstored


def test_a_pause_that_it_asks_for_is_kept() -> None:
    paused = quiet(Receiver(), until=7.0)
    assert paused.circuit.opened_until == 7.0
    assert succeeded(paused, A, at=6.0).circuit.opened_until == 7.0
    assert succeeded(paused, A, at=7.0).circuit.opened_until is None


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (None, ""),
        (300, "is it installed"),
        (399, "is it installed"),
        (401, "webhook.secret_file"),
        (402, "its own log"),
        (403, "webhook.secret_file"),
        (404, "webhook.url is not its route"),
        (405, "webhook.url is not its route"),
        (400, "its own log"),
        (500, "its own log"),
        (200, "stores nothing"),
        (299, "stores nothing"),
    ],
)
def test_what_its_answers_mean(status: int | None, word: str) -> None:
    advice = advice_on(Answer(status=status, stored=False))
    assert advice == "" if status is None else word in advice
