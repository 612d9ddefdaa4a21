"""Sessions behind proxies of their own: no witnesses of the host's network, no cases for the breaker."""

import pytest

from tests.core.engine_bench import EngineBench, Script
from tests.core.fleet.four import BROKEN, FOUR, break_all, changes, held
from waguard.core.blame import Blame
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
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


def test_failures_behind_own_proxies_open_no_breaker_and_spend_their_own_budget() -> None:
    them = fleet(*FOUR)
    for name in FOUR:
        them.exit(name, EXIT_BROWSER_NOT_STARTED)
    assert changes(them) == []
    assert [len(them.state(name).counted) for name in FOUR] == [1, 1, 1, 1]


def test_an_open_breaker_holds_none_that_has_a_proxy_of_its_own() -> None:
    them = fleet()
    them.script = BROKEN
    them.scripts["own"] = Script()
    break_all(them)
    them.add("own")
    them.post("own", ProxyChanged(proxied=True))
    them.start("own", asked=False)
    them.pass_time(2)
    assert them.link("own") is Link.CONNECTED
    them.exit("own", EXIT_BROWSER_NOT_STARTED)
    them.pass_time(3)
    assert them.link("own") is Link.CONNECTED, "its restart is its own, too"
    assert sum(held(them, name) for name in FOUR) >= 3


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
