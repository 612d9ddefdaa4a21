"""The daemon's alerts: from a condition to a destination and back, over restarts, reloads and failures."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from loguru import logger

from tests.clocks import Clock
from tests.messaging.alert_receiver import alert_receiver
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Alerts as Section
from waguard.config.sections import Config
from waguard.core.alerts.alerts import APART, FOLD, FOUND_AGAIN, RETRY
from waguard.core.alerts.destinations import AlertDestination
from waguard.core.alerts.notice import Notice
from waguard.core.blame import Blame, Condition
from waguard.core.fleet.page_restarts import EVERYWHERE
from waguard.core.incidents.folding import fleet_condition
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError
from waguard.host.memory.alert_memory import AlertMemory
from waguard.messaging.alerts import delivery
from waguard.messaging.alerts.alerts import BEAT_EVERY, Alerts
from waguard.ports.sessions import Health
from waguard.ports.store import AuditEntry

PARKED: Final = Condition(
    session="a",
    type="parked",
    blame=Blame.OPERATOR,
    reason="conflict",
    message="it is open elsewhere",
    since=1_789_999_000.0,
    remedy="Close it.",
)
STUCK, THROWS, AWAY = (
    replace(PARKED, type=kind, reason=reason, message=f"{kind} it is")
    for kind, reason in (("link_stuck", "link_stuck"), ("sends_throw", ""), ("link", "offline"))
)
LINES: Final = "webhook https://first.example/\nslack https://second.example/\n"


class World:
    """A daemon's alerts, whose destinations are here: ``got`` by name; ``refuses`` and ``hangs`` have names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "destinations"
        self.write(LINES)
        self.config = Config(
            alerts=Section(destination_file=self.file, page_url="https://wa.example")
        )
        self.clock = Clock()
        self.got: list[tuple[str, Notice]] = []
        self.refuses: set[str] = set()
        self.hangs: set[str] = set()
        self.free = asyncio.Event()
        self.free.set()
        self.asked = 0
        self.database: list[AuditEntry] | None = []
        self.alerts = self.daemon()

    def write(self, lines: str) -> None:
        self.file.write_text(lines)
        self.file.chmod(0o600)

    def daemon(self) -> Alerts:
        made = Alerts(
            lambda: self.config,
            AlertMemory(self.folder),
            self,
            self.clock,
            host="wa1",
            deliver=self._deliver,
        )
        made.configure()
        return made

    async def audit(self, session_id: str | None) -> Sequence[AuditEntry]:
        if self.database is None:
            raise DatabaseUnavailableError("it is away")
        return self.database

    async def _deliver(self, to: AlertDestination, notice: Notice) -> str | None:
        name = to.url.removeprefix("https://").partition(".")[0]
        self.asked += 1
        await self.free.wait()
        if name in self.hangs:
            await asyncio.Event().wait()
        if name in self.refuses:
            return "it answered 500"
        self.got.append((name, notice))
        return None

    def see(self, *conditions: Condition, after: float = 0.0, **more: bool) -> None:
        self.clock.live(after)
        known = {"supervising": True, "database": True, "restored": True} | more
        self.alerts.tick(
            Health(total=1, connected=0, disconnected=1, conditions=conditions, **known)
        )

    async def idle(self) -> None:
        await wait_until(
            lambda: not self.alerts._tasks or (self.hangs and len(self.alerts._tasks) == 1),
            "all is on its way",
        )

    async def begun(self, it: Condition = PARKED) -> None:
        self.see(it)
        self.see(it, after=FOLD)
        await self.idle()

    async def restarted(self) -> None:
        """The next daemon has restored its sessions."""
        await self.alerts.close()
        self.got.clear()
        self.alerts = self.daemon()
        self.see(restored=False)

    async def pass_time(self, seconds: float, *conditions: Condition) -> None:
        for _ in range(int(seconds / 10)):
            self.see(*conditions, after=10)
        await self.idle()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.alerts.close()


async def test_begin_and_end_reach_every_destination(world: World) -> None:
    world.database = [AuditEntry(session_id="a", kind="restart", reason="x", at=1.0)]
    await world.begun()
    assert sorted(name for name, _ in world.got) == ["first", "second"]
    notice = world.got[0][1]
    assert "it is open elsewhere" in notice.title
    assert notice.page == "https://wa.example/#/session/a"
    world.got.clear()
    world.see(after=1)
    world.see(after=FOLD)
    await world.idle()
    assert [it.urgent for _, it in world.got] == [False, False]


