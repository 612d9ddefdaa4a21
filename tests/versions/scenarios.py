"""What may happen to a fleet: a version breaks something, or it only looks so."""

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from random import Random
from typing import Final, NamedTuple

from tests.versions.releases import Release, releases
from tests.versions.world import HOUR, Account, Page, World
from waguard.core.versions.effects import Kind
from waguard.core.versions.facts import Evidence, Pin
from waguard.core.versions.version_rules import Mode, VersionRules

BEFORE: Final = 12 * HOUR  # so long all is well
OWN: Final = 5 * 24 * HOUR  # mean between two failures of a session's own
RELEASES: Final = releases()


class Size(NamedTuple):
    """Of a run."""

    sessions: int
    broken: float
    """Seconds until WhatsApp repairs it."""
    after: float
    """Seconds that are lived after that."""


LARGE: Final = Size(200, 31.5 * HOUR, 18 * HOUR)
SMALL: Final = Size(30, 6 * HOUR, 8 * HOUR)


class Result(NamedTuple):
    """What a run showed. Seconds since the first session was unhealthy."""

    rollbacks: int
    rolled_back: float | None
    healed: float | None
    """Until nobody was unhealthy."""
    released: float | None
    """From WhatsApp's repair until all may have what it serves."""
    unhealthy_hours: float
    world: World


class Plan(NamedTuple):
    """The builds of a run, and which are broken."""

    builds: list[Release]
    bad: Release
    repaired: Release
    end: float


def plan(seed: int, size: Size) -> Plan:
    """Another week for each seed."""
    latest = RELEASES[-1].at - size.broken - size.after - 24 * HOUR
    fit = [it for it in RELEASES if RELEASES[0].at + BEFORE + 24 * HOUR < it.at < latest]
    bad = Random(f"plan {seed}").choice(fit)
    repaired = next(it for it in RELEASES if it.at >= bad.at + size.broken)
    early = len(list(takewhile(lambda it: it.at < bad.at - BEFORE, RELEASES)))
    end = repaired.at + size.after
    builds = [it for it in RELEASES[max(0, early - 1) :] if it.at < end]
    return Plan(builds, bad, repaired, end)


Story = Callable[[World, Plan, int], None]


def breakage(
    evidence: Evidence, share: float = 1.0, *, after: float = 0.0, drift: float = 0.0
) -> Story:
    """Builds from the bad one on, until it is repaired, break ``share`` of the accounts: ``after`` seconds
    from a load, and from moments on that lie up to ``drift`` seconds after the release."""

    def story(world: World, it: Plan, seed: int) -> None:
        random = Random(f"story {seed}")
        names = {one.name for one in world.accounts if random.random() < share}
        begins = {name: it.bad.at + random.uniform(0, drift) for name in sorted(names)}

        def truth(world: World, account: Account, page: Page) -> Evidence | None:
            if not it.bad.revision <= page.revision < it.repaired.revision:
                return None
            at = begins.get(account.name)
            unhealthy = at is not None and world.now >= max(at, page.at + after)
            return evidence if unhealthy else None

        world.truths.append(truth)
        world.evaluated_after = after
        for name, at in begins.items():
            if drift:
                world.at(at, partial(world.evaluate, world.by_name[name]))

    return story


def one_after_the_other(world: World, it: Plan, seed: int) -> None:
    """Two hours after the rollback what all were given breaks, too."""
    good = [one for one in it.builds if one.at < it.bad.at][-1]

    def truth(world: World, account: Account, page: Page) -> Evidence | None:
        later = world.now >= it.bad.at + 2 * HOUR
        first = good.revision if later else it.bad.revision
        return Evidence.SEND_THROWS if first <= page.revision < it.repaired.revision else None

    world.truths.append(truth)
    world.at(it.bad.at + 2 * HOUR, world.evaluate_all)


