"""What tests ask about the outcome of a send."""

from collections.abc import Awaitable
from typing import TypeVar

from waguard.errors import WaguardError
from waguard.ports.outcomes import NotSent, Outcome, Uncertain

Why = TypeVar("Why", bound=WaguardError)


async def not_sent(sending: Awaitable[Outcome], kind: type[Why]) -> Why:
    """Why the message has certainly not left: an error of this kind."""
    outcome = await sending
    assert isinstance(outcome, NotSent), outcome
    assert isinstance(outcome.error, kind), outcome
    return outcome.error


def is_silent(outcome: Outcome) -> bool:
    """Whether the page has it, and WhatsApp's server has not acknowledged it."""
    return isinstance(outcome, Uncertain) and outcome.at_page