async def test_an_undeliverable_alert_is_a_condition_until_it_is_delivered(world: World) -> None:
    world.refuses = {"second"}
    await world.begun()
    [it] = world.alerts.conditions()
    assert (it.type, it.message) == (
        "alerts_undeliverable",
        "line 2, slack at second.example: it answered 500",
    )
    assert [name for name, _ in world.got] == ["first"]
    world.refuses = set()
    world.see(PARKED, it, after=RETRY)
    await world.idle()
    assert [name for name, _ in world.got] == ["first", "second"]
    assert world.alerts.conditions() == []


async def test_a_destination_that_hangs_holds_up_nothing(world: World) -> None:
    world.hangs = {"first"}
    await world.begun()
    assert [name for name, _ in world.got] == ["second"]
    world.see(PARKED, after=APART)
    assert [name for name, _ in world.got] == ["second"], "the first one has its turn still"


async def test_a_database_that_is_away_takes_nothing_from_an_alert_but_its_history(
    world: World,
) -> None:
    world.database = None
    await world.begun()
    assert [it.content["begun"][0]["tried"] for _, it in world.got] == [[], []]


async def test_a_bug_at_an_alert_is_a_failure_like_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Notice:
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr("waguard.core.alerts.notice.of_notification", broken)
        await world.begun()
    [it] = world.alerts.conditions()
    assert "waguard failed at it" in it.message
    world.see(PARKED, after=RETRY)
    await world.idle()
    assert len(world.got) == 2


async def test_the_next_daemon_sends_nothing_twice_and_reports_the_end(world: World) -> None:
    await world.begun()
    await world.alerts.close()
    world.got.clear()
    world.alerts = world.daemon()
    world.see(restored=False)
    world.see(restored=False, after=APART)
    world.see(PARKED, after=1)
    world.see(PARKED, after=APART)
    await world.idle()
    assert world.got == []
    world.see(after=1)
    world.see(after=FOLD)
    await world.idle()
    assert [it.title for _, it in world.got] == [
        "waguard on wa1: over: a: it is open elsewhere"
    ] * 2


async def test_what_the_next_daemon_cannot_have_found_again_is_not_over(world: World) -> None:
    """The session is as it was: its link is found to be stuck after the same steps, nine minutes later."""
    await world.begun(STUCK)
    await world.restarted()
    await world.pass_time(5)  # it adopts the worker
    await world.pass_time(540, AWAY)
    await world.pass_time(2 * APART, STUCK)
    assert world.got == []
    await world.pass_time(FOLD + 10)
    assert [it.title for _, it in world.got] == ["waguard on wa1: over: a: link_stuck it is"] * 2


async def test_a_clock_that_was_set_back_over_a_restart_ends_nothing(world: World) -> None:
    await world.begun(STUCK)
    await world.alerts.close()
    world.got.clear()
    world.clock.at -= 7_200
    world.alerts = world.daemon()
    world.see(restored=False)
    await world.pass_time(540, AWAY)
    await world.pass_time(2 * APART, STUCK)
    assert world.got == []


async def test_what_ends_with_the_connection_is_over_soon_after_a_restart(world: World) -> None:
    await world.begun()
    await world.restarted()
    await world.pass_time(2 * FOLD + 20)
    assert len(world.got) == 2


@pytest.mark.parametrize("again", [True, False])
async def test_what_a_connected_session_can_have_is_over_when_it_would_have_been_found_again(
    world: World, *, again: bool
) -> None:
    await world.begun(THROWS)
    await world.restarted()
    await world.pass_time(FOUND_AGAIN - 10)
    if again:
        await world.pass_time(10, THROWS)
        await world.pass_time(10)
    assert world.got == []
    await world.pass_time(FOLD + 20)
    assert len(world.got) == 2


@pytest.mark.parametrize(
    "kind", ["webhooks_down", "webhooks_late", "dead_letters", "letters_stored", EVERYWHERE]
)
async def test_what_messages_and_sessions_have_to_show_first_is_not_over_after_a_restart(
    world: World, kind: str
) -> None:
    """A receiver is down again after some attempts, and dead letters are there when they are counted."""
    found = fleet_condition(kind, f"{kind} it is", since=world.clock.at)
    await world.begun(found)
    await world.restarted()
    await world.pass_time(2 * APART)
    await world.pass_time(2 * APART, found)
    assert world.got == []
    await world.pass_time(FOLD + 10)
    assert [it.title for _, it in world.got] == [f"waguard on wa1: over: {kind} it is"] * 2


