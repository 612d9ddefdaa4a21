"""The breaker: opens when many fail alike, tries canaries, closes when one is up."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from waguard.core.fleet.breaker import Breaker, Failure, FleetPolicy, came_up, failed, tried, words
from waguard.core.host.admission import Candidate

POLICY = FleetPolicy()
FOUR = ("a", "b", "c", "d")
DIED = "Chromium died"


def after(*failures: Failure, wanted: tuple[str, ...] = FOUR) -> Breaker:
    breaker = Breaker()
    for failure in failures:
        breaker = failed(POLICY, breaker, failure, wanted=wanted)
    return breaker


def opened() -> Breaker:
    return after(*(Failure(name, DIED, 0.0) for name in "abc"))


def held(*names: str, **more: Any) -> list[Candidate]:
    return [Candidate(session=name, **more) for name in names]


def test_more_than_half_that_fail_alike_open_it() -> None:
    assert after(Failure("a", DIED, 0.0), Failure("b", DIED, 1.0)).opening is None
    opening = opened().opening
    assert opening
    assert opening.sessions == {"a", "b", "c"}
    assert (opening.cause, opening.wanted) == (DIED, 4)
    assert "3 of 4 sessions failed alike within 120 s (Chromium died)" in words(POLICY, opening)


def test_half_is_not_more_than_half() -> None:
    six = (*FOUR, "e", "f")
    three = [Failure(name, DIED, 0.0) for name in "abc"]
    assert after(*three, wanted=six).opening is None
    assert after(*three, Failure("d", DIED, 0.0), wanted=six).opening


def test_two_sessions_are_no_fleet() -> None:
    both = (Failure("a", DIED, 0.0), Failure("b", DIED, 0.0))
    assert after(*both, wanted=("a", "b")).opening is None


def test_what_does_not_count() -> None:
    one_often = [Failure("a", DIED, float(at)) for at in range(10)]
    assert after(*one_often).opening is None
    differently = [Failure(name, f"cause {name}", 0.0) for name in FOUR]
    assert after(*differently).opening is None
    slowly = [Failure(name, DIED, 120.0 * at) for at, name in enumerate(FOUR)]
    assert after(*slowly).opening is None
    not_wanted = [Failure(name, DIED, 0.0) for name in "xyz"]
    assert after(*not_wanted).opening is None


def test_the_first_canary_is_the_most_important_one_and_at_once() -> None:
    waiting = [*held("a", "b"), *held("c", priority=1)]
    breaker = tried(POLICY, opened(), waiting, under_way=[], now=5.0)
    assert breaker.opening
    assert (breaker.opening.canary, breaker.opening.tried_at) == ("c", 5.0)


def test_one_canary_after_the_other() -> None:
    first = tried(POLICY, opened(), held("a", "b"), under_way=[], now=0.0)
    # as long as it takes
    assert tried(POLICY, first, held("b"), under_way=["a"], now=500.0) == first
    # it failed: not before its time
    assert tried(POLICY, first, held("a", "b"), under_way=[], now=59.0) == first
    again = tried(POLICY, first, held("a", "b"), under_way=[], now=60.0)
    assert again.opening
    assert again.opening.tried_at == 60.0


def test_the_canary_rotates() -> None:
    """The most important one may be unhealthy for a reason of its own."""
    breaker, canaries = opened(), []
    waiting = [*held("a", "b"), *held("c", priority=10)]
    for minute in range(7):
        breaker = tried(POLICY, breaker, waiting, under_way=[], now=minute * 60.0)
        assert breaker.opening
        canaries.append(breaker.opening.canary)
        if minute == 4:
            waiting += held("d")  # it has never been tried
    assert canaries == ["c", "a", "b", "c", "a", "d", "b"]


def test_a_canary_that_is_up_closes_it_and_so_does_one_of_those_that_failed() -> None:
    breaker = tried(POLICY, opened(), held("d"), under_way=[], now=0.0)
    assert came_up(breaker, "z") == breaker
    assert came_up(breaker, "d") == Breaker()
    assert came_up(breaker, "a") == Breaker()


def test_the_breaker_closes_where_nobody_is_left_to_be_tried() -> None:
    assert tried(POLICY, opened(), [], under_way=["a"], now=0.0) == opened()
    assert tried(POLICY, opened(), [], under_way=[], now=0.0) == Breaker()
    assert tried(POLICY, Breaker(), [], under_way=[], now=0.0) == Breaker()


@given(
    st.lists(
        st.builds(
            Failure,
            st.sampled_from("abcdefgh"),
            st.sampled_from(["x", "y"]),
            st.floats(0, 500),
        )
    )
)
def test_the_breaker_opens_only_for_what_is_a_fleet(failures: list[Failure]) -> None:
    wanted = tuple("abcdef")
    breaker, seen = Breaker(), []
    for failure in sorted(failures, key=lambda one: one.at):
        seen.append(failure)
        breaker = failed(POLICY, breaker, failure, wanted=wanted)
        if breaker.opening:
            break
        assert all(known.at > failure.at - POLICY.period for known in breaker.failures)
    alike = {
        (f.session, f.cause)
        for f in seen
        if seen and f.at > seen[-1].at - POLICY.period and f.session in wanted
    }
    most = max((sum(c == cause for _, c in alike) for cause in "xy"), default=0)
    assert (breaker.opening is not None) == (most > 3)


class Life(RuleBasedStateMachine):
    """Whatever happens, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker()
        self.tries: list[float] = []

    @rule(seconds=st.floats(0.0, 90.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from(FOUR), cause=st.sampled_from([DIED, "it hangs"]))
    def fail(self, name: str, cause: str) -> None:
        before = self.breaker
        self.breaker = failed(POLICY, before, Failure(name, cause, self.now), wanted=FOUR)
        if before.opening:
            assert self.breaker == before

    @rule(names=st.sets(st.sampled_from(FOUR)), under_way=st.sets(st.sampled_from(FOUR)))
    def tick(self, names: set[str], under_way: set[str]) -> None:
        before = self.breaker.opening
        waiting = held(*(names - under_way))
        self.breaker = tried(POLICY, self.breaker, waiting, under_way=under_way, now=self.now)
        after = self.breaker.opening
        if before is None:
            assert after is None
        elif after and after.tried_at != before.tried_at:
            assert after.canary in names - under_way
            assert before.tried_at is None or self.now - before.tried_at >= POLICY.canary_interval

    @rule(name=st.sampled_from(FOUR))
    def up(self, name: str) -> None:
        before = self.breaker
        self.breaker = came_up(before, name)
        if before.opening and name in {before.opening.canary, *before.opening.sessions}:
            assert self.breaker == Breaker()

    @invariant()
    def it_knows_why_it_is_open(self) -> None:
        if opening := self.breaker.opening:
            assert len(opening.sessions) >= POLICY.minimum
            assert len(opening.sessions) > POLICY.threshold * opening.wanted
            assert not self.breaker.failures

    @invariant()
    def it_remembers_no_more_than_it_needs(self) -> None:
        assert len(self.breaker.failures) <= 2 * len(FOUR)


TestLife = Life.TestCase
