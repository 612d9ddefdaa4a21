"""What people hear of several hosts: each once, and when it is over."""

import pytest

from tests.supervision.world import World
from waguard.core.blame import Blame
from waguard.core.cluster.host_lease import LeaseView
from waguard.core.cluster.records import Owner
from waguard.ports.store import AuditEntry
from waguard.supervision.cluster.reports import STARTS, ClusterReports
from waguard.supervision.outages import Outages
from waguard.supervision.status_writer import AuditLog


class Heard:
    """The reports, and the outages behind them."""

    def __init__(self, world: World) -> None:
        self.clock = world.clock
        entries: list[AuditEntry] = []
        trail = AuditLog(None, world.store, world.clock, publish=entries.append, retry=1.0)
        self.outages = Outages(trail)
        self.reports = ClusterReports(lambda: self.outages, world.clock.monotonic)

    @property
    def shown(self) -> list[str]:
        return [it.type for it in self.outages.conditions]

    def lease(self, *, held: bool) -> None:
        since = self.clock.monotonic() if held else None
        self.reports.changed(
            LeaseView(host="a", incarnation="i", held_since=since, newer_format=False, peers={})
        )


@pytest.fixture
def heard(world: World) -> Heard:
    return Heard(world)


async def test_one_call_without_an_answer_is_no_outage(heard: Heard) -> None:
    heard.reports.answered("no answer within 1.5 s")
    assert heard.shown == []
    heard.reports.answered(None)
    heard.reports.answered("no answer within 1.5 s")
    assert heard.shown == []
    heard.reports.answered("connection refused")
    assert heard.shown == ["engine_away"]
    heard.reports.answered(None)
    assert heard.shown == []


async def test_a_host_that_loses_its_lease_says_so_at_once(heard: Heard) -> None:
    heard.lease(held=True)
    heard.lease(held=False)
    assert heard.shown == ["host_without_lease"]
    heard.lease(held=True)
    assert heard.shown == []


async def test_a_daemon_that_begins_has_a_moment_for_it(heard: Heard) -> None:
    heard.lease(held=False)
    assert heard.shown == []
    heard.clock.advance(STARTS)
    heard.lease(held=False)
    assert heard.shown == ["host_without_lease"]


async def test_what_the_core_finds_of_the_hosts_is_shown_until_it_is_over(heard: Heard) -> None:
    heard.reports.conditions({"host_missing": "b is down", "no_room": None})
    assert heard.shown == ["host_missing"]
    heard.reports.conditions({"host_missing": None, "no_room": "2 sessions stay"})
    assert heard.shown == ["no_room"]


@pytest.mark.parametrize(
    ("kind", "blame"),
    [
        ("host_missing", Blame.HOST),
        ("no_room", Blame.HOST),
        ("credentials_not_shared", Blame.HOST),
        ("events_left_behind", Blame.HOST),
        ("host_without_lease", Blame.NETWORK),
        ("engine_away", Blame.NETWORK),
        ("hosts_differ", Blame.OPERATOR),
        ("ratchets_rolled_back", Blame.OPERATOR),
    ],
)
async def test_each_says_what_to_do_and_needs_a_person(
    heard: Heard, kind: str, blame: Blame
) -> None:
    heard.outages.update(kind, "it is so")
    [it] = heard.outages.conditions
    assert (it.blame, it.needs_person, it.degrades) == (blame, True, True)
    assert "`" in it.remedy, "it names a command or a setting"
    heard.outages.update(kind, None)
    assert heard.shown == []


async def test_what_is_taken_over_and_what_the_engine_does_not_answer_is_counted(
    heard: Heard,
) -> None:
    heard.lease(held=True)
    for host in ("b", None, "a"):
        heard.reports.claimed(Owner(session="s", host=host, incarnation=host, epoch=1), 2)
    assert heard.reports.takeovers == 1, "not a new session, and not its own from before"
    for why in ("no answer", None, "refused"):
        heard.reports.answered(why)
    assert heard.reports.failures == 2
