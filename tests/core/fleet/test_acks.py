"""Connected sessions that get no ack: which worker is replaced, and when it is WhatsApp's doing."""

from typing import Any

import pytest

from tests.core.engine_bench import EngineBench
from waguard.core.backoff import NEVER
from waguard.core.fleet.ack_watch import FAR, PAUSE, Late
from waguard.core.fleet.facts import AcksSeen, FleetRules
from waguard.core.fleet.network import Reading
from waguard.core.link import Link
from waguard.core.recycle import APART
from waguard.core.session.effects import Recycled
from waguard.core.session.facts import RestartRequested, StopRequested

LIMIT = 60.0
TWO = Late(2, LIMIT + 1)
EVERYWHERE = "acks_missing_everywhere"
THROW = "sends_throw_everywhere"


def up(*names: str) -> EngineBench:
    bench = EngineBench(*names, rules=FleetRules(ack_limit=LIMIT))
    bench.start(*names)
    bench.pass_time(1)
    return bench


def late(bench: EngineBench, name: str, it: Late = TWO, **fields: Any) -> None:
    """The page has confirmed it."""
    bench.post(name, AcksSeen(**{"late": it, "curable": it, "overdue": True, **fields}))


def in_vain(bench: EngineBench, name: str, it: Late = TWO) -> None:
    """It was replaced, and is late again."""
    late(bench, name, it, curable=None, overdue=False, in_vain=True)


def well(bench: EngineBench, name: str) -> None:
    bench.post(name, AcksSeen(acked_at=bench.at))


def replaced(bench: EngineBench) -> list[str]:
    return [name for name, effect in bench.done if isinstance(effect, Recycled)]


def test_several_late_sends_replace_the_worker_and_say_why() -> None:
    bench = up("s")
    late(bench, "s")
    assert bench.records("s", "recycled") == [str(TWO)]
    assert bench.link("s") is Link.CONNECTED
    assert bench.state("s").restarts == 0


@pytest.mark.parametrize(
    ("it", "busy"),
    [(Late(1, LIMIT + 1), False), (Late(1, FAR * LIMIT), False), (Late(2, LIMIT + 1), True)],
)
def test_a_single_one_and_a_call_under_way_are_waited_for(
    it: Late,
    busy: bool,  # noqa: FBT001
) -> None:
    bench = up("s")
    late(bench, "s", it, busy=busy)
    assert replaced(bench) == []
    late(bench, "s", Late(it.count, FAR * LIMIT + 1), busy=busy)
    assert replaced(bench) == ["s"]


def test_what_no_replacement_can_cure_replaces_nobody() -> None:
    bench = up("s")
    late(bench, "s", curable=None)
    bench.pass_time(APART)
    assert replaced(bench) == []


def test_the_one_that_has_waited_for_the_longest_goes_first_and_alone() -> None:
    bench = up("a", "b", "c")
    for name, longest in (("a", 61.0), ("b", 70.0), ("c", 65.0)):
        late(bench, name, Late(2, longest), busy=True)
    assert replaced(bench) == []
    for name, longest in (("b", 70.0), ("a", 61.0), ("c", 65.0)):
        late(bench, name, Late(2, longest))
    assert replaced(bench) == ["b"]
    bench.post("b", AcksSeen(acked_at=bench.at))
    bench.pass_time(PAUSE - 1)
    assert replaced(bench) == ["b"]
    bench.pass_time(1)
    assert replaced(bench) == ["b", "c"]


def test_while_one_is_on_trial_the_next_waits_for_longer() -> None:
    """It is not known yet whether a replacement helps."""
    bench = up("a", "b")
    late(bench, "a")
    late(bench, "b")
    bench.post("a", AcksSeen(on_trial=True))
    bench.pass_time(FAR * LIMIT - 1)
    assert replaced(bench) == ["a"]
    bench.pass_time(1)
    assert replaced(bench) == ["a", "b"]


def test_one_session_is_not_replaced_twice_within_a_back_off() -> None:
    bench = up("s")
    late(bench, "s")
    bench.pass_time(1)
    late(bench, "s", Late(9, 1e4))
    bench.pass_time(APART - 2)
    assert replaced(bench) == ["s"]
    bench.pass_time(1)
    assert replaced(bench) == ["s", "s"]


def test_a_replacement_for_another_reason_counts_too() -> None:
    bench = up("s")
    bench.post("s", RestartRequested(why="a test"))
    bench.pass_time(1)
    late(bench, "s")
    assert replaced(bench) == ["s"]  # that one