def too_old(world: World, it: Plan, seed: int) -> None:
    """An operator has pinned a version, and WhatsApp refuses it from one moment on."""
    pinned = [one for one in it.builds if one.at < it.bad.at - 2 * HOUR][-1]

    def truth(world: World, account: Account, page: Page) -> Evidence | None:
        old = world.now >= it.bad.at and page.revision <= pinned.revision
        return Evidence.TOO_OLD if old else None

    def pin() -> None:
        world.post(Pin(pinned.revision))
        for one in world.accounts:
            world.load(one)

    world.truths.append(truth)
    world.at(it.bad.at - HOUR, pin)
    world.at(it.bad.at, world.evaluate_all)


def outages(count: int, minutes: float, apart: float) -> Story:
    """WhatsApp's server loses sends for a while; of several every second one is a lost connection."""

    def story(world: World, it: Plan, seed: int) -> None:
        spans = [(it.bad.at + HOUR + n * apart, n) for n in range(count)]

        def truth(world: World, account: Account, page: Page) -> Evidence | None:
            on = any(at <= world.now < at + minutes * 60 for at, n in spans if n % 2 == 0)
            return Evidence.UNACKED if on else None

        world.truths.append(truth)
        for at, n in spans:
            if n % 2:
                world.at(at, world.all_away)
            else:
                world.at(at, world.evaluate_all)
            world.at(at + minutes * 60, world.recover)

    return story


def dead_accounts(world: World, it: Plan, seed: int) -> None:
    """Ten of them never get an ack again."""

    def truth(world: World, account: Account, page: Page) -> Evidence | None:
        return Evidence.UNACKED if account.dead else None

    def die() -> None:
        for one in Random(f"dead {seed}").sample(world.accounts, 10):
            one.dead = True
        world.evaluate_all()

    world.truths.append(truth)
    world.at(it.bad.at + HOUR, die)


def slow_machine(world: World, it: Plan, seed: int) -> None:
    """For six hours loads take minutes, and pages are not ready for as long."""
    begin, end = it.bad.at, it.bad.at + 6 * HOUR

    def truth(world: World, account: Account, page: Page) -> Evidence | None:
        slow = begin <= page.at < end and world.now < page.at + (hash_of(account, page) % 300)
        return Evidence.NEVER_READY if slow else None

    def load_time(one: Account) -> float:
        slow = begin <= world.now < end
        return one.random.uniform(40, 400) if slow else one.random.uniform(5, 12)

    world.truths.append(truth)
    world.load_time = load_time
    world.evaluated_after = 300.0


def hash_of(account: Account, page: Page) -> int:
    """As good as chance, and the same in each run."""
    return Random(f"{account.name} {page.at:.0f}").randrange(1 << 30)


def lossy(world: World, it: Plan, seed: int) -> None:
    """More and more sends are lost, whatever the version, up to 60 % after eight hours; then it is over."""
    begin, end = it.bad.at, it.bad.at + 8 * HOUR

    def truth(world: World, account: Account, page: Page) -> Evidence | None:
        if not begin <= world.now < end:
            return None
        share = 0.6 * (world.now - begin) / (end - begin)
        draw = Random(f"{seed} {account.name} {world.now // 120:.0f}").random()
        return Evidence.UNACKED if draw < share else None

    world.truths.append(truth)
    for n in range(int(8 * HOUR / 120) + 1):
        world.at(begin + n * 120, world.recover)


def looping(low: float, high: float, share: float = 1.0) -> Story:
    """Pages of the broken builds load themselves again so long after each load, and work in between."""

    def story(world: World, it: Plan, seed: int) -> None:
        random = Random(f"story {seed}")
        names = {one.name for one in world.accounts if random.random() < share}

        def loops(account: Account, page: Page) -> bool:
            return account.name in names and it.bad.revision <= page.revision < it.repaired.revision

        world.loops, world.every = loops, (low, high)

    return story


