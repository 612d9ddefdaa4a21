"""What supervision logs of one session: a fact is one line. Workers log as the configuration says."""

from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from tests.supervision.bench import Bench
from tests.supervision.fake_workers import FakeProcess
from tests.supervision.sessions import connected, until, up, written
from tests.supervision.test_held_webhooks import HELD
from tests.supervision.world import LeftBehind, World
from tests.waiting import wait_until
from waguard.config.sections import Log
from waguard.supervision.log_control import KIND, LogControl
from waguard.supervision.status_writer import AuditLog
from waguard.wire.calls import Failed, SetLog, Value
from waguard.wire.events import LoggedOut, ProfileMended
from waguard.wire.worker import LogSettings


@pytest.fixture
def said() -> Iterator[list[dict[str, Any]]]:
    """Every line from INFO on, as its fields."""
    lines: list[dict[str, Any]] = []
    sink = logger.add(lambda it: lines.append(it.record["extra"]), level="INFO", format="")
    yield lines
    logger.remove(sink)


async def test_a_worker_that_is_replaced_is_said_once_by_each_who_has_something_to_say(
    bench: Bench, world: World, said: list[dict[str, Any]]
) -> None:
    session = await bench.add()
    process = await up(session)
    await written(session)
    said.clear()
    process.stands_still.set()
    await until(session, lambda s: not connected(s))
    await until(session, connected)
    assert [line["event"] for line in said] == [
        *("session_unhealthy", "status", "worker_exited", "restart", "worker_started", "status"),
    ]
    assert {line["session"] for line in said} == {"s"}
    assert said[1]["why"] == "the worker was stopped (SIGSTOP)"


async def test_a_status_is_said_in_words(bench: Bench, world: World) -> None:
    lines: list[str] = []
    sink = logger.add(lambda it: lines.append(it.record["message"]), level="INFO", format="")
    session = await bench.add()
    process = await up(session)
    process.report("offline", details="the phone is away")
    await until(session, lambda s: not connected(s))
    logger.remove(sink)
    assert "connected" in lines
    assert lines[-1] == "disconnected: the phone is away"


async def test_what_a_worker_reports_is_said_once(
    bench: Bench, world: World, said: list[dict[str, Any]]
) -> None:
    session = await bench.add()
    process = await up(session)
    said.clear()
    process.event(ProfileMended(done=("a lock was removed",), grave=False))
    process.event(ProfileMended(done=("a copy was restored",), grave=True))
    process.event(LoggedOut(reason="user_initiated"))
    await wait_until(lambda: len(said) == 3, "they are logged")
    assert [line["event"] for line in said] == ["profile_tidied", "profile_mended", "logged_out"]


async def test_unresponsiveness_is_a_change_of_a_condition(
    bench: Bench, world: World, said: list[dict[str, Any]]
) -> None:
    session = await bench.add()
    process = await up(session)
    process.beat()
    await until(session, lambda s: bool(s.state.worker and s.state.worker.page_at))
    said.clear()
    world.clock.advance(3.0)
    bench.it.mailbox.tick()
    process.beat()
    await wait_until(lambda: len(said) == 2, "it is over")
    reported = [(line["event"], line["condition"]) for line in said]
    assert reported == [("page_silent", "page"), ("page_answers", "page")]


@pytest.mark.timings(backfill_retry=0.01)
async def test_a_failed_backfill_is_a_line(
    bench: Bench, world: World, said: list[dict[str, Any]]
) -> None:
    """At the first time the page may be on its way to another load."""
    world.spawn.script.backfills = Failed(kind="not_ready", error="the page is loading")
    session = await bench.add()
    process = await up(session)
    await wait_until(lambda: "backfill_failed" in [line["event"] for line in said], "it is logged")
    process.script.backfills, failed = Value(), len(process.caught_up)
    await wait_until(lambda: len(process.caught_up) > failed, "it was read")
    assert [line["event"] for line in said].count("backfill_failed") == failed - 1


async def test_webhooks_that_wait_are_a_line_when_it_begins_and_when_it_ends(
    empty: Bench, said: list[dict[str, Any]]
) -> None:
    await empty.connected()
    said.clear()
    for found in (HELD, HELD, []):
        empty.it.health.report("messages", found)
    reported = [(line["event"], line["condition"], line["session"]) for line in said]
    assert reported == [
        ("webhooks_held", "webhooks_held", "s"),
        ("webhooks_released", "webhooks_held", "s"),
    ]