def test_a_canary_that_stays_late_makes_it_whatsapps() -> None:
    bench = up("a", "b")
    late(bench, "a")
    late(bench, "b")
    bench.post("a", AcksSeen(on_trial=True))
    bench.pass_time(PAUSE)
    assert (replaced(bench), bench.outages(EVERYWHERE)) == (["a"], [])  # nothing is proven yet
    in_vain(bench, "a")
    (why,) = bench.outages(EVERYWHERE)
    assert str(why).startswith("2 sessions are connected, but WhatsApp acknowledges nothing")
    # the canary may be unhealthy for a reason of its own: the other one gets its turn
    bench.pass_time(APART - PAUSE - 1)
    assert replaced(bench) == ["a"]
    bench.pass_time(1)
    assert replaced(bench) == ["a", "b"]
    well(bench, "a")
    assert bench.outages(EVERYWHERE) == [why, None]


def test_an_ack_of_late_anywhere_speaks_against_an_outage() -> None:
    bench = up("a", "b", "c")
    well(bench, "c")
    in_vain(bench, "a")
    late(bench, "b", curable=None)
    assert bench.outages(EVERYWHERE) == []
    bench.pass_time(FAR * LIMIT)
    late(bench, "b", Late(3, 200.0), curable=None)
    assert bench.outages(EVERYWHERE) == []
    bench.pass_time(1)
    late(bench, "b", Late(3, 201.0), curable=None)
    assert len(bench.outages(EVERYWHERE)) == 1


def test_of_an_unhealthy_session_an_older_ack_proves_nothing() -> None:
    bench = up("a", "b")
    in_vain(bench, "a")
    late(bench, "b", curable=None, acked_at=bench.at)
    assert len(bench.outages(EVERYWHERE)) == 1


def test_one_that_only_the_clock_says_to_be_late_counts_with_those_that_the_page_confirmed() -> (
    None
):
    bench = up("a", "b")
    in_vain(bench, "a")
    assert bench.outages(EVERYWHERE) == []
    bench.post("b", AcksSeen(overdue=True))
    assert len(bench.outages(EVERYWHERE)) == 1


def test_two_unhealthy_sessions_do_not_block_each_other() -> None:
    """Nobody else sends; a replacement helps each of them."""
    bench = up("a", "b")
    late(bench, "a")
    late(bench, "b")
    well(bench, "a")
    bench.pass_time(PAUSE)
    assert replaced(bench) == ["a", "b"]
    assert bench.outages(EVERYWHERE) == []


def test_who_is_not_connected_is_not_asked() -> None:
    bench = up("a", "b")
    in_vain(bench, "a")
    bench.report("b", Link.OFFLINE)
    late(bench, "b", late=None, curable=None, overdue=False)
    assert bench.outages(EVERYWHERE) == []
    bench.report("b")
    late(bench, "b", curable=None)
    assert len(bench.outages(EVERYWHERE)) == 1


# ---- until when it is WhatsApp's ----


def everywhere(*names: str) -> EngineBench:
    """The first was replaced in vain, and the others are late, too."""
    bench = up(*names)
    in_vain(bench, names[0])
    for name in names[1:]:
        late(bench, name)
    assert len(bench.outages(EVERYWHERE)) == 1
    bench.pass_time(1)
    return bench


def test_the_outage_stands_while_connections_are_lost_and_workers_replaced() -> None:
    bench = everywhere("a", "b")
    for name in "ab":
        bench.report(name, Link.OFFLINE)
        bench.report(name)  # the waiting time of its sends begins again
    bench.post("b", RestartRequested(why="a test"))
    bench.pass_time(1)
    bench.post("a", AcksSeen(in_vain=True))
    bench.post("b", AcksSeen(on_trial=True))
    bench.pass_time(FAR * LIMIT)
    assert len(bench.outages(EVERYWHERE)) == 1


def test_an_ack_from_before_ends_nothing() -> None:
    bench = everywhere("a", "b")
    bench.post("b", AcksSeen(acked_at=bench.at - 2))
    assert bench.outages(EVERYWHERE)[1:] == []
    bench.post("b", AcksSeen(on_trial=True, acked_at=bench.at))  # another send of its throws
    assert bench.outages(EVERYWHERE)[1:] == []
    well(bench, "b")
    assert bench.outages(EVERYWHERE)[1:] == [None]


def test_an_ack_from_before_its_connection_was_lost_ends_nothing() -> None:
    bench = everywhere("a", "b")
    late(bench, "b", acked_at=bench.at)  # one came, and the next sends are late
    bench.pass_time(1)
    bench.report("b", Link.OFFLINE)  # what was late is late no more: its time begins again
    bench.report("b")
    assert bench.fleet.acks["b"].late is None
    assert bench.outages(EVERYWHERE)[1:] == []
    bench.pass_time(1)
    well(bench, "b")
    assert bench.outages(EVERYWHERE)[1:] == [None]


