"""One host sends alerts for all: over failovers, with the database and without it."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.api.fake_cluster import Everything, FakeHost
from tests.messaging.test_alerts import LINES, PARKED, World
from waguard.core.alerts.alerts import FOLD
from waguard.core.blame import Blame, Condition
from waguard.core.cluster.alert_duty import sender
from waguard.core.cluster.records import Owner
from waguard.core.replace import replace
from waguard.daemon.host_alerts import EVERY, UNASKED, HostAlerts
from waguard.errors import DatabaseUnavailableError

LOW: Final = Condition(
    type="disk_low",
    blame=Blame.HOST,
    reason="disk_low",
    message="1 GB is left",
    since=1_789_999_000.0,
    remedy="Free some.",
)


class Table:
    """As ``store.sent_alerts``."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[float, str]] = {}
        self.away = False

    async def read(self) -> Mapping[str, str]:
        self._require()
        return {name: record for name, (_, record) in self.rows.items()}

    async def write(self, records: Mapping[str, tuple[float, str]]) -> None:
        self._require()
        for name, new in records.items():
            if new[0] > self.rows.get(name, (-1.0, ""))[0]:
                self.rows[name] = new

    def _require(self) -> None:
        if self.away:
            raise DatabaseUnavailableError("it is away")


class Host:
    """One of them, with an own file and own destinations, which are the same."""

    def __init__(self, name: str, fleet: "Fleet", folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.name, self.fleet, self.folder = name, fleet, folder
        self.world = World(folder)
        self.world.clock = fleet.clock
        self.hosts = FakeHost(name, fleet.all)
        self.conditions: tuple[Condition, ...] = ()
        self.lives = True
        self.held = True
        self.read = True
        self.reaches = True
        self.says_whether_it_can_send = True
        self.begin()

    def begin(self) -> None:
        """A new daemon."""
        self.world.alerts = self.world.daemon()
        self.duty = HostAlerts(
            self.hosts,
            self,
            self.fleet.table,
            self.world.alerts,
            rows=lambda: {
                session: Owner(session=session, host=host, incarnation=f"i-{host}", epoch=1)
                for session, host in self.fleet.all.owners.items()
            },
            held=lambda: self.held,
            read=lambda: self.read,
        )
        self.world.alerts.several = self.duty

    async def answers(self, target: str, *, within: float) -> Mapping[str, Any]:
        assert target == "/api/cluster/conditions"
        assert within > 0
        living = [it.host for it in self.fleet.all.records.values() if it.alive]
        return {it: self.ask(self.fleet.hosts[it]) for it in living if it != self.name}

    def ask(self, other: "Host") -> Any:
        """None: it cannot be reached."""
        if not (other.lives and self.reaches):
            return None
        other.duty.asked(self.name)
        return {
            "host": other.name,
            "sender": sender(other.name, list(self.fleet.all.records.values())),
            "complete": True,
            "conditions": [
                {
                    "session_id": it.session,
                    "type": it.type,
                    "blame": it.blame,
                    "reason": it.reason,
                    "message": it.message,
                    "remedy": it.remedy,
                    "since": "2026-09-21T14:13:20Z",
                }
                for it in other.conditions
            ],
        }


class Fleet:
    """Hosts a and b; ``got`` is what the first destination has got, by whom."""

    def __init__(self, folder: Path) -> None:
        self.all = Everything()
        self.table = Table()
        self.clock: Any = World(folder).clock
        self.hosts: dict[str, Host] = {}
        for name in ("a", "b"):
            self.all.add(name, name)
            self.hosts[name] = Host(name, self, folder / name)
        self.a, self.b = self.hosts.values()

    async def live(self, seconds: float = 0.0) -> list[tuple[str, str]]:
        """So long passes; what was sent, by whom."""
        self.clock.live(seconds)
        for it in self.hosts.values():
            if it.lives and it.says_whether_it_can_send:
                self.all.change(it.name, alerts=it.world.alerts.can_send)
        for it in self.hosts.values():
            if it.lives:
                await it.duty.tick()
                it.world.see(*it.conditions)
                await it.world.idle()
        return self.news()

    def news(self) -> list[tuple[str, str]]:
        found = []
        for it in self.hosts.values():
            found += [(it.name, notice.title) for name, notice in it.world.got if name == "first"]
            it.world.got.clear()
        return found

    def die(self, host: Host) -> None:
        host.lives = False
        self.all.change(host.name, alive=False)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    for it in made.hosts.values():
        await it.world.alerts.close()


BEGUN: Final = "waguard on b: 1 GB is left"
OVER: Final = "waguard on b: over: 1 GB is left"


async def begun(fleet: Fleet) -> None:
    fleet.b.conditions = (LOW,)
    assert await fleet.live() == []
    assert await fleet.live(FOLD) == [("a", BEGUN)]


async def test_the_first_one_sends_for_all(fleet: Fleet) -> None:
    await begun(fleet)
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", OVER)]
    assert await fleet.live(10_000) == []


async def test_the_next_one_goes_on_and_repeats_nothing(fleet: Fleet) -> None:
    await begun(fleet)
    fleet.die(fleet.a)
    for _ in range(4):
        assert await fleet.live(FOLD) == []
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("b", OVER)]


