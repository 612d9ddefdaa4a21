"""GET /metrics: the conditions and a few numbers, in Prometheus' text format."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aiohttp import web

from waguard import __version__
from waguard.api.deps import DEPS, ApiDeps
from waguard.api.health import STARTED_AT, memory_used
from waguard.core.conditions import Receiver
from waguard.core.status import Status
from waguard.errors import WaguardError
from waguard.ports import Health, SessionView

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Samples = Iterable[tuple[Mapping[str, str], float]]


async def show(request: web.Request) -> web.Response:
    """With a key, as /health/detailed: a scraper sends it as bearer token."""
    deps = request.app[DEPS]
    try:
        views = await deps.sessions.views()
    except WaguardError:
        views = []  # unknown: no session is shown
    lines = [*_of_all(deps), *_of_sessions(views)]
    return web.Response(body="".join(lines).encode(), headers={"Content-Type": CONTENT_TYPE})


def _of_all(deps: ApiDeps) -> Iterator[str]:
    health, now = deps.health(), time.time()
    yield from _family("waguard_info", "This daemon.", [({"version": __version__}, 1)])
    yield from _family("waguard_degraded", "1: something is wrong.", [({}, bool(health.problems))])
    yield from _conditions(health)
    about = "Unix time at which the daemon started."
    yield from _family("process_start_time_seconds", about, [({}, STARTED_AT)])
    about = "Memory of the daemon without its workers."
    yield from _family("process_resident_memory_bytes", about, [({}, memory_used())])
    receivers = deps.message_health.receivers
    about = 'Webhooks that wait, by receiver; session "": that of webhook.url.'
    waiting = [(_of(it), it.waiting) for it in receivers]
    yield from _family("waguard_webhooks_waiting", about, waiting)
    about = "Age of the first webhook that waits for its receiver."
    ages = [(_of(it), max(0.0, now - it.oldest)) for it in receivers if it.oldest is not None]
    yield from _family("waguard_webhooks_oldest_seconds", about, ages)
    about = "Webhooks that are dead letters."
    yield from _family("waguard_webhooks_dead", about, [({}, deps.message_health.dead)])


def _conditions(health: Health) -> Iterator[str]:
    found = [
        ({"type": it.type, "session": it.session or "", "blame": it.blame, "reason": it.reason}, it)
        for it in health.conditions
    ]
    about = 'What is not well; session "": with all of them.'
    yield from _family("waguard_condition", about, [(labels, 1) for labels, _ in found])
    about = "Unix time at which it began."
    since = [(labels, it.since) for labels, it in found]
    yield from _family("waguard_condition_since_seconds", about, since)


def _of_sessions(views: list[SessionView]) -> Iterator[str]:
    counts = Counter(view.status for view in views)
    by_status = [({"status": it}, counts[it]) for it in Status]
    yield from _family("waguard_sessions", "Sessions by their status.", by_status)
    named = [({"session": view.session_id}, view) for view in views]
    up = [(labels, view.status == Status.CONNECTED) for labels, view in named]
    yield from _family("waguard_session_connected", "1: it is connected.", up)
    about = "Unplanned restarts of its worker since the daemon started."
    restarts = [(labels, view.restarts) for labels, view in named]
    yield from _family("waguard_session_restarts_total", about, restarts, kind="counter")
    used = [(labels, view.usage) for labels, view in named if view.usage]
    about = "Memory of its worker and its browser."
    yield from _family(
        "waguard_session_memory_bytes", about, [(labels, it.memory) for labels, it in used]
    )
    about = "Share of one core that its worker and its browser use."
    yield from _family(
        "waguard_session_cpu_percent",
        about,
        [(labels, it.cpu_percent) for labels, it in used if it.cpu_percent is not None],
    )


def _of(receiver: Receiver) -> dict[str, str]:
    return {"session": receiver.session or ""}


def _family(name: str, about: str, samples: Samples, *, kind: str = "gauge") -> Iterator[str]:
    """One metric; of two samples with the same labels the last one counts."""
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
    values = {_labels(labels): value for labels, value in samples}
    for labels, value in values.items():
        yield f"{name}{labels} {float(value):.17g}\n"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