def all_loop(low: float, high: float, *minutes: float) -> Story:
    """For so many minutes each, two hours apart, WhatsApp has the pages of all load themselves, whatever their
    build."""

    def story(world: World, it: Plan, seed: int) -> None:
        begins = [it.bad.at + HOUR * (1 + 2 * n) for n in range(len(minutes))]
        spans = [(at, at + 60 * one) for at, one in zip(begins, minutes, strict=True)]

        def loops(account: Account, page: Page) -> bool:
            return any(begin <= world.now < end for begin, end in spans)

        def change() -> None:
            for one in world.accounts:
                world.evaluate(one)
                world.follow(one)

        world.loops, world.every = loops, (low, high)
        for one in (at for span in spans for at in span):
            world.at(one, change)

    return story


BREAKAGES: Final[dict[str, Story]] = {
    "an export is renamed": breakage(Evidence.EXPORTS_MISSING),
    "the calling convention changes": breakage(Evidence.SEND_THROWS),
    "never ready": breakage(Evidence.NEVER_READY),
    "nothing registers": breakage(Evidence.NEVER_READY, after=1.0),
    "pages reload": looping(5.0, 8.0),
    "pages spin": looping(25.0, 40.0),
    "pages reload, 8 of 20 accounts": looping(5.0, 8.0, 0.4),
    "never acked": breakage(Evidence.UNACKED),
    "deaf": breakage(Evidence.DEAF),
    "throws at load": breakage(Evidence.EXPORTS_MISSING, after=1.0),
    "never acked, 8 of 20 accounts": breakage(Evidence.UNACKED, 0.4),
    "sends throw, 8 of 20 accounts": breakage(Evidence.SEND_THROWS, 0.4),
    "an export is renamed, 8 of 20": breakage(Evidence.EXPORTS_MISSING, 0.4),
    "never acked, over 6 hours": breakage(Evidence.UNACKED, drift=6 * HOUR),
    "the older one breaks, too": one_after_the_other,
}
PINNED: Final[dict[str, Story]] = {"too old (pinned)": too_old}
NO_BREAKAGES: Final[dict[str, Story]] = {
    "an outage of 40 minutes": outages(1, 40, 0),
    "six outages of 4 minutes": outages(6, 4, 2 * HOUR),
    "ten dead accounts": dead_accounts,
    "a slow machine": slow_machine,
    "more and more sends are lost": lossy,
    "pages of all builds reload": all_loop(5.0, 8.0, 4.0, 12.0, 40.0),
    "pages of all builds spin": all_loop(25.0, 40.0, 4.0, 12.0, 40.0),
}
ALL: Final = {**BREAKAGES, **PINNED, **NO_BREAKAGES}


def simulate(name: str, seed: int, size: Size, mode: Mode = "react") -> Result:
    """One run."""
    it = plan(seed, size)
    rules = VersionRules(mode=mode)
    world = World(seed, sessions=size.sessions, rules=rules, builds=it.builds)
    _own(world, it)
    world.run(it.bad.at - 2 * HOUR)
    ALL[name](world, it, seed)
    world.run(it.end)
    return _result(world, it)


def _result(world: World, it: Plan) -> Result:
    first = it.bad.at if world.first_unhealthy_at is None else world.first_unhealthy_at
    rolled = world.announced_at(Kind.ROLLED_BACK)
    released = [at for at in world.announced_at(Kind.RELEASED) if at > it.repaired.at]
    return Result(
        rollbacks=len(rolled),
        rolled_back=rolled[0] - first if rolled else None,
        healed=None if world.healed_at is None else world.healed_at - first,
        released=released[0] - it.repaired.at if released else None,
        unhealthy_hours=world.unhealthy_seconds / HOUR,
        world=world,
    )


def _own(world: World, it: Plan) -> None:
    """Each session is unhealthy now and then for a reason of its own."""

    def truth(world: World, account: Account, page: Page) -> Evidence | None:
        return Evidence.UNACKED if account.own else None

    def begin(account: Account) -> None:
        account.own = True
        world.evaluate(account)

    world.truths.append(truth)
    for account in world.accounts:
        at = world.began
        while (at := at + account.random.expovariate(1 / OWN)) < it.end:
            world.at(at, partial(begin, account))
