"""GET /metrics, as Prometheus reads it."""

import asyncio
import re
import threading

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from tests.metrics_documentation import EVERY
from tests.waiting import wait_until
from waguard.api import metrics
from waguard.api.timings import Timings
from waguard.core.blame import Blame, Condition
from waguard.core.conditions import DeadLetters
from waguard.core.metrics import families
from waguard.core.replace import replace
from waguard.core.replace import replace as replaced
from waguard.core.webhooks.delivery import Cause, DeadLetterState
from waguard.errors import DatabaseUnavailableError, UnavailableError
from waguard.messaging.webhooks.endpoint_queues import Held
from waguard.ports.webhooks import Queued

PARKED = Condition(
    session="a",
    type="parked",
    blame=Blame.WHATSAPP,
    reason='say "no"\\',
    message="WhatsApp blocks it",
    since=1_732_233_600.0,
    remedy="Look at the phone.",
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(api: Api, **headers: str) -> Samples:
    answer = await api.call("GET", "/metrics", headers=headers)
    assert answer.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


async def test_sessions_are_counted_and_measured(api: Api) -> None:
    api.sessions.known["b"] = a_view(session_id="b", status="failed", usage=None, restarts=7)
    found = await scrape(api)
    assert value(found, "waguard_sessions", status="connected") == 1
    assert value(found, "waguard_sessions", status="failed") == 1
    assert value(found, "waguard_sessions", status="qr_scanning") == 0
    assert value(found, "waguard_session_connected", session=SESSION) == 1
    assert value(found, "waguard_session_connected", session="b") == 0
    assert value(found, "waguard_session_restarts_total", session="b") == 7
    assert value(found, "waguard_session_memory_bytes", session=SESSION) == 172 << 20
    assert value(found, "waguard_session_cpu_percent", session=SESSION) == 1.5
    assert value(found, "waguard_session_memory_bytes", session="b") is None, "it was not measured"
    assert (value(found, "process_resident_memory_bytes") or 0) > 1 << 20
    assert value(found, "waguard_degraded") == 0
    assert value(found, "waguard_workers") == 1
    assert value(found, "waguard_workers_memory_bytes") == 172 << 20
    assert value(found, "waguard_workers_cpu_percent") == 1.5


async def test_the_process_is_measured(api: Api) -> None:
    found = await scrape(api)
    assert (value(found, "process_cpu_seconds_total") or 0) > 0
    assert (value(found, "process_open_fds") or 0) > 3
    began = value(found, "process_start_time_seconds") or 0
    assert abs(began - psutil.Process().create_time()) < 5
    assert (value(found, "waguard_loop_seconds") or 0) >= 0


async def test_what_the_database_counts_of_messages(api: Api) -> None:
    letters = DeadLetters(
        session=None, cause=Cause.UNCERTAIN, count=3, sessions=1, since=1.0, newest=9, error=""
    )
    some = [
        letters,
        replaced(letters, cause=Cause.EXPIRED, count=2),
        replaced(letters, session="a"),
    ]
    api.deps.message_health._queued = Queued(pending={"*": 3}, dead=some)
    api.deps.message_health._answers = True
    found = await scrape(api)
    assert value(found, "waguard_webhooks_dead") == 8
    assert {it: value(found, "waguard_dead_letters", state=it) for it in DeadLetterState} == {
        **dict.fromkeys(DeadLetterState, 0),
        DeadLetterState.UNCERTAIN: 6,
        DeadLetterState.DEAD: 2,
    }
    assert [value(found, "waguard_outbox", state=it) for it in ("accepted", "uncertain")] == [0, 0]


async def test_held_chats_are_counted_by_session(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [Held(session_id=it, partition="c", since=1.0, why="it is down") for it in "aab"]
    monkeypatch.setattr(api.webhooks.queues, "held", lambda: held)
    found = await scrape(api)
    assert value(found, "waguard_chats_held", session="a") == 2
    assert value(found, "waguard_chats_held", session="b") == 1


async def test_what_was_counted_is_shown_as_counters_and_histograms(api: Api) -> None:
    api.deps.tally.add(families.HEAL, 3.0, "host")
    api.deps.tally.add(families.HEAL, 700.0, "host")
    api.deps.tally.add(families.RESTARTS, 2, "host")
    found = await scrape(api)
    assert value(found, "waguard_restarts_total", blame="host") == 2
    assert value(found, "waguard_restarts_total", blame="session") == 0
    heal = "waguard_heal_seconds"
    below = {
        le: value(found, f"{heal}_bucket", blame="host", le=le) for le in ("2.5", "5.0", "+Inf")
    }
    assert below == {"2.5": 0, "5.0": 1, "+Inf": 2}
    assert value(found, f"{heal}_sum", blame="host") == 703
    assert value(found, f"{heal}_count", blame="host") == 2
    assert value(found, f"{heal}_count", blame="network") == 0


async def test_each_metric_of_the_table_is_in_a_scrape_and_no_other(api: Api) -> None:
    text = (await api.call("GET", "/metrics")).content.decode()
    shown = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    ours = {name: kind for name, kind in shown.items() if name.startswith("waguard_")}
    assert ours == {it.name: it.kind for it in EVERY}


async def test_conditions_have_their_labels_and_their_beginning(api: Api) -> None:
    of_all = replaced(PARKED, session=None)
    api.sessions.status = replace(HEALTHY, conditions=(PARKED, PARKED, of_all))
    found = await scrape(api)
    labels = {"type": "parked", "session": "a", "blame": "whatsapp", "reason": 'say "no"\\'}
    assert value(found, "waguard_condition_since_seconds", **labels) == PARKED.since
    labels["needs_person"] = "true"  # nobody has decided about a reason that is unknown
    assert value(found, "waguard_condition", **labels) == 1
    assert value(found, "waguard_condition", **{**labels, "session": ""}) == 1
    assert value(found, "waguard_degraded") == 1


async def test_a_linking_by_passkey_has_its_stage_and_the_seconds_that_are_left(api: Api) -> None:
    linking = replaced(PARKED, stage="offered", expires_in=599.5, unattended_expires_in=299.5)
    api.sessions.status = replace(HEALTHY, conditions=(linking,))
    found = await scrape(api)
    labels = {"session": "a", "stage": "offered"}
    assert value(found, "waguard_passkey_seconds", **labels) == 599.5
    assert value(found, "waguard_passkey_unattended_seconds", **labels) == 299.5


async def test_a_condition_says_whether_it_needs_a_person(api: Api) -> None:
    spent = replaced(PARKED, reason="restart_budget")
    expired = replaced(PARKED, reason="qr_expired")
    api.sessions.status = replace(HEALTHY, conditions=(expired, spent))
    found = await scrape(api)
    needs = {
        dict(labels)["reason"]: dict(labels)["needs_person"]
        for name, labels in found
        if name == "waguard_condition"
    }
    assert needs == {"qr_expired": "false", "restart_budget": "true"}


async def test_unknown_sessions_are_absent_and_not_none(api: Api) -> None:
    """Not ``waguard_sessions{status="connected"} 0``, which wakes somebody up."""
    api.sessions.fail = UnavailableError("the database does not answer yet")
    found = await scrape(api)
    assert not [name for name, _ in found if re.match("waguard_(session|workers)", name)]
    assert value(found, "waguard_degraded") == 0
    api.sessions.fail = None
    assert value(await scrape(api), "waguard_sessions", status="connected") == 1


async def test_what_a_database_does_not_say_is_absent(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await scrape(api)  # nobody has asked for the webhooks yet
    assert not [name for name, _ in found if re.match("waguard_(dead|webhooks)", name)]
    await api.deps.message_health.count()
    assert value(await scrape(api), "waguard_webhooks_dead") == 0

    async def away() -> None:
        raise DatabaseUnavailableError("it is away")

    monkeypatch.setattr(api.deps.outgoing, "unended", away)
    monkeypatch.setattr(api.database.messages, "queued", away)
    await api.deps.message_health.count()
    found = await scrape(api)
    unknown = "waguard_(outbox|dead|webhooks_(dead|waiting))"
    assert not [name for name, _ in found if re.match(unknown, name)]
    assert value(found, "waguard_sessions", status="connected") == 1


@pytest.mark.parametrize("timings", [Timings(ping=0.01)])
async def test_a_database_that_hangs_delays_no_scrape(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.deps.outgoing, "unended", asyncio.Event().wait)
    found = await scrape(api)
    assert not [name for name, _ in found if name.startswith("waguard_outbox")]
    assert value(found, "waguard_sessions", status="connected") == 1


async def test_a_disk_that_hangs_delays_no_scrape(api: Api) -> None:
    """Every thread for files waits."""
    free, loop = threading.Event(), asyncio.get_running_loop()
    waiting = [loop.run_in_executor(None, free.wait) for _ in range(64)]
    try:
        assert value(await scrape(api), "waguard_degraded") == 0
    finally:
        free.set()
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("timings", [Timings(request=0.5, ping=0.01)])
async def test_a_scrape_that_hangs_holds_up_neither_the_daemon_nor_another_thread(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, threads = threading.Event(), list[int]()

    def hanging(*_: object) -> tuple[bytes, str]:
        threads.append(threading.get_ident())
        free.wait()
        return b"", "text/plain"

    monkeypatch.setattr(metrics, "_encoded", hanging)
    try:
        for _ in range(3):
            assert (await api.call("GET", "/metrics")).status == 503
        await wait_until(lambda: threads, "its thread has begun")
        assert len(threads) == 1
    finally:
        free.set()
    await wait_until(lambda: not api.app[metrics.SCRAPES], "the thread ends")
    while (await api.call("GET", "/metrics")).status != 200:
        pass  # this machine is busy
    assert len(threads) > 1


async def test_metrics_wants_the_key_and_takes_it_as_a_scraper_sends_it(api: Api) -> None:
    assert (await api.call("GET", "/metrics", key=None)).status == 401
    bearer = {"Authorization": f"Bearer {KEY}"}
    answer = await api.call("GET", "/metrics", key=None, headers=bearer)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await api.call("GET", "/metrics", headers=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")