def test_an_ack_of_another_version_ends_nothing() -> None:
    bench = everywhere("a", "b", "c")
    bench.post("b", AcksSeen(acked_at=bench.at, other_arm=True))
    assert bench.outages(EVERYWHERE)[1:] == []
    bench.post("b", AcksSeen(acked_at=bench.at))  # now all are to have it
    assert bench.outages(EVERYWHERE)[1:] == [None]


def test_nor_does_one_speak_against_it() -> None:
    bench = up("a", "b", "c")
    bench.post("c", AcksSeen(acked_at=bench.at, other_arm=True))
    in_vain(bench, "a")
    late(bench, "b")
    assert len(bench.outages(EVERYWHERE)) == 1


def test_the_outage_ends_when_nobody_is_left_that_waits() -> None:
    bench = everywhere("a", "b", "c")
    late(bench, "c")
    bench.post("a", StopRequested())
    bench.report("b", Link.QR_PENDING)
    assert bench.outages(EVERYWHERE)[1:] == []
    bench.forget("c")
    assert bench.outages(EVERYWHERE)[1:] == [None]
    assert bench.fleet.ack_outage is None


# ---- what the decision about versions cures ----


def test_who_is_loaded_again_for_its_version_is_left_to_that() -> None:
    bench = up("a", "b")
    late(bench, "a", Late(9, 1e4), versions_decide=True)
    late(bench, "b", Late(9, 1e3), versions_decide=True)
    bench.pass_time(APART)
    assert replaced(bench) == []
    assert bench.fleet.read_host_at == NEVER, "nobody waits for what the host says"
    late(bench, "b", Late(9, 1e3))
    assert replaced(bench) == ["b"]


def test_a_load_for_a_version_that_is_in_vain_shows_that_it_is_everywhere() -> None:
    bench = up("a", "b")
    late(bench, "b", versions_decide=True)
    in_vain(bench, "a")
    assert len(bench.outages(EVERYWHERE)) == 1


def test_that_one_is_on_trial_outlives_its_worker() -> None:
    bench = up("a", "b")
    late(bench, "a")
    bench.post("a", AcksSeen(on_trial=True))
    bench.report("a", Link.OFFLINE)
    bench.report("a")
    late(bench, "b")
    bench.pass_time(FAR * LIMIT - 1)
    assert replaced(bench) == ["a"]
    bench.pass_time(1)
    assert replaced(bench) == ["a", "b"]


def test_while_the_network_is_away_nobody_is_replaced() -> None:
    bench = up("a", "b")
    bench.network = Reading(reachable=False, error="refused")
    bench.report("b", Link.OFFLINE)
    bench.report("a", Link.OFFLINE)
    assert bench.fleet.network_down
    late(bench, "a")
    bench.pass_time(120)
    assert replaced(bench) == []


def test_nothing_is_read_when_nobody_is_late() -> None:
    bench = up("a", "b")
    late(bench, "a", Late(1, LIMIT + 1))
    assert bench.fleet.read_host_at < NEVER
    bench.post("a", AcksSeen())
    assert (bench.fleet.acks, bench.fleet.read_host_at) == ({}, NEVER)
    late(bench, "a", Late(1, LIMIT + 1))
    bench.forget("a")
    assert (bench.fleet.acks, bench.fleet.read_host_at) == ({}, NEVER)


def test_one_that_is_stopped_is_replaced_no_more() -> None:
    bench = up("a")
    late(bench, "a", Late(1, LIMIT + 1))
    bench.post("a", StopRequested())
    assert bench.fleet.acks == {}
    bench.pass_time(FAR * LIMIT)
    assert bench.spawned == ["a"]


def test_pages_that_throw_are_replaced_one_at_a_time_and_named_when_that_is_in_vain() -> None:
    throws = Late(2, 0.0, "TypeError: x is not a function")
    bench = up("a", "b", "c")
    late(bench, "a", throws)
    late(bench, "b", throws)
    assert bench.records("a", "recycled") == [str(throws)]
    in_vain(bench, "a", throws)
    why = (
        "the pages of 2 sessions throw errors at sends (TypeError: x is not a function); replacing a worker"
        " did not help"
    )
    assert bench.outages(THROW) == [why]
    assert bench.outages(EVERYWHERE) == []
    bench.pass_time(APART - 1)
    assert replaced(bench) == ["a"]
    well(bench, "a")
    well(bench, "b")
    assert bench.outages(THROW) == [why, None]
