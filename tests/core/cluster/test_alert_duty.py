"""Which host sends alerts, and what of them is over."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.core.cluster.hosts import record
from waguard.core.alerts.alerts import (
    APART,
    FOLD,
    FOUND_AGAIN,
    AlertState,
    Delivered,
    Now,
    Observed,
    adopted,
    advance,
    configured,
    of_one_host,
)
from waguard.core.blame import Blame, Condition
from waguard.core.cluster import alert_duty
from waguard.core.cluster.alert_duty import Heard, heard, sender, sends
from waguard.core.cluster.records import HostRecord, Owner
from waguard.core.replace import replace

AT: Final = 1_790_000_000.0


def host(name: str, **more: Any) -> HostRecord:
    return record(name, f"i-{name}", **{"start": f"s-{name}"} | more)


def test_the_first_of_those_that_live_sends() -> None:
    both = [host("a"), host("b"), host("c")]
    assert [sender(it, both) for it in "abc"] == ["a"] * 3
    dead = [host("a", alive=False), host("b"), host("c")]
    assert sender("c", dead) == "b"
    old = [host("a", start=""), host("b")]
    assert sender("b", old) == "b", "an earlier version sends its own alone"
    assert sender("c", []) == "c"


def test_who_has_no_destination_leaves_it_to_the_next_one() -> None:
    some = [host("a", alerts=False), host("b", alive=False), host("c"), host("d")]
    assert [sender(it, some) for it in "acd"] == ["c"] * 3
    assert sender("a", some[:2]) == "a", "none can"
    assert sender("b", some[:1]) == "b", "it has no lease yet"


def said(name: str, sends: str, *conditions: Condition, complete: bool = True) -> Heard:
    shown = [
        {
            "session_id": it.session,
            "type": it.type,
            "blame": it.blame,
            "reason": it.reason,
            "message": it.message,
            "remedy": it.remedy,
            "since": "2026-09-21T14:13:20Z",
        }
        for it in conditions
    ]
    found = heard(
        {"host": name, "sender": sends, "complete": complete, "conditions": shown, "x": 1}
    )
    assert found is not None
    return found


def test_who_has_no_lease_leaves_it_to_the_others_that_answer() -> None:
    """It sees hosts that are there no more, or is itself declared dead."""
    both = [host("a"), host("b")]
    assert sends("a", both, [said("b", "b")], held=True)
    assert not sends("a", both, [said("b", "b")], held=False)
    assert sends("a", both, [said("b", "a")], held=False), "the engine is away for both"
    assert sends("a", both, [], held=False), "nobody else can say it"
    assert not sends("b", both, [], held=False)


@pytest.mark.parametrize("answer", [None, [], {}, {"host": "a"}, "a", {"host": 7}])
def test_what_is_no_answer(answer: Any) -> None:
    assert heard(answer) is None


def condition(kind: str, session: str | None = None) -> Condition:
    return Condition(
        session=session,
        type=kind,
        blame=Blame.HOST,
        reason=kind,
        message=f"{kind} it is",
        since=AT - 5,
        remedy="Do it.",
    )


class Drill:
    """Host a, which sends to one destination. ``owners`` by session."""

    def __init__(self, state: AlertState | None = None) -> None:
        self.state = state or configured(AlertState(), ["one"])
        self.at = AT
        self.records = [host("a"), host("b")]
        self.owners: dict[str, str] | None = {"s": "b"}
        self.moved_at: float | None = None
        self.sent: list[tuple[list[str], list[str]]] = []

    def see(
        self,
        *own: Condition,
        others: Mapping[str, Heard] | None = None,
        after: float = 0.0,
        complete: bool = True,
    ) -> None:
        self.at += after
        rows = None
        if self.owners is not None:
            rows = {
                session: Owner(
                    session=session,
                    host=name,
                    incarnation=f"i-{name}",
                    epoch=1,
                    moved_at=self.moved_at,
                )
                for session, name in self.owners.items()
            }
        now = Observed(own, complete)
        fact = alert_duty.observed("a", now, self.records, others or {}, rows, self.state, self.at)
        self.state, out = advance(self.state, fact, Now(self.at))
        for it in out:
            both = (it.notification.begun, it.notification.ended)
            self.sent.append(
                tuple(
                    [f"{one.host}/{one.type}/{one.session}/{one.reason}" for one in some]
                    for some in both
                )  # type: ignore[arg-type]
            )
            self.state, _ = advance(self.state, Delivered("one"), Now(self.at))

    def news(self) -> list[tuple[list[str], list[str]]]:
        found, self.sent = self.sent, []
        return found


LOW: Final = condition("disk_low")
SCAN: Final = condition("unlinked", "s")
B_LOW: Final = "b/disk_low/None/disk_low"
B_SCAN: Final = "b/unlinked/s/unlinked"


def begun(drill: Drill) -> None:
    of_b = {"b": said("b", "a", LOW, SCAN)}
    drill.see(others=of_b)
    drill.see(others=of_b, after=FOLD)
    assert drill.news() == [([B_LOW, B_SCAN], [])]


def test_what_another_host_says_begins_and_ends() -> None:
    drill = Drill()
    begun(drill)
    drill.see(others={"b": said("b", "a")}, after=10)
    drill.see(others={"b": said("b", "a")}, after=FOLD)
    assert drill.news() == [([], [B_LOW, B_SCAN])]


def test_the_same_of_two_hosts_are_two() -> None:
    drill = Drill()
    of_b = {"b": said("b", "a", LOW)}
    drill.see(LOW, others=of_b)
    drill.see(LOW, others=of_b, after=FOLD)
    assert drill.news() == [(["a/disk_low/None/disk_low", B_LOW], [])]


def test_who_does_not_answer_has_not_ended_it() -> None:
    drill = Drill()
    begun(drill)
    drill.see(after=100)
    drill.see(others={"b": said("b", "a", complete=False)}, after=100)
    drill.see(after=100)
    assert drill.news() == []
    drill.see(others={"b": said("b", "a", LOW, SCAN)}, after=100)
    assert drill.news() == []


def test_a_host_that_died_is_the_alert_and_its_sessions_go_on_with_their_next_owner() -> None:
    drill = Drill()
    begun(drill)
    drill.records = [host("a"), host("b", alive=False)]
    missing = condition("host_missing")
    drill.see(missing, after=10)
    drill.see(missing, after=FOLD)
    assert drill.news() == [(["None/host_missing/None/b"], [])]
    drill.owners = {"s": "a"}
    drill.see(missing, SCAN, after=APART)
    drill.see(missing, SCAN, after=FOLD)
    assert drill.news() == [], "the scan was asked for already"
    drill.see(missing, after=10)
    drill.see(missing, after=FOLD)
    assert drill.news() == [([], [B_SCAN])], "the disk of b is nobody's to see"
    drill.records = [host("a"), host("b")]
    drill.see(others={"b": said("b", "a", LOW)}, after=10)
    drill.see(others={"b": said("b", "a", LOW)}, after=FOLD)
    assert drill.news() == [([], ["None/host_missing/None/b"])]


STUCK, THROWS = condition("link_stuck", "s"), condition("sends_throw", "s")
AWAY: Final = replace(condition("link", "s"), reason="offline")


@pytest.mark.parametrize("moved_from", ["b", "a"])
def test_what_the_next_owner_of_a_session_cannot_have_found_again_is_not_over(
    moved_from: str,
) -> None:
    """It adopts the worker of a host whose daemon died, or starts another one."""
    drill = Drill()
    drill.owners = {"s": moved_from}
    of_b = {"b": said("b", "a", STUCK)}
    for after in (0.0, FOLD):
        own = (STUCK,) if moved_from == "a" else ()
        drill.see(*own, others=of_b if moved_from == "b" else {"b": said("b", "a")}, after=after)
    assert [ended for _, ended in drill.news()] == [[]]
    drill.owners, drill.moved_at = {"s": "b"}, drill.at
    drill.see(others={"b": said("b", "a")}, after=10)
    for _ in range(10):
        drill.see(others={"b": said("b", "a", AWAY)}, after=FOLD)
    drill.see(others={"b": said("b", "a", STUCK)}, after=10)
    assert drill.news() == []
    drill.see(others={"b": said("b", "a")}, after=10)
    drill.see(others={"b": said("b", "a")}, after=FOLD)
    assert [len(ended) for _, ended in drill.news()] == [1]


def test_what_a_connected_session_can_have_is_over_when_its_next_owner_would_have_found_it() -> (
    None
):
    drill = Drill()
    for after in (0.0, FOLD):
        drill.see(others={"b": said("b", "a", THROWS)}, after=after)
    drill.news()
    drill.owners, drill.moved_at = {"s": "a"}, drill.at
    for after in (FOLD, FOLD, FOUND_AGAIN - 2 * FOLD):
        drill.see(others={"b": said("b", "a")}, after=after)
        assert drill.news() == []
    drill.see(others={"b": said("b", "a")}, after=FOLD)
    assert [len(ended) for _, ended in drill.news()] == [1]


def test_what_begins_and_ends_after_a_move_is_not_reported() -> None:
    drill = Drill()
    drill.owners, drill.moved_at = {"s": "b"}, drill.at
    drill.see(others={"b": said("b", "a", THROWS)}, after=10)
    for _ in range(3):
        drill.see(others={"b": said("b", "a")}, after=FOLD)
    assert drill.news() == []


def test_what_this_host_cannot_know_yet_after_its_restart_is_not_over() -> None:
    drill = Drill()
    drill.owners = {"s": "a"}
    drill.see(SCAN)
    drill.see(SCAN, after=FOLD)
    reported = configured(AlertState(destinations=drill.state.destinations), ["one"])
    now = of_one_host([condition("start", "s")], reported, complete=True, age=APART)
    rows = {"s": Owner(session="s", host="a", incarnation="i-a", epoch=1)}
    fact = alert_duty.observed("a", now, drill.records, {}, rows, reported, drill.at)
    assert not fact.is_over("unlinked/unlinked/s")


def test_what_another_host_has_to_find_again_is_its_own_to_say() -> None:
    """Host a was restarted, b was not."""
    drill = Drill()
    down = condition("webhooks_down")
    for after in (0.0, FOLD):
        drill.see(down, others={"b": said("b", "a", down)}, after=after)
    reported = configured(AlertState(destinations=drill.state.destinations), ["one"])
    now = of_one_host([], reported, complete=True, age=APART, at=drill.at + 2 * APART)
    fact = alert_duty.observed(
        "a", now, drill.records, {"b": said("b", "a")}, {}, reported, drill.at
    )
    assert not fact.is_over("webhooks_down/webhooks_down/@a")
    assert fact.is_over("webhooks_down/webhooks_down/@b")


def test_each_host_that_is_missing_is_one() -> None:
    drill = Drill()
    missing = condition("host_missing")
    drill.records = [host("a"), host("b", alive=False), host("c")]
    drill.see(missing)
    drill.see(missing, after=FOLD)
    drill.records = [host("a"), host("b", alive=False), host("c", alive=False)]
    drill.see(missing, after=10)
    drill.see(missing, after=FOLD)
    assert [it for it, _ in drill.news()] == [
        ["None/host_missing/None/b"],
        ["None/host_missing/None/c"],
    ]


def test_a_host_that_ended_in_order_has_nothing_open() -> None:
    drill = Drill()
    begun(drill)
    drill.records = [host("a"), host("b", alive=False, drain=True)]
    drill.owners = {"s": "a"}
    drill.see(SCAN, after=10)
    drill.see(SCAN, after=FOLD)
    assert drill.news() == [([], [B_LOW])]


def test_a_session_that_was_deleted_is_over() -> None:
    drill = Drill()
    begun(drill)
    drill.owners = None
    drill.see(others={"b": said("b", "a", LOW)}, after=100)
    assert drill.news() == [], "the owners are unknown"
    drill.owners = {}
    drill.see(others={"b": said("b", "a", LOW)}, after=10)
    drill.see(others={"b": said("b", "a", LOW)}, after=FOLD)
    assert drill.news() == [([], [B_SCAN])]


def test_a_host_that_has_just_begun_ends_nothing() -> None:
    """It has not seen the others, nor itself."""
    first = Drill()
    begun(first)
    drill = Drill(adopted(configured(AlertState(), ["one"]), first.state.destinations))
    drill.records, drill.owners = [], None
    for _ in range(3):
        drill.see(after=100, complete=False)
    for _ in range(3):
        drill.see(after=100)
    assert drill.news() == []


def test_who_takes_over_repeats_nothing_and_loses_nothing() -> None:
    first = Drill()
    begun(first)
    first.see(condition("engine_away"), others={"b": said("b", "a", LOW, SCAN)}, after=10)
    assert first.news() == [], "it dies within the minute"
    drill = Drill(adopted(configured(AlertState(), ["one"]), first.state.destinations))
    of_b = {"b": said("b", "a", LOW, condition("engine_away"))}
    drill.see(SCAN, others=of_b, after=20)
    drill.see(SCAN, others=of_b, after=FOLD)
    assert drill.news() == [(["b/engine_away/None/engine_away"], [])]


def test_what_all_see_the_one_that_sends_says() -> None:
    drill = Drill()
    room = condition("no_room")
    of_b = {"b": said("b", "a", room, condition("host_missing"))}
    drill.see(room, others=of_b)
    drill.see(room, others=of_b, after=FOLD)
    assert drill.news() == [(["None/no_room/None/no_room"], [])]


@pytest.mark.parametrize("kind", ["no_room", "hosts_differ"])
def test_what_another_host_alone_sees_of_all(kind: str) -> None:
    """Sessions that stay on a host that is being emptied; a host of an earlier version beside newer ones."""
    drill = Drill()
    it = condition(kind)
    of_b = {"b": said("b", "a", it)}
    drill.see(others=of_b)
    drill.see(others=of_b, after=FOLD)
    of_b_alone = f"b/{kind}/None/{kind}"
    assert drill.news() == [([of_b_alone], [])]
    for _ in range(3):
        drill.see(it, others=of_b, after=APART)
    assert drill.news() == [([f"None/{kind}/None/{kind}"], [])], "it is not over at b"
    drill.see(others={"b": said("b", "a")}, after=10)
    drill.see(others={"b": said("b", "a")}, after=FOLD)
    assert drill.news() == [([], [of_b_alone, f"None/{kind}/None/{kind}"])]


def test_a_host_that_is_forgotten_has_nothing_open() -> None:
    drill = Drill()
    begun(drill)
    missing = condition("host_missing")
    drill.records, drill.owners = [host("a"), host("b", alive=False)], {}
    drill.see(missing, after=10)
    drill.see(missing, after=FOLD)
    assert drill.news() == [(["None/host_missing/None/b"], [B_SCAN])]
    drill.records = []
    drill.see(after=100)
    drill.see(after=100)
    assert drill.news() == [], "the hosts are not read"
    drill.records = [host("a")]
    drill.see(after=10)
    drill.see(after=FOLD)
    assert drill.news() == [([], [B_LOW, "None/host_missing/None/b"])]
    assert not drill.state.open


def test_what_a_newer_host_blames() -> None:
    odd = said("b", "a", condition("new_kind"))
    with_odd = Heard(
        host="b",
        sender="a",
        complete=True,
        conditions=tuple(type(it)(**{**_fields(it), "blame": "moon"}) for it in odd.conditions),
    )
    drill = Drill()
    drill.see(others={"b": with_odd})
    drill.see(others={"b": with_odd}, after=FOLD)
    assert drill.news() == [(["b/new_kind/None/new_kind"], [])]


def _fields(it: Any) -> dict[str, Any]:
    return {name: getattr(it, name) for name in it.__struct_fields__}
