"""GET /metrics, as Prometheus reads it."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import KEY, Api
from tests.api.fake_sessions import HEALTHY, SESSION, a_view
from waguard.core.blame import Blame, Condition
from waguard.core.replace import replace as replaced
from waguard.errors import UnavailableError

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
    assert value(found, "waguard_webhooks_dead") == 0
    assert value(found, "waguard_degraded") == 0


async def test_conditions_have_their_labels_and_their_beginning(api: Api) -> None:
    of_all = replaced(PARKED, session=None)
    api.sessions.status = replace(HEALTHY, conditions=(PARKED, PARKED, of_all))
    found = await scrape(api)
    labels = {"type": "parked", "session": "a", "blame": "whatsapp", "reason": 'say "no"\\'}
    assert value(found, "waguard_condition", **labels) == 1
    assert value(found, "waguard_condition_since_seconds", **labels) == PARKED.since
    assert value(found, "waguard_condition", **{**labels, "session": ""}) == 1
    assert value(found, "waguard_degraded") == 1


async def test_a_linking_by_passkey_has_its_stage_and_the_seconds_that_are_left(api: Api) -> None:
    linking = replaced(PARKED, stage="offered", expires_in=599.5, unattended_expires_in=299.5)
    api.sessions.status = replace(HEALTHY, conditions=(linking,))
    found = await scrape(api)
    labels = {"session": "a", "stage": "offered"}
    assert value(found, "waguard_passkey_seconds", **labels) == 599.5
    assert value(found, "waguard_passkey_unattended_seconds", **labels) == 299.5


async def test_unknown_sessions_are_not_none(api: Api) -> None:
    api.sessions.fail = UnavailableError("the database does not answer yet")
    found = await scrape(api)
    assert not [name for name, _ in found if name.startswith("waguard_session_")]
    assert value(found, "waguard_degraded") == 0


async def test_it_wants_the_key_and_takes_it_as_a_scraper_sends_it(api: Api) -> None:
    assert (await api.call("GET", "/metrics", key=None)).status == 401
    bearer = {"Authorization": f"Bearer {KEY}"}
    answer = await api.call("GET", "/metrics", key=None, headers=bearer)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await api.call("GET", "/metrics", headers=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")
