"""Keys that were settings once and are constants now: no configuration fails for them, each is a warning."""

from collections.abc import Mapping
from typing import Final

# what is so without the key, in words behind it
RETIRED: Final[Mapping[str, str]] = {
    "fleet.canary_interval": "a canary is tried each 60 s",
    "fleet.period": "failures alike are counted within 120 s",
    "profiles.snapshot_interval": "credentials are copied each hour; `waguard profile snapshot SESSION` does it now",
    "restart.retry_parked": "a parked session is tried again after 300 s, doubled up to an hour;"
    " `waguard sessions restart SESSION` does it now",
    "send.idempotency_hours": "an Idempotency-Key means the same message for 24 hours",
    "versions.canaries": "two canaries in a row must be healthy",
    "versions.canary_limit": "the time between two canaries doubles up to 12 hours",
    "versions.confirmations": "two sessions confirm a rollback",
    "versions.good_sessions": "a version is proven by two sessions",
    "versions.keep": "8 documents of proven versions are stored",
    "versions.pause_limit": "the time between two trials doubles up to 4 hours",
    "versions.remember": "a confirmation counts for a day",
    "versions.report_held_after": "a person is asked after 14 days",
    "worker.heartbeat": "a worker reports each second that it lives",
}


def line(name: str, key: str) -> str:
    """What is said of a retired ``key``; ``name`` is how the file or the environment has it."""
    return f"{name} has no effect any more: {RETIRED[key]}; remove it"