async def test_what_is_not_found_again_in_half_an_hour_is_over(world: World) -> None:
    await world.begun(fleet_condition("webhooks_down", "it refuses", since=world.clock.at))
    await world.restarted()
    await world.pass_time(FOUND_AGAIN - 10)
    assert world.got == []
    await world.pass_time(FOLD + 20)
    assert len(world.got) == 2


async def test_what_waguard_reads_off_at_once_is_over_soon_after_a_restart(world: World) -> None:
    await world.begun(fleet_condition("disk_low", "1 GB is left", since=world.clock.at))
    await world.restarted()
    await world.pass_time(FOLD + 20)
    assert len(world.got) == 2


async def test_a_session_that_stays_away_keeps_no_alert_that_is_over(world: World) -> None:
    """Else the same cause would be reported to nobody when it comes again."""
    await world.begun(STUCK)
    await world.restarted()
    await world.pass_time(FOUND_AGAIN - 10, AWAY)
    assert world.got == []
    await world.pass_time(FOLD + 20, AWAY)
    assert [it.title for _, it in world.got] == ["waguard on wa1: over: a: link_stuck it is"] * 2


async def test_what_was_on_its_way_when_the_daemon_ended_is_sent_by_the_next(world: World) -> None:
    world.hangs = {"first"}
    await world.begun()
    await world.alerts.close()
    world.hangs = set()
    world.alerts = world.daemon()
    await world.begun()
    assert [name for name, _ in world.got] == ["second", "first"]


async def test_an_answer_that_comes_while_the_daemon_ends_counts(world: World) -> None:
    world.free.clear()
    world.see(PARKED)
    world.see(PARKED, after=FOLD)
    await wait_until(lambda: world.asked == 2, "both wait for their answer")
    closing = asyncio.create_task(world.alerts.close())
    world.free.set()
    await closing
    assert len(world.got) == 2
    world.alerts = world.daemon()
    await world.begun()
    assert len(world.got) == 2


async def test_quiet_hours_are_those_of_this_hosts_clock(world: World) -> None:
    minute = time.strftime("%H:%M", time.localtime(world.clock.at))
    later = time.strftime("%H:%M", time.localtime(world.clock.at + 3_600))
    section = replace(world.config.alerts, quiet=f"{minute}-{later}")
    world.config = replace(world.config, alerts=section)
    await world.begun()
    assert world.got == []
    world.see(PARKED, after=3_600)
    await world.idle()
    assert len(world.got) == 2


def said(world: World) -> str:
    """What the condition says."""
    [it] = world.alerts.conditions()
    assert it.type == "alerts_undeliverable"
    return it.message


async def test_a_reload_reads_the_file_again_and_keeps_what_was_known_where_it_is_wrong(
    world: World,
) -> None:
    world.write("pager https://first.example/\nslack https://third.example/")
    world.alerts.configure()
    assert "line 1: it begins with no known kind" in said(world)
    await world.begun()
    assert sorted(name for name, _ in world.got) == ["first", "second", "third"]
    since, world.clock.at = world.alerts.conditions()[0].since, world.clock.at + 5
    world.file.unlink()
    world.alerts.configure()
    assert "No such file" in said(world)
    assert world.alerts.conditions()[0].since == since, "it was wrong all the time"
    world.write(LINES.replace("second", "fourth"))
    world.alerts.configure()
    assert world.alerts.conditions() == []
    world.see(PARKED, after=1)
    await world.idle()
    assert [name for name, _ in world.got][3:] == ["fourth"]


async def test_a_daemon_starts_with_the_good_lines_and_says_which_are_wrong(world: World) -> None:
    world.write(LINES.replace("slack", "slakc"))
    world.alerts = world.daemon()
    assert "line 2: it begins with no known kind" in said(world)
    await world.begun()
    assert [name for name, _ in world.got] == ["first"]
    assert "line 2" in said(world), "of the file, whatever the others accept"


async def test_a_file_that_is_away_at_the_start_makes_nobody_forget_what_was_sent(
    world: World,
) -> None:
    await world.begun()
    await world.alerts.close()
    world.file.unlink()
    world.alerts = world.daemon()
    world.see(PARKED)
    await world.alerts.close()
    world.write(LINES)
    world.alerts = world.daemon()
    await world.begun()
    assert len(world.got) == 2


@pytest.mark.parametrize("lasts", [True, False])
async def test_a_start_with_a_wrong_line_does_not_forget_what_that_destination_was_sent(
    world: World, *, lasts: bool
) -> None:
    await world.begun()
    for lines in (LINES.replace("slack", "slakc"), LINES):
        world.write(lines)
        await world.restarted()
        await world.pass_time(2 * APART, *([PARKED] if lasts else []))
        if lasts:
            assert world.got == []
        else:
            name = "first" if "slakc" in lines else "second"
            assert [(it, notice.urgent) for it, notice in world.got] == [(name, False)]


