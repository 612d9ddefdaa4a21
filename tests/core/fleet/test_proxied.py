"""Sessions behind proxies of their own: no witnesses of the host's network, but cases for the breaker."""

import pytest

from tests.core.engine_bench import EngineBench, Script
from tests.core.fleet.four import (
    BROKEN,
    FOUR,
    NOT_STARTED,
    break_all,
    canaries,
    changes,
    held,
)
from waguard.core.blame import Blame
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.fleet.breaker import FleetPolicy
from waguard.core.fleet.network import Reading
from waguard.core.host.admission import Cause
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.proxy import FAILS
from waguard.core.session import views
from waguard.core.session.facts import ProxyChanged
from waguard.core.session.page_load import FIRST_PAUSE

AWAY = Reading(reachable=False, error="refused")
DEAD = f"{FAILS}socks5://10.0.0.1:1080 accepts no connection: Connection refused"
HOUR = 3_600.0  # s


def fleet(*proxied: str) -> EngineBench:
    """Four that are up; these have proxies of their own."""
    made = EngineBench(*FOUR)
    for name in proxied:
        made.post(name, ProxyChanged(proxied=True))
    made.start(*FOUR)
    return made


def test_all_that_fail_behind_own_proxies_are_a_fleet_and_come_back_soon() -> None:
    them = fleet(*FOUR)
    them.script = BROKEN
    break_all(them)
    assert [(it.opened, it.cause) for it in changes(them)] == [(True, NOT_STARTED)]
    spent = [them.state(name).counted for name in FOUR]
    them.pass_time(HOUR, step=5.0)
    assert {them.lifecycle(name) for name in FOUR} == {State.BACKOFF}, "nobody is parked"
    assert [them.state(name).counted for name in FOUR] == spent, "no budget is spent"
    them.script = Script()
    them.pass_time(FleetPolicy().canary_interval + 10)
    assert {them.link(name) for name in FOUR} == {Link.CONNECTED}


def test_one_that_fails_behind_its_proxy_holds_nobody_and_spends_its_own_budget() -> None:
    them = fleet("a")
    them.scripts["a"] = BROKEN
    them.exit("a", EXIT_BROWSER_NOT_STARTED)
    them.pass_time(HOUR, step=5.0)
    assert them.lifecycle("a") is State.PARKED
    them.exit("b", EXIT_BROWSER_NOT_STARTED)
    them.pass_time(5)
    assert (them.link("b"), changes(them)) == (Link.CONNECTED, [])


def test_an_open_breaker_holds_those_behind_proxies_as_well_and_spends_no_budget() -> None:
    them = fleet("d")
    them.script = BROKEN
    break_all(them)
    assert held(them, "d")
    assert them.state("d").counted == ()
    them.scripts["d"] = Script()
    them.pass_time(4 * FleetPolicy().canary_interval)
    assert them.link("d") is Link.CONNECTED, "its turn came"


def test_a_proxy_that_fails_says_nothing_of_what_opened_the_breaker() -> None:
    them = fleet("a")
    them.script = BROKEN
    break_all(them)
    them.scripts["a"] = Script(reports=({"link": Link.OFFLINE, "details": DEAD},))
    them.pass_time(4 * FleetPolicy().canary_interval)
    assert them.link("a") is Link.OFFLINE
    assert [it.opened for it in changes(them)] == [True]
    assert len(canaries(them)) > 2, "the others take their turns"
    them.report("a")
    assert [it.opened for it in changes(them)][:2] == [True, False]


def test_only_those_that_use_the_hosts_network_are_its_witnesses() -> None:
    them = fleet("a", "b")
    them.network = AWAY
    for name in ("a", "b"):
        them.report(name, Link.OFFLINE)
    them.pass_time(60)
    assert them.outages("network_down") == [], "others are connected, and these say nothing of it"
    for name in ("c", "d"):
        them.report(name, Link.OFFLINE)
    them.report("a", Link.CONNECTED)
    them.pass_time(60)
    assert len(them.outages("network_down")) == 1, "that a is connected refutes nothing"
    assert views.conditions(them.state("c"))[0].message == them.fleet.network_down
    (of_b,) = views.conditions(them.state("b"))
    assert (of_b.reason, of_b.message) == ("offline", "the phone or the network is away")


def test_one_that_gives_up_its_proxy_is_a_witness_again() -> None:
    them = fleet("a")
    them.post("a", ProxyChanged(proxied=False))
    them.network = AWAY
    for name in FOUR:
        them.report(name, Link.OFFLINE)
    them.pass_time(5)
    assert len(them.outages("network_down")) == 1
    them.report("a")
    assert them.outages("network_down")[-1] is None
    them.forget("a")
    assert them.fleet.proxied == frozenset()


def test_a_proxy_that_fails_is_the_cause_and_nothing_else_is_tried() -> None:
    them = fleet("a")
    them.report("a", Link.OFFLINE, details=DEAD)
    them.pass_time(HOUR)
    (it,) = views.conditions(them.state("a"))
    assert (it.type, it.blame, it.reason, it.message) == ("link", Blame.NETWORK, "proxy", DEAD)
    assert "`waguard sessions proxy a`" in it.remedy
    assert it.needs_person, "nothing else says so: its link is not stuck, and the network is there"
    assert them.state("a").status.details == DEAD
    assert Kind.LINK_STUCK not in them.state("a").care.found
    assert (them.reloads("a"), them.state("a").workers, them.state("a").restarts) == (0, 1, 0)
    them.report("a", Link.OFFLINE)
    them.pass_time(HOUR)
    assert them.reloads("a"), "the proxy leads there, and its page does not come back"


def test_the_words_of_a_proxy_mean_nothing_without_one() -> None:
    them = fleet()
    them.report("a", Link.OFFLINE, details=DEAD)
    (it,) = views.conditions(them.state("a"))
    assert it.reason == "offline"


def test_a_refusal_behind_an_own_proxy_delays_nobody_else() -> None:
    them = fleet("a")
    why = "WhatsApp answers with HTTP status 403"
    them.report("a", Link.OFFLINE, refused=True, refusals=1, details=why)
    assert them.fleet.whatsapp.why is None
    them.add("e")
    them.start("e", asked=False)
    them.pass_time(2)
    assert (them.lifecycle("e"), them.waits("e")) == (State.RUNNING, None)
    them.pass_time(FIRST_PAUSE * 2)
    assert them.reloads("a"), "it is tried again all the same"


@pytest.mark.parametrize("known", [True, False])
def test_what_is_no_change_changes_nothing(known: bool) -> None:  # noqa: FBT001
    them = fleet("a") if known else fleet()
    before = them.state("a")
    them.post("a", ProxyChanged(proxied=known))
    assert them.state("a") is before
    assert them.waits("a") is not Cause.FLEET
