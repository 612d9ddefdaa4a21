"""What to do after an attempt to deliver a webhook. Pure."""

from dataclasses import dataclass
from typing import Final

TOO_MANY: Final = 429
# answers after which the same request may succeed
RETRIED: Final = frozenset({408, 425, TOO_MANY})
SERVER_ERROR: Final = 500
SUCCESS: Final = range(200, 300)
# the application's limiter counts a minute and says no Retry-After
TOO_MANY_PAUSE: Final = 60.0  # s

# what a newer event of the same session makes outdated
SESSION_EVENTS: Final = frozenset(
    {
        "qr_code_generated",
        "session_authenticated",
        "session_ready",
        "session_disconnected",
    }
)
EVENTS: Final = SESSION_EVENTS | {
    "session_error",
    "message_received",
    "message_sent",
    "message_status_updated",
    "message_delivered",
    "message_read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """Retries: uniformly within [0, min(max_delay, base_delay · 2ⁿ)] s, at most ``attempts``."""

    attempts: int = 12
    base_delay: float = 1.0
    max_delay: float = 300.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``delay`` seconds."""

    delay: float


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
    """Judge the ``attempt``-th answer (from 1); ``status`` None: time-out or no connection."""
    if status is not None and status in SUCCESS:
        return Delivered()
    passing = status is None or status in RETRIED or status >= SERVER_ERROR
    if not passing:
        return Drop(f"the receiver answered {status}")
    if attempt >= policy.attempts:
        return Drop(f"{attempt} attempts failed, the last with {status or 'no answer'}")
    if retry_after is not None:
        return Retry(min(retry_after, policy.max_delay))
    if status == TOO_MANY:
        return Retry(TOO_MANY_PAUSE)
    ceiling = min(policy.max_delay, policy.base_delay * 2.0 ** (attempt - 1))
    return Retry(ceiling * jitter)


def outdated(event: str, later: list[str]) -> bool:
    """Whether an undelivered event says nothing any more, given those that wait behind it."""
    return event in SESSION_EVENTS and any(name in SESSION_EVENTS for name in later)