async def test_a_line_that_is_right_again_goes_on_where_its_destination_was(world: World) -> None:
    """And one that a person removes is forgotten."""
    await world.begun()
    world.write(LINES.replace("slack", "slakc"))
    await world.restarted()
    world.write(LINES)
    world.alerts.configure()
    await world.pass_time(2 * APART, PARKED)
    assert world.got == []
    for lines in (LINES.partition("slack")[0], LINES):
        world.write(lines)
        world.alerts.configure()
        await world.pass_time(2 * APART, PARKED)
    assert [name for name, _ in world.got] == ["second"]


@pytest.mark.parametrize("spoil", ["mode", "gone", "text"])
async def test_a_file_that_others_read_or_nobody_is_a_condition(world: World, spoil: str) -> None:
    match spoil:
        case "mode":
            world.file.chmod(0o644)
        case "gone":
            world.file.unlink()
        case _:
            world.file.write_bytes(b"\xff\xfe")
    world.alerts = world.daemon()
    await world.begun()
    assert str(world.file) in said(world)
    assert world.got == []


async def test_without_destinations_a_tick_does_nothing(world: World) -> None:
    world.config = Config()
    world.alerts.configure()
    await world.begun()
    assert (world.got, world.alerts.conditions()) == ([], [])


async def test_a_bug_at_the_heartbeat_is_said_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config = Config(alerts=Section(heartbeat_url="http://127.0.0.1:1/beat"))
    monkeypatch.setattr(delivery, "sender", lambda: None)
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message} {extra[why]}", level="WARNING")
    for _ in range(2):
        world.see(after=BEAT_EVERY)
        await world.idle()
    logger.remove(sink)
    assert lines == ["the heartbeat does not arrive waguard failed at it: TypeError\n"]


async def test_the_heartbeat_is_called_each_minute_while_waguard_supervises(world: World) -> None:
    async with alert_receiver() as receiver:
        section = Section(heartbeat_url=f"{receiver.url}/beat")
        world.config = Config(alerts=section)
        world.see(supervising=False)
        await world.idle()
        counts = []
        receiver.answers.append(500)
        for after in (0.0, BEAT_EVERY - 1, 1.0, 1.0):
            world.see(after=after)
            await world.idle()
            counts.append(len(receiver.calls))
        assert counts == [1, 1, 2, 2]
        assert {call[:2] for call in receiver.calls} == {("GET", "/beat")}


async def test_the_end_goes_on_where_what_was_sent_cannot_be_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: AlertMemory, __: object) -> None:
        raise LookupError

    monkeypatch.setattr(AlertMemory, "save", broken)
    await world.alerts.close()
    hangs = threading.Event()
    monkeypatch.setattr(AlertMemory, "save", lambda *_: hangs.wait())
    async with asyncio.timeout(DEADLINE):
        await world.alerts.close()
    hangs.set()


async def test_a_standby_says_that_the_database_is_back_and_says_the_next_outage_too(
    world: World,
) -> None:
    world.write("webhook https://first.example/\n")
    world.alerts.configure()
    waits = fleet_condition("standby", "it waits", since=0.0)
    down = fleet_condition("database_down", "it is away", since=0.0)
    dead = fleet_condition("dead_letters", "3 of them", since=0.0)
    said = []
    world.see(PARKED, dead, down)
    for found in ((down,), (), (down,), ()):
        world.see(waits, *found, after=APART, supervising=False, restored=False)
        world.see(waits, *found, after=FOLD, supervising=False, restored=False)
        await world.idle()
        said += [notice for _, notice in world.got]
        world.got.clear()
    begun = [[it["type"] for it in notice.content["begun"]] for notice in said]
    ended = [[it["type"] for it in notice.content["ended"]] for notice in said]
    assert begun == [["parked", "dead_letters", "database_down"], [], ["database_down"], []]
    assert ended == [[], ["database_down"], [], ["database_down"]], "of the rest it knows nothing"


async def test_the_heartbeat_is_not_called_while_the_start_fails(world: World) -> None:
    failed = fleet_condition("begin_failed", "there is no table whatsapp_accounts", since=0.0)
    async with alert_receiver() as receiver:
        world.config = Config(alerts=Section(heartbeat_url=f"{receiver.url}/beat"))
        world.see(failed, restored=False)
        await world.idle()
        assert receiver.calls == []
        world.see(restored=False)
        await world.idle()
        assert len(receiver.calls) == 1
