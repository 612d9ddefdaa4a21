"""Which fault comes when, and on which session: drawn once, from the seed alone."""

import random
from collections.abc import Sequence

from msgspec import Struct


class Draw(Struct, frozen=True):
    """One fault to come. ``seed`` is for what the fault itself draws."""

    fault: str
    session: str
    seed: int


def draw(seed: int, faults: Sequence[str], sessions: Sequence[str], count: int) -> list[Draw]:
    """``count`` faults; each comes once, in any order, before any comes again.

    A campaign that is longer begins with the same faults as a shorter one of the same seed.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    drawn: list[Draw] = []
    deck: list[str] = []
    while len(drawn) < count:
        if not deck:
            deck = list(faults)
            chance.shuffle(deck)
        drawn.append(Draw(deck.pop(), chance.choice(sessions), chance.getrandbits(32)))
    return drawn
