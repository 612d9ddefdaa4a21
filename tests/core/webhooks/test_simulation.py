"""Hours of deliveries to a receiver as bad as the real one, in a world that is drawn from a seed."""

from typing import Any

import pytest

from tests.core.webhooks.world import HOUR, World
from tests.seeds import share_of
from waguard.core.webhooks.delivery import Cause

REFUSED = {Cause.REFUSED, Cause.EXPIRED}
EXPECTED = {
    "poison": REFUSED,
    "oversize": {Cause.UNSTORED, *REFUSED},  # a spell may have refused it, too
    "mute": {Cause.STORED},
}
REST = 6 * HOUR  # after the last trouble: what is refused for its own sake takes its time


def lived(seed: int, **how: Any) -> tuple[World, dict[int, Any]]:
    world = World(seed, **how)
    chats: dict[int, Any] = {}
    arrive = world._arrive

    def noted(number: int, *, quiet: bool = False) -> None:
        before = set(world.kinds)
        arrive(number, quiet=quiet)
        [new] = set(world.kinds) - before
        chats[new] = world.rows[new].row.key

    world._arrive = noted  # type: ignore[method-assign]
    world.live(world.length + REST)
    return world, chats


@pytest.mark.parametrize("seed", range(8))
def test_delivered_means_stored(seed: int) -> None:
    world, chats = lived(seed)
    assert world.queue.idle, f"it does not come to rest: {world.queue}"
    assert world.lost() == []
    assert world.given_up() == []
    assert world.out_of_order(chats) == []
    late = {n for n in world.doubled() if world.kinds[n] == "good"}
    assert not late or "silent" in world.seen
    for number, letter in world.dead.items():
        assert letter.cause in EXPECTED[world.kinds[number]]
    never = {n for n, kind in world.kinds.items() if kind in {"poison", "oversize"}}
    assert never <= {*world.dead, *world.stored}, "a silent spell may have stored some"


@pytest.mark.parametrize("seed", range(8))
def test_without_lookups_nothing_is_lost_either(seed: int) -> None:
    world, chats = lived(seed, uses_lookup=False, crashes=0)
    assert world.queue.idle
    assert world.lost() == []
    assert world.given_up() == []
    assert world.doubled() == []
    assert world.out_of_order(chats) == []


def test_a_spell_then_others_that_are_served_then_a_longer_spell_condemn_no_message() -> None:
    """In these lives one message meets both, and hardly anybody else writes."""
    test_without_lookups_nothing_is_lost_either(272)
    test_delivered_means_stored(879)


def test_what_must_happen_did() -> None:
    seen: set[str] = set()
    for seed in range(8):
        seen |= lived(seed)[0].seen
    assert {
        "alike",
        "read_only",
        "silent",
        "held",
        "looked",
        "crash",
        "Failed",
        "DeadLettered",
    } <= seen


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 1_000, 100))
def test_further_seeds_lose_nothing(start: int) -> None:
    for seed in share_of(range(start, start + 100)):
        test_delivered_means_stored(seed)
        test_without_lookups_nothing_is_lost_either(seed)