async def test_the_next_one_goes_on_where_the_clock_was_set_back(fleet: Fleet) -> None:
    await begun(fleet)
    fleet.clock.at -= 3_600
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", OVER)]
    missing = replace(LOW, type="browser_missing", reason="browser_missing", message="no Chromium")
    fleet.b.conditions = (missing,)
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", "waguard on b: no Chromium")]
    await fleet.live(10)
    fleet.die(fleet.a)
    for _ in range(4):
        assert await fleet.live(FOLD) == []
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("b", "waguard on b: over: no Chromium")]


async def test_a_restart_where_the_clock_was_set_back(fleet: Fleet) -> None:
    """The table has what the file has."""
    throws = replace(PARKED, type="sends_throw", reason="sends_throw", message="its sends throw")
    fleet.all.owners["a"] = "a"
    fleet.a.conditions = (throws,)
    await fleet.live()
    assert len(await fleet.live(FOLD)) == 1
    fleet.clock.at -= 3_600
    fleet.a.conditions = ()
    fleet.a.begin()
    for _ in range(4):
        assert await fleet.live(FOLD) == []


async def test_and_loses_nothing(fleet: Fleet) -> None:
    """The first one dies within the minute."""
    fleet.b.conditions = (LOW,)
    await fleet.live()
    fleet.die(fleet.a)
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("b", BEGUN)]


async def test_the_first_one_comes_back(fleet: Fleet) -> None:
    """What it knew of before is old by then."""
    await begun(fleet)
    fleet.die(fleet.a)
    await fleet.live(10)
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("b", OVER)]
    fleet.a.begin()
    fleet.a.lives = True
    fleet.all.change("a", alive=True)
    for _ in range(4):
        assert await fleet.live(FOLD) == []
    fleet.b.conditions = (LOW,)
    await fleet.live(1_000)
    assert await fleet.live(FOLD) == [("a", BEGUN)]


async def test_without_the_database_it_is_written_later(fleet: Fleet) -> None:
    fleet.table.away = True
    await begun(fleet)
    assert not fleet.table.rows
    fleet.table.away = False
    await fleet.live(5)
    assert len(fleet.table.rows) == 2
    fleet.die(fleet.a)
    for _ in range(3):
        assert await fleet.live(FOLD) == []


async def test_a_restart_while_the_database_is_away(fleet: Fleet) -> None:
    """The file has what the table lacks, and stays the later one when the table is back."""
    fleet.table.rows = {}
    fleet.table.away = True
    await begun(fleet)
    fleet.a.begin()
    for away in (True, False, False):
        fleet.table.away = away
        assert await fleet.live(FOLD) == []
    assert len(fleet.table.rows) == 2


async def test_a_failover_while_the_database_is_away(fleet: Fleet) -> None:
    """What was said more than a minute before, the next one has read by then."""
    await begun(fleet)
    for _ in range(13):
        await fleet.live(5)
    fleet.table.away = True
    fleet.die(fleet.a)
    for _ in range(4):
        assert await fleet.live(FOLD) == []


async def test_a_host_without_its_lease_says_nothing_beside_the_others(fleet: Fleet) -> None:
    """It is declared dead by the others, and does not know it."""
    await begun(fleet)
    fleet.a.held = False
    seen = Everything()
    seen.records = dict(fleet.all.records)
    fleet.a.hosts.all = seen
    fleet.all.change("a", alive=False)
    fleet.a.conditions = (PARKED,)
    for _ in range(4):
        assert all(by == "b" for by, _ in await fleet.live(FOLD))


