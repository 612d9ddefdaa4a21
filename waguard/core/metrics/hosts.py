"""The metrics of a host of a cluster, beside those of ``families``. One host alone has none of them. Pure."""

from typing import Final

from waguard.core.metrics.families import Metric

LEASE: Final = Metric(
    "waguard_host_lease_seconds", "Seconds until this host's lease ends, if it is not renewed."
)
LEASE_LASTS: Final = Metric(
    "waguard_host_lease_lasts_seconds", "What it has right after a renewal (`cluster.lease`)."
)
OWNED: Final = Metric("waguard_host_sessions", "Sessions that this host owns.")
ROOM: Final = Metric("waguard_host_room", "How many more sessions this host can take.")
MISSING: Final = Metric(
    "waguard_host_missing",
    "1: this host sees the named one down, and not taken out in order.",
    {"host": ()},
)
UNOWNED: Final = Metric(
    "waguard_sessions_without_owner", "Sessions that no living host owns, as this host sees it."
)
UNOWNED_OLDEST: Final = Metric(
    "waguard_sessions_without_owner_oldest_seconds",
    "For how long the first of these has had no owner.",
)
TAKEOVERS: Final = Metric(
    "waguard_takeovers_total", "Sessions that this host took over from dead ones.", kind="counter"
)
REFUSED: Final = Metric(
    "waguard_refused_writes_total",
    "Writes about sessions that the database refused, for this host did not own them any more.",
    kind="counter",
)
ENGINE_FAILURES: Final = Metric(
    "waguard_engine_failures_total",
    "Renewals and readings of the own lease that had no answer in time.",
    kind="counter",
)
CREDENTIALS: Final = Metric(
    "waguard_credentials_age_seconds",
    "Age of the first change of a session's credentials that is not shared; 0: all of them are.",
    {"session": ()},
)
EVERY: Final = (
    *(LEASE, LEASE_LASTS, OWNED, ROOM, MISSING, UNOWNED, UNOWNED_OLDEST),
    *(TAKEOVERS, REFUSED, ENGINE_FAILURES, CREDENTIALS),
)
