"""Draw a plan of faults, live it, and make a short story of one that breaks something."""

import random
from collections.abc import Collection, Sequence

from tests.simulation.clock import Violation
from tests.simulation.faults import EVERYWHERE, HOST, KINDS, OWN, Fault
from tests.simulation.watched import Seen
from tests.simulation.world import World

DAY = 86_400.0  # s
QUIET = 9_000.0  # s after the last fault, in which all has to become well
RARE = {"phone_off": 0.3, "removed": 0.5}
"""Some take long, and hide the others."""


def draw_plan(
    seed: int,
    sessions: int,
    seconds: float,
    *,
    own: float = 8.0,
    host: float = 12.0,
    kinds: Collection[str] = (),
) -> list[Fault]:
    """``own`` faults a session-day, ``host`` of all a day; only these ``kinds``, where there are any."""
    chance = random.Random(seed)
    owns = [kind for kind in OWN if kind in kinds or not kinds]
    hosts = [kind for kind in HOST if kind in kinds or not kinds]
    plan = [
        *_draw(chance, owns, [f"s{n}" for n in range(sessions)], seconds, own * sessions),
        *_draw(chance, hosts, [EVERYWHERE], seconds, host),
    ]
    return sorted(plan)


def _draw(
    chance: random.Random,
    known: Sequence[str],
    names: list[str],
    seconds: float,
    per_day: float,
) -> list[Fault]:
    plan, at = list[Fault](), 120.0
    weights = [RARE.get(kind, 1.0) for kind in known]
    while known and per_day and (at := at + chance.expovariate(per_day / DAY)) < seconds:
        kind = chance.choices(known, weights)[0]
        lasts = min(seconds, KINDS[kind].longest * chance.random() ** 2)
        plan.append(Fault(round(at, 1), kind, chance.choice(names), round(at + max(1.0, lasts), 1)))
    return plan


def live(
    seed: int,
    sessions: int,
    plan: Sequence[Fault],
    *,
    dense: bool = False,
    seen: Seen | None = None,
) -> World:
    """All of it, and a quiet time after. Raises ``Violation``."""
    world = World(seed, sessions, plan, dense=dense, seen=seen)
    quiet = 600.0 if dense else QUIET
    world.run(max((fault.end for fault in plan), default=0.0) + quiet)
    world.checks.at_the_end()
    return world


def breaks(seed: int, sessions: int, plan: Sequence[Fault], *, dense: bool = False) -> str | None:
    """What is broken; None: nothing."""
    try:
        live(seed, sessions, plan, dense=dense)
    except Violation as broken:
        return str(broken)
    return None


def shrink(seed: int, sessions: int, plan: Sequence[Fault], *, dense: bool = False) -> list[Fault]:
    """Leave out whatever is not needed to break it: what was long before, halves, then one by one."""
    left = _lately(seed, sessions, plan, dense=dense)
    size = max(1, len(left) // 2)
    while size:
        start = 0
        while start < len(left):
            fewer = [*left[:start], *left[start + size :]]
            if breaks(seed, sessions, fewer, dense=dense):
                left = fewer
            else:
                start += size
        size //= 2
    return left


def _lately(seed: int, sessions: int, plan: Sequence[Fault], *, dense: bool) -> list[Fault]:
    """The shortest time before it broke in which it still breaks."""
    why = breaks(seed, sessions, plan, dense=dense)
    broken_at = float(why.split(" ", 1)[0]) if why else 0.0
    for hours in (1, 4, 24, 96):
        since = broken_at - 3_600.0 * hours
        lately = [fault for fault in plan if since <= fault.at <= broken_at]
        if lately and breaks(seed, sessions, lately, dense=dense):
            return lately
    return list(plan)


def describe(plan: Sequence[Fault]) -> str:
    """For a person."""
    return "\n".join(
        f"  {fault.at:10.1f} s  {'all' if fault.session == EVERYWHERE else fault.session:4s}"
        f" {fault.kind}, {fault.end - fault.at:.0f} s"
        for fault in plan
    )


def report(seed: int, sessions: int, plan: Sequence[Fault], *, dense: bool = False) -> str:
    """The short story of a plan that breaks something, and what happened last in it."""
    short = shrink(seed, sessions, plan, dense=dense)
    world = World(seed, sessions, short, dense=dense)
    try:
        world.run(max(fault.end for fault in short) + QUIET)
        world.checks.at_the_end()
        why = "nothing breaks"
    except Violation as broken:
        why = str(broken)
    last = "\n".join(world.events)
    return (
        f"seed {seed}, {sessions} sessions: {why}\n{describe(short)}\nWhat happened last:\n{last}"
    )