# ---- how workers log ----

DEBUG, INFO = LogSettings(level="DEBUG"), LogSettings(level="INFO")


async def follows(process: FakeProcess, *wanted: LogSettings) -> None:
    """It is asked for these, one after the other, and does so."""
    await wait_until(
        lambda: process.calls == [SetLog(log=log) for log in wanted], f"{process.calls}: {wanted}"
    )


async def test_a_worker_follows_the_level_while_it_runs(bench: Bench, world: World) -> None:
    world.spawn.script.reports = ({"link": "connected", "log": INFO},)
    session = await bench.add()
    process = await up(session)
    world.change("log", level="DEBUG")
    session.runner.follow_log()
    await follows(process, DEBUG)
    process.report(log=DEBUG)
    await until(session, lambda s: bool(s.runner.report and s.runner.report.log == DEBUG))
    session.runner.follow_log()
    process.report(log=INFO)  # as one that was restored from an earlier moment
    await follows(process, DEBUG, DEBUG)


async def test_the_next_worker_starts_with_it(bench: Bench, world: World) -> None:
    world.change("log", level="ERROR", format="json")
    session = await bench.add()
    process = await up(session)
    assert process.spec.log == LogSettings(level="ERROR", format="json")  # type: ignore[union-attr]


async def test_an_adopted_worker_follows_and_one_of_another_version_is_left_alone(
    bench: Bench, world: World
) -> None:
    world.change("log", level="DEBUG")
    world.spawn.script.reports = ({"link": "connected", "log": INFO},)
    adopted = await bench.add("new")
    left = await world.left_behind("new")
    adopted.adopt(left.process, left.record)
    await follows(left.process, DEBUG)

    world.spawn.script.reports = ({"link": "connected"},)
    other = await bench.add("old")
    older: LeftBehind = await world.left_behind("old")
    other.adopt(older.process, older.record)
    await until(other, connected)
    other.runner.follow_log()
    await other.traffic.call(SetLog(log=INFO))  # what was asked before came before
    assert older.process.calls == [SetLog(log=INFO)]


async def test_a_worker_that_cannot_says_so(
    bench: Bench, world: World, said: list[dict[str, Any]]
) -> None:
    world.change("log", level="DEBUG")
    session = await bench.add()

    async def gone(_: object) -> Value | None:
        process = session.runner.process
        assert isinstance(process, FakeProcess)
        process.hang_up()
        return None

    world.spawn.script.answer = gone
    world.spawn.script.reports = ({"link": "connected", "log": INFO},)
    session.start()
    await wait_until(
        lambda: any(line["event"] == "worker_call_failed" for line in said), "it is logged"
    )


# ---- the level that somebody asks for ----


async def test_a_level_is_asked_for_audited_and_ended(
    world: World, said: list[dict[str, Any]]
) -> None:
    applied: list[Log] = []
    entries: list[Any] = []
    trail = AuditLog(None, world.store, world.clock, publish=entries.append, retry=1.0)
    log = LogControl(Log(), trail, applied.append)
    log.ask("DEBUG", by="user 0")
    log.ask("DEBUG", by="user 0")
    assert (log.effective.level, log.configured.level) == ("DEBUG", "INFO")
    log.ask(None, by="user 1")
    assert applied == [Log(level="DEBUG"), Log()]
    reported = [(it.kind, it.before, it.after, it.reason) for it in entries]
    assert reported == [
        (KIND, "INFO", "DEBUG", "user 0 asked for it; it ends at the restart"),
        (KIND, "DEBUG", "INFO", "user 1 ended it"),
    ]
    assert [(line["event"], line["after"]) for line in said] == [(KIND, "DEBUG"), (KIND, "INFO")]


async def test_a_reload_of_another_section_leaves_it_and_one_of_this_ends_it(world: World) -> None:
    applied: list[Log] = []
    trail = AuditLog(None, world.store, world.clock, publish=lambda _: None, retry=1.0)
    log = LogControl(Log(), trail, applied.append)
    log.ask("DEBUG", by="user 0")
    log.configure(Log())
    assert log.effective.level == "DEBUG"
    log.configure(Log(level="WARNING", format="json"))
    assert log.effective == Log(level="WARNING", format="json") == applied[-1]
