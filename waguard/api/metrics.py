"""GET /metrics: the conditions and a few numbers, for Prometheus."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from waguard import __version__
from waguard.api.deps import DEPS, ApiDeps
from waguard.api.health import STARTED_AT, memory_used
from waguard.api.route import route
from waguard.api.scope import Narrowing, sessions_seen, within
from waguard.core.blame import Condition
from waguard.core.conditions import Receiver
from waguard.core.keys import Right
from waguard.core.row_status import Status
from waguard.errors import WaguardError
from waguard.ports.sessions import SessionView
from waguard.wire.reports import PageVersion

if TYPE_CHECKING:
    from prometheus_client import Metric

Samples = Iterable[tuple[Mapping[str, str], float | None]]
"""Labels and value; None: it is not known."""
OF_ONE: Final = ("session",)
OF_STAGE: Final = ("session", "stage")
OF_VERSION: Final = ("session", "page", "document", "served_by", "wajs", "wajs_version")


@route(Right.READ, media=("text/plain", "application/openmetrics-text"), narrows=Narrowing.LIST)
async def show(request: web.Request) -> web.Response:
    """Conditions and numbers for Prometheus.

    A scraper sends its key as bearer token.
    """
    # 0.4 MB and 20 ms: only who is scraped pays for it
    from prometheus_client import CollectorRegistry  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    deps, names = request.app[DEPS], await sessions_seen(request)
    try:
        views = [it for it in await deps.sessions.views() if within(names, it.session_id)]
    except WaguardError:
        views = []  # unknown: no session is shown
    registry = CollectorRegistry(auto_describe=False)
    of_all = _of_all(deps) if names is None else ()
    registry.register(_Collected([*of_all, *_narrowed(deps, names), *_of_sessions(views)]))
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(registry), headers={"Content-Type": kind})


class _Collected:
    """What prometheus_client asks for."""

    def __init__(self, families: "list[Metric]") -> None:
        self._families = families

    def collect(self) -> "list[Metric]":
        return self._families


def _of_all(deps: ApiDeps) -> "Iterator[Metric]":
    health = deps.health()
    yield _family("waguard_info", "This daemon.", [({"version": __version__}, 1)], ("version",))
    yield _family("waguard_degraded", "1: something is wrong.", [({}, bool(health.problems))])
    about = "1: newer versions of WhatsApp Web are held back."
    held = any(it.type == "version_held" for it in health.conditions)
    yield _family("waguard_versions_held", about, [({}, held)])
    about = "Unix time at which the daemon started."
    yield _family("process_start_time_seconds", about, [({}, STARTED_AT)])
    about = "Memory of the daemon without its workers."
    yield _family("process_resident_memory_bytes", about, [({}, memory_used())])
    about = "Webhooks that are dead letters."
    yield _family("waguard_webhooks_dead", about, [({}, deps.message_health.dead)])


def _narrowed(deps: ApiDeps, names: Collection[str] | None) -> "Iterator[Metric]":
    yield from _conditions(it for it in deps.health().conditions if within(names, it.session))
    now, receivers = time.time(), deps.message_health.receivers
    found = [(_of(it), it) for it in receivers if within(names, it.session)]
    about = 'Webhooks that wait, by receiver; session "": that of webhook.url.'
    waiting = [(labels, it.waiting) for labels, it in found]
    yield _family("waguard_webhooks_waiting", about, waiting, OF_ONE)
    about = "Age of the first webhook that waits for its receiver."
    ages = [(labels, max(0.0, now - it.oldest)) for labels, it in found if it.oldest]
    yield _family("waguard_webhooks_oldest_seconds", about, ages, OF_ONE)


def _conditions(conditions: Iterable[Condition]) -> "Iterator[Metric]":
    names = ("type", "session", "blame", "reason")
    found = [
        ({"type": it.type, "session": it.session or "", "blame": it.blame, "reason": it.reason}, it)
        for it in conditions
    ]
    about = 'What is wrong; session "": with all of them.'
    yield _family("waguard_condition", about, [(labels, 1) for labels, _ in found], names)
    about = "Unix time at which it began."
    since = [(labels, it.since) for labels, it in found]
    yield _family("waguard_condition_since_seconds", about, since, names)
    linking = [
        ({"session": it.session or "", "stage": it.stage}, it) for _, it in found if it.stage
    ]
    about = "Seconds until the stage of a linking by passkey ends."
    left = [(labels, it.expires_in) for labels, it in linking]
    yield _family("waguard_passkey_seconds", about, left, OF_STAGE)
    about = "Seconds in which a linking by passkey needs no code that a person compares."
    left = [(labels, it.unattended_expires_in) for labels, it in linking]
    yield _family("waguard_passkey_unattended_seconds", about, left, OF_STAGE)


def _of_sessions(views: list[SessionView]) -> "Iterator[Metric]":
    counts = Counter(view.status for view in views)
    by_status = [({"status": it}, counts[it]) for it in Status]
    yield _family("waguard_sessions", "Sessions by their status.", by_status, ("status",))
    named = [({"session": view.session_id}, view) for view in views]
    up = [(labels, view.status == Status.CONNECTED) for labels, view in named]
    yield _family("waguard_session_connected", "1: it is connected.", up, OF_ONE)
    about = "Unplanned restarts of its worker since the daemon started."
    restarts = [(labels, view.restarts) for labels, view in named]
    yield _family("waguard_session_restarts_total", about, restarts, OF_ONE, kind="counter")
    about = "What its page is loaded with; a label is empty where that is not known."
    loaded = [(_version(view.session_id, it), 1) for view in views if (it := view.version)]
    yield _family("waguard_session_version_info", about, loaded, OF_VERSION)
    about = "Memory of its worker and its browser."
    used = [(labels, view.usage) for labels, view in named if view.usage]
    memory = [(labels, it.memory) for labels, it in used]
    yield _family("waguard_session_memory_bytes", about, memory, OF_ONE)
    about = "Share of one core that its worker and its browser use."
    cpu = [(labels, it.cpu_percent) for labels, it in used]
    yield _family("waguard_session_cpu_percent", about, cpu, OF_ONE)


def _version(session: str, it: PageVersion) -> dict[str, str]:
    return {
        "session": session,
        "page": str(it.page or ""),
        "document": str(it.document or ""),
        "served_by": it.served_by,
        "wajs": it.wajs or "",
        "wajs_version": it.wajs_version or "",
    }


def _of(receiver: Receiver) -> dict[str, str]:
    return {"session": receiver.session or ""}


def _family(
    name: str, about: str, samples: Samples, labels: tuple[str, ...] = (), *, kind: str = "gauge"
) -> "Metric":
    """One metric; of two samples with the same labels the last one counts."""
    from prometheus_client import Metric  # noqa: PLC0415 - as above

    found = Metric(name.removesuffix("_total"), about, kind)
    values = {tuple(given[label] for label in labels): value for given, value in samples}
    for given, value in values.items():
        if value is not None:
            found.add_sample(name, dict(zip(labels, given, strict=True)), float(value))
    return found
