"""What to do after an attempt to deliver a webhook. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

TOO_MANY: Final = 429
# answers after which the same request may succeed
RETRIED: Final = frozenset({408, 425, TOO_MANY})
SERVER_ERROR: Final = 500
SUCCESS: Final = range(200, 300)
# the application's limiter says no Retry-After, and ends after as many quiet seconds
TOO_MANY_PAUSE: Final = 60.0  # s

# what a newer event of the same session makes outdated
SESSION_EVENTS: Final = frozenset(
    {
        "qr_code_generated",
        "session_authenticated",
        "session_ready",
        "session_disconnected",
        "session_error",
    }
)
EVENTS: Final = SESSION_EVENTS | {
    "message_received",
    "message_sent",
    "message_status_updated",
    "message_delivered",
    "message_read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """Retries: uniformly within [0, min(max_delay, base_delay · 2ⁿ)] s, at most ``attempts``.

    With these values a receiver that stays down is given up after about an hour.
    """

    attempts: int = 120
    base_delay: float = 1.0
    max_delay: float = 60.0
    longest_retry_after: float = 600.0
    """The receiver's own wish is followed up to here."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay`` seconds; ``everyone``: no other delivery either until then."""

    delay: float
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """It will never be taken."""

    why: str


def judge(
    policy: DeliveryPolicy,
    *,
    attempt: int,
    status: int | None,
    retry_after: float | None,
    jitter: float,
) -> Delivered | Retry | Drop:
    """Judge the ``attempt``-th answer (from 1); ``status`` None: time-out or no connection.

    ``jitter`` is uniform in [0, 1).
    """
    if status is not None and status in SUCCESS:
        return Delivered()
    passing = status is None or status in RETRIED or status >= SERVER_ERROR
    if not passing:
        return Drop(f"the receiver answered {status}")
    if attempt >= policy.attempts:
        return Drop(f"{attempt} attempts failed, the last with {status or 'no answer'}")
    too_many = status == TOO_MANY
    if retry_after is not None:
        return Retry(min(max(retry_after, 0.0), policy.longest_retry_after), everyone=too_many)
    if too_many:
        return Retry(TOO_MANY_PAUSE, everyone=True)
    # the exponent is bounded before the power is: 2.0 ** 1024 would raise
    ceiling = min(policy.max_delay, policy.base_delay * 2.0 ** min(attempt - 1, 64))
    return Retry(ceiling * jitter)


def outdated(event: str, later: Iterable[str]) -> bool:
    """Whether an undelivered event says nothing any more, given those that wait behind it."""
    return event in SESSION_EVENTS and any(name in SESSION_EVENTS for name in later)
