"""GET /metrics: conditions, numbers, and what was counted since the start, for Prometheus."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec import Struct

from waguard import __version__
from waguard.api.deps import DEPS
from waguard.api.rights import Narrowing, sessions_seen, within
from waguard.api.route import route
from waguard.api.timings import TIMINGS
from waguard.core.blame import Condition
from waguard.core.conditions import Receiver
from waguard.core.keys import Right
from waguard.core.messages.send_states import State
from waguard.core.metrics import families
from waguard.core.metrics.tally import Count, Histogram, Tally
from waguard.core.row_status import Status
from waguard.core.webhooks.delivery import DeadLetterState, dead_letter_state
from waguard.errors import UnavailableError, WaguardError
from waguard.ports.sessions import Health, SessionView
from waguard.ports.webhooks import Queued
from waguard.wire.reports import PageVersion

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from waguard.ports.cluster import HostNumbers

Samples = Iterable[tuple[Mapping[str, str], float | None]]
"""Labels and value; None: it is not known."""
Families = Iterator["Metric"]
SCRAPES: Final = web.AppKey("scrapes", set[asyncio.Future[tuple[bytes, str]]])
"""The one that a thread makes the text of: a disk that hangs gets no second thread."""


@route(Right.READ, media=("text/plain", "application/openmetrics-text"), narrows=Narrowing.LIST)
async def show(request: web.Request) -> web.Response:
    """Conditions and numbers for Prometheus.

    A scraper sends its key as bearer token. What is not known is absent.
    """
    seen = await _read(request)
    accepted = request.headers.get("Accept", "")
    scrapes = request.app[SCRAPES]
    try:
        async with asyncio.timeout(request.app[TIMINGS].ping):
            while scrapes:
                await asyncio.wait(scrapes)
    except TimeoutError:
        raise UnavailableError(
            "an earlier scrape has not ended", remedy="check this host's disks", retry_after=5
        ) from None
    # a thread of its own: the common ones may all wait for a disk, which is what metrics are to show
    own = ThreadPoolExecutor(1, "scrape")
    scrape = asyncio.get_running_loop().run_in_executor(own, _encoded, seen, accepted)
    own.shutdown(wait=False)  # a request that is cancelled waits for no disk either
    scrapes.add(scrape)
    scrape.add_done_callback(scrapes.discard)
    body, kind = await asyncio.shield(scrape)
    return web.Response(body=body, headers={"Content-Type": kind})


class _Seen(Struct, frozen=True, kw_only=True):
    """All that a scrape shows, read in one go; a thread makes the text of it."""

    names: Collection[str] | None
    """The sessions that the caller sees; None: all, and what is about none."""
    now: float
    health: Health
    standby: bool
    views: list[SessionView] | None
    """None: it is not known which sessions there are."""
    outbox: Mapping[State, int]
    """Empty: the database does not answer."""
    queued: Queued | None
    dead: int | None
    receivers: list[Receiver]
    held: Counter[str]
    tally: Tally
    turn: float
    hosts: "HostNumbers | None"
    """None: there is one host."""


async def _read(request: web.Request) -> _Seen:
    deps, names = request.app[DEPS], await sessions_seen(request)
    views: list[SessionView] | None = None
    with contextlib.suppress(WaguardError):
        views = [it for it in await deps.sessions.views() if within(names, it.session_id)]
    outbox: Mapping[State, int] = {}
    with contextlib.suppress(WaguardError, TimeoutError):
        async with asyncio.timeout(request.app[TIMINGS].ping):
            outbox = await deps.outgoing.unended() if names is None else {}
    clock = asyncio.get_running_loop().time
    began = clock()
    await asyncio.sleep(0)
    turn = clock() - began
    health, messages = deps.health(), deps.message_health
    return _Seen(
        names=names,
        now=time.time(),
        health=health,
        standby=deps.standby() is not None,
        views=views,
        outbox=outbox,
        queued=messages.queued,
        dead=messages.dead if messages.queued else None,
        receivers=[it for it in messages.receivers if within(names, it.session)],
        held=Counter(
            it.session_id for it in deps.webhooks.queues.held() if within(names, it.session_id)
        ),
        tally=deps.tally,
        turn=turn,
        hosts=deps.cluster.numbers() if deps.cluster else None,
    )


def _encoded(seen: _Seen, accepted: str) -> tuple[bytes, str]:
    """The text in the format that is accepted, and its type."""
    # 0.4 MB and 20 ms: only who is scraped pays for it
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    if seen.names is None:
        registry.register(ProcessCollector(registry=None))
    registry.register(_Collected(list(_families(seen))))
    encode, kind = choose_encoder(accepted)
    return encode(registry), kind


class _Collected:
    """What prometheus_client asks for."""

    def __init__(self, families: "list[Metric]") -> None:
        self._families = families

    def collect(self) -> "list[Metric]":
        return self._families


def _families(seen: _Seen) -> Families:
    if seen.names is None:
        yield from _of_all(seen)
        yield from _counted(seen.tally)
    yield from _conditions([it for it in seen.health.conditions if within(seen.names, it.session)])
    yield from _webhooks(seen)
    yield from _of_sessions(seen.views)
    if seen.hosts:
        from waguard.api import host_metrics  # noqa: PLC0415 - few have several

        for metric, samples in host_metrics.series(seen.hosts, seen.names):
            yield _family(metric, samples)


def _of_all(seen: _Seen) -> Families:
    health, queued = seen.health, seen.queued
    held = any(it.type == "version_held" for it in health.conditions)
    yield _family(families.INFO, [({"version": __version__}, 1)])
    yield _family(families.DEGRADED, [({}, bool(health.problems))])
    yield _family(families.STANDBY, [({}, seen.standby)])
    yield _family(families.VERSIONS_HELD, [({}, held)])
    yield _family(families.BROWSERS_OUTDATED, [({}, health.browsers_outdated)])
    yield _family(families.LOOP, [({}, seen.turn)])
    yield _family(families.OUTBOX, [({"state": it}, count) for it, count in seen.outbox.items()])
    yield _family(families.WEBHOOKS_DEAD, [({}, seen.dead)])
    states = Counter[DeadLetterState]()
    for letters in queued.dead if queued else ():
        states[dead_letter_state(letters.cause)] += letters.count
    shown = DeadLetterState if queued else ()
    yield _family(families.DEAD_LETTERS, [({"state": it}, states[it]) for it in shown])
    used = [it.usage for it in seen.views or () if it.usage]
    known = seen.views is not None
    yield _family(families.WORKERS, [({}, len(used) if known else None)])
    memory, cpu = sum(it.memory for it in used), sum(it.cpu_percent or 0.0 for it in used)
    yield _family(families.WORKERS_MEMORY, [({}, memory if known else None)])
    yield _family(families.WORKERS_CPU, [({}, cpu if known else None)])


def _counted(tally: Tally) -> Families:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - as above

    for metric, series in tally.series.items():
        histogram = HistogramMetricFamily(metric.name, metric.about, labels=list(metric.labels))
        counts: list[tuple[Mapping[str, str], float | None]] = []
        for values, it in series.items():
            match it:
                case Count(value=value):
                    counts.append((dict(zip(metric.labels, values, strict=True)), value))
                case Histogram(bounds=bounds):
                    ends = [*map(str, bounds), "+Inf"]
                    buckets = list(zip(ends, it.below(), strict=True))
                    histogram.add_metric(values, buckets, sum_value=it.sum)
        yield _family(metric, counts) if metric.kind == "counter" else histogram


def _webhooks(seen: _Seen) -> Families:
    found = [({"session": it.session or ""}, it) for it in seen.receivers]
    waiting = [(labels, it.waiting) for labels, it in found]
    yield _family(families.WEBHOOKS_WAITING, waiting if seen.queued else ())
    ages = [(labels, max(0.0, seen.now - it.oldest)) for labels, it in found if it.oldest]
    yield _family(families.WEBHOOKS_OLDEST, ages)
    yield _family(
        families.CHATS_HELD, [({"session": it}, count) for it, count in seen.held.items()]
    )


def _conditions(conditions: list[Condition]) -> Families:
    found = [
        ({"type": it.type, "session": it.session or "", "blame": it.blame, "reason": it.reason}, it)
        for it in conditions
    ]
    shown = [({**labels, "needs_person": str(it.needs_person).lower()}, 1) for labels, it in found]
    yield _family(families.CONDITION, shown)
    yield _family(families.CONDITION_SINCE, [(labels, it.since) for labels, it in found])
    linking = [
        ({"session": it.session or "", "stage": it.stage}, it) for _, it in found if it.stage
    ]
    yield _family(families.PASSKEY, [(labels, it.expires_in) for labels, it in linking])
    left = [(labels, it.unattended_expires_in) for labels, it in linking]
    yield _family(families.PASSKEY_UNATTENDED, left)


def _of_sessions(views: list[SessionView] | None) -> Families:
    counts = Counter(view.status for view in views or ())
    statuses = Status if views is not None else ()
    yield _family(families.SESSIONS, [({"status": it}, counts[it]) for it in statuses])
    named = [({"session": view.session_id}, view) for view in views or ()]
    up = [(labels, view.status == Status.CONNECTED) for labels, view in named]
    yield _family(families.SESSION_CONNECTED, up)
    yield _family(families.SESSION_RESTARTS, [(labels, view.restarts) for labels, view in named])
    loaded = [(_version(view.session_id, it), 1) for _, view in named if (it := view.version)]
    yield _family(families.SESSION_VERSION, loaded)
    used = [(labels, view.usage) for labels, view in named if view.usage]
    yield _family(families.SESSION_MEMORY, [(labels, it.memory) for labels, it in used])
    yield _family(families.SESSION_CPU, [(labels, it.cpu_percent) for labels, it in used])
    tried = [(labels, view.sentinel) for labels, view in named if view.sentinel]
    yield _family(families.SENTINEL_OK, [(labels, it.error is None) for labels, it in tried])
    yield _family(families.SENTINEL_AT, [(labels, it.at) for labels, it in tried])


def _version(session: str, it: PageVersion) -> dict[str, str]:
    return {
        "session": session,
        "page": str(it.page or ""),
        "document": str(it.document or ""),
        "served_by": it.served_by,
        "wajs": it.wajs or "",
        "wajs_version": it.wajs_version or "",
    }


def _family(metric: families.Metric, samples: Samples) -> "Metric":
    """One metric; of two samples with the same labels the last one counts."""
    from prometheus_client.core import Metric  # noqa: PLC0415 - as above

    found = Metric(metric.name.removesuffix("_total"), metric.about, metric.kind)
    values = {tuple(given[label] for label in metric.labels): value for given, value in samples}
    for given, value in values.items():
        if value is not None:
            found.add_sample(metric.name, dict(zip(metric.labels, given, strict=True)), value)
    return found
