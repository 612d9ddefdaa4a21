"""Every metric of ``GET /metrics``: name, meaning, labels and their values, buckets. Pure.

No histogram has the label ``session``: each session would have a series for each bucket.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct, field

from waguard.core.blame import Blame
from waguard.core.messages.inbox import Kind
from waguard.core.messages.send_states import UNENDED
from waguard.core.row_status import Status
from waguard.core.webhooks.delivery import DeadLetterState


class Metric(Struct, frozen=True, eq=False):
    """One family of series, compared by identity."""

    name: str
    about: str
    labels: Mapping[str, Iterable[str]] = field(default_factory=dict)
    """The names, each with its values; empty: they are not known before."""
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram in seconds, each included."""

    def series(self) -> list[tuple[str, ...]]:
        """The values of the labels of each series, where all are known."""
        return list(itertools.product(*self.labels.values()))


_ANY: Final = ()
_SESSION: Final = {"session": _ANY}
_BLAME: Final = {"blame": tuple(Blame)}
OUTCOMES: Final = ("acked", "refused", "uncertain", "not_sent")
KINDS: Final = (
    *("text", "image", "video", "audio", "document", "voice", "sticker"),
    *("location", "contact", "poll", "reaction", "edit", "revoke"),
)
STATUSES: Final = ("2xx", "3xx", "4xx", "5xx", "none")

# ---- counted, and shown at a scrape ----

DETECT: Final = Metric(
    "waguard_detect_seconds",
    "From the last sign that a connected session was healthy until its trouble was seen.",
    _BLAME,
    "histogram",
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
HEAL: Final = Metric(
    "waguard_heal_seconds",
    "From there until the session was connected again; a session that a person stopped is not counted.",
    _BLAME,
    "histogram",
    (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0),
)
SEND: Final = Metric(
    "waguard_send_seconds",
    "From a message's command until its outcome, each attempt; the wait for the session is part of it.",
    {"outcome": OUTCOMES},
    "histogram",
    (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
PROBE: Final = Metric(
    "waguard_probe_seconds",
    "Until a page answered a probe; a page that does not answer is not counted.",
    {},
    "histogram",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
SLOT_WAIT: Final = Metric(
    "waguard_start_slot_seconds",
    "A session's wait for its start slot.",
    {},
    "histogram",
    (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0),
)
WEBHOOK: Final = Metric(
    "waguard_webhook_seconds",
    "One attempt to deliver a webhook, by the receiver's HTTP status; none: no answer came.",
    {"status": STATUSES},
    "histogram",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
RESTARTS: Final = Metric(
    "waguard_restarts_total",
    "Unplanned restarts of workers, by the blame of the failure.",
    _BLAME,
    "counter",
)
PAGE_LOADS: Final = Metric("waguard_page_loads_total", "Loads of pages.", {}, "counter")
SENDS: Final = Metric(
    "waguard_sends_total",
    "Attempts to send, by the message's kind and the outcome.",
    {"kind": KINDS, "outcome": OUTCOMES},
    "counter",
)
RECEIVED: Final = Metric(
    "waguard_received_total",
    "What sessions reported and the database stored.",
    {"kind": tuple(Kind)},
    "counter",
)
COUNTED: Final = (
    *(DETECT, HEAL, SEND, PROBE, SLOT_WAIT, WEBHOOK),
    *(RESTARTS, PAGE_LOADS, SENDS, RECEIVED),
)

# ---- read at a scrape ----

INFO: Final = Metric("waguard_info", "This daemon.", {"version": _ANY})
DEGRADED: Final = Metric("waguard_degraded", "1: something is wrong.")
STANDBY: Final = Metric(
    "waguard_standby", "1: another daemon has the database's lease, and this one waits for it."
)
VERSIONS_HELD: Final = Metric(
    "waguard_versions_held", "1: newer versions of WhatsApp Web are held back."
)
BROWSERS_OUTDATED: Final = Metric(
    "waguard_browsers_outdated", "Sessions that run another Chromium than the installed one."
)
LOOP: Final = Metric(
    "waguard_loop_seconds", "What else the event loop did before it went on with the scrape."
)
CONDITION: Final = Metric(
    "waguard_condition",
    'What is wrong; session "": with all of them; needs_person "true": waguard cannot end it by itself.',
    {
        "type": _ANY,
        **_SESSION,
        **_BLAME,
        "reason": _ANY,
        "needs_person": ("true", "false"),
    },
)
CONDITION_SINCE: Final = Metric(
    "waguard_condition_since_seconds",
    "Unix time at which it began.",
    {"type": _ANY, **_SESSION, **_BLAME, "reason": _ANY},
)
PASSKEY: Final = Metric(
    "waguard_passkey_seconds",
    "Seconds until the stage of a linking by passkey ends.",
    {**_SESSION, "stage": _ANY},
)
PASSKEY_UNATTENDED: Final = Metric(
    "waguard_passkey_unattended_seconds",
    "Seconds in which a linking by passkey needs no code that a person compares.",
    {**_SESSION, "stage": _ANY},
)
SESSIONS: Final = Metric("waguard_sessions", "Sessions by their status.", {"status": tuple(Status)})
SESSION_CONNECTED: Final = Metric("waguard_session_connected", "1: it is connected.", _SESSION)
SESSION_RESTARTS: Final = Metric(
    "waguard_session_restarts_total",
    "Unplanned restarts of its worker.",
    _SESSION,
    "counter",
)
SESSION_VERSION: Final = Metric(
    "waguard_session_version_info",
    "What its page is loaded with; a label is empty where that is not known.",
    dict.fromkeys(("session", "page", "document", "served_by", "wajs", "wajs_version"), _ANY),
)
SESSION_MEMORY: Final = Metric(
    "waguard_session_memory_bytes", "Memory of its worker and its browser.", _SESSION
)
SESSION_CPU: Final = Metric(
    "waguard_session_cpu_percent",
    "Share of one core that its worker and its browser use.",
    _SESSION,
)
SENTINEL_OK: Final = Metric(
    "waguard_session_sentinel_ok",
    "1: the newest message to its own number worked; absent: none was sent.",
    _SESSION,
)
SENTINEL_AT: Final = Metric(
    "waguard_session_sentinel_timestamp_seconds", "Unix time at which it was sent.", _SESSION
)
WORKERS: Final = Metric("waguard_workers", "Workers that run and were measured.")
WORKERS_MEMORY: Final = Metric(
    "waguard_workers_memory_bytes", "Memory of all workers and browsers."
)
WORKERS_CPU: Final = Metric(
    "waguard_workers_cpu_percent", "Share of one core that all workers and browsers use."
)
OUTBOX: Final = Metric(
    "waguard_outbox", "Messages whose sending has not ended, by their state.", {"state": UNENDED}
)
WEBHOOKS_WAITING: Final = Metric(
    "waguard_webhooks_waiting",
    'Webhooks that wait, by receiver; session "": that of webhook.url.',
    _SESSION,
)
WEBHOOKS_OLDEST: Final = Metric(
    "waguard_webhooks_oldest_seconds",
    "Age of the first webhook that waits for its receiver.",
    _SESSION,
)
CHATS_HELD: Final = Metric(
    "waguard_chats_held", "Chats whose webhooks wait until their session is connected.", _SESSION
)
WEBHOOKS_DEAD: Final = Metric("waguard_webhooks_dead", "Webhooks that are dead letters.")
DEAD_LETTERS: Final = Metric(
    "waguard_dead_letters", "Dead letters, as they are listed.", {"state": tuple(DeadLetterState)}
)
