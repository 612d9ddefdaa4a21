"""How long is waited between two tries of a webhook, in numbers; ``retry_decision`` applies them. Pure."""

from msgspec import Struct, field

from waguard.core.webhooks.circuit import CircuitPolicy
from waguard.core.webhooks.delivery import OWN_SEND


class DeliveryPolicy(Struct, frozen=True, kw_only=True):
    """Retries: uniformly within [0, min(max_delay, base_delay · 2ⁿ)] s. Times in seconds."""

    base_delay: float = 1.0
    max_delay: float = 60.0
    """No longer than the longest pause of the circuit: it may be closed while the receiver is away, as after a restart."""
    max_bug_delay: float = 3600.0
    """Between two tries of what a bug of waguard's ended."""
    longest_retry_after: float = 3600.0
    """A Retry-After of the receiver is followed up to this many seconds."""
    give_up_after: float = 2_592_000.0
    """After which a receiver that accepts nothing is not waited for any longer."""
    only_chat: float = 3600.0
    """For which a message is refused while no other chat shows whose fault it is."""
    refusals: int = 3
    """Refusals of one message, while other chats are served: it is the message's fault."""
    least_refused: float = 60.0
    """Between two refusals that count, where they may pass; others are served between them, too."""
    refused_pauses: tuple[float, ...] = (30.0, 60.0)
    """The least before the next try after a refusal that may pass: a time-out, a server error."""
    unstored_pauses: tuple[float, ...] = (15.0, 60.0, 180.0, 360.0)
    """Before the next try of what was accepted and not stored: the fifth is the last."""
    lookup_pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)
    """Between two look-ups of a message whose request got no complete reply: it may still be at work."""
    too_many_pause: float = 65.0
    """After a 429: the application's limiter says no Retry-After, and every request renews its minute."""
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)


def given_up(policy: DeliveryPolicy, attempts: int, last: str) -> str:
    """Why a dead letter expired, in words."""
    hours = policy.give_up_after / 3600
    return f"not accepted within {hours:g} h, {attempts} attempts, the last: {last}"


def pause(policy: DeliveryPolicy, *, attempts: int, next_at: float, now: float) -> float:
    """Seconds until a queued webhook may be tried. Times are unix time; where the clock was set back the
    longest possible pause is the limit."""
    if attempts == 0:
        return min(max(0.0, next_at - now), OWN_SEND)
    return min(max(0.0, next_at - now), max(policy.max_delay, policy.longest_retry_after))