async def unasked(fleet: Fleet) -> list[tuple[str, str]]:
    """What is sent while nobody asks, until it is noticed, and folded."""
    found = []
    for _ in range(UNASKED + 2):
        found += await fleet.live(EVERY)
    return found + await fleet.live(FOLD)


async def test_the_first_one_and_the_engine_are_away(fleet: Fleet) -> None:
    """Nobody can declare it dead."""
    fleet.a.lives = fleet.b.held = False
    fleet.b.conditions = (LOW,)
    assert await unasked(fleet) == [("b", BEGUN)]
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("b", OVER)]


async def test_the_first_one_cannot_ask_another(fleet: Fleet) -> None:
    fleet.a.reaches = False
    fleet.a.conditions, fleet.b.conditions = (PARKED,), (LOW,)
    fleet.all.owners["a"] = "a"
    found = await unasked(fleet)
    assert sorted(by for by, _ in found) == ["a", "b"], "each says its own"
    assert ("b", BEGUN) in found
    rows = dict(fleet.table.rows)
    assert all("disk_low" not in record for _, record in rows.values()), "what a has sent"
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("b", OVER)]
    assert fleet.table.rows == rows
    fleet.a.reaches = True
    await fleet.live(1_000)
    fleet.b.conditions = (LOW,)
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", BEGUN)], "it is asked again"


async def test_what_was_sent_while_nobody_asked_may_come_twice(fleet: Fleet) -> None:
    """It is over once."""
    fleet.a.reaches = False
    fleet.b.conditions = (LOW,)
    assert await unasked(fleet) == [("b", BEGUN)]
    fleet.a.reaches = True
    await fleet.live(EVERY)
    assert await fleet.live(FOLD) == [("a", BEGUN)]
    fleet.b.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", OVER)]
    fleet.die(fleet.a)
    for _ in range(4):
        assert await fleet.live(FOLD) == []


async def test_the_first_one_that_has_destinations_sends_for_all(fleet: Fleet) -> None:
    """What the others say, too, which can send nothing."""
    fleet.a.world.write("")
    fleet.a.world.alerts.configure()
    fleet.a.conditions = (LOW,)
    assert await fleet.live() == []
    begun = [("b", BEGUN.replace("on b", "on a"))]
    assert await fleet.live(FOLD) == begun
    fleet.a.world.write(LINES)
    fleet.a.world.alerts.configure()
    for _ in range(4):
        assert await fleet.live(FOLD) == []
    fleet.a.conditions = ()
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", OVER.replace("on b", "on a"))]


async def test_the_first_one_is_of_a_version_that_does_not_say_that_it_has_no_destination(
    fleet: Fleet,
) -> None:
    fleet.a.says_whether_it_can_send = False
    fleet.a.world.write("")
    fleet.a.world.alerts.configure()
    fleet.b.conditions = (LOW,)
    assert await unasked(fleet) == [("b", BEGUN)]
    fleet.b.conditions = ()
    for _ in range(2):
        await fleet.live(EVERY)
    fleet.a.world.write(LINES)
    fleet.a.world.alerts.configure()
    assert await fleet.live(EVERY) == []
    assert await fleet.live(FOLD) == [("b", OVER)], "who has said it says that it is over"
    fleet.b.conditions = (LOW,)
    await fleet.live(1_000)
    assert await fleet.live(FOLD) == [("a", BEGUN)]


async def test_who_is_not_the_one_that_sends_may_ask(fleet: Fleet) -> None:
    """It is declared dead, and does not know it: what it is said it sends to nobody."""
    fleet.a.lives = False
    fleet.b.conditions = (LOW,)
    found = []
    for _ in range(2 * UNASKED):
        fleet.b.duty.asked("c")
        found += await fleet.live(FOLD)
    assert found == [("b", BEGUN)]


async def test_a_host_that_is_none_any_more(fleet: Fleet) -> None:
    """Where the hosts were not read since the start, it is unknown."""
    await begun(fleet)
    fleet.a.begin()
    fleet.a.read = fleet.b.lives = False
    del fleet.all.records["b"]
    for _ in range(4):
        assert await fleet.live(FOLD) == []
    fleet.a.read = True
    await fleet.live(10)
    assert await fleet.live(FOLD) == [("a", OVER)]


async def test_a_record_of_another_version(fleet: Fleet) -> None:
    fleet.table.rows = {"x": (1.0, "{"), **fleet.table.rows}
    await begun(fleet)
