"""Why a page was not loaded, by the answers of the network: whose fault it is, and when to try again. Pure.

Where all answers are good and the page is still not ready, the session is to blame.
"""

from typing import Final

from msgspec import Struct

from waguard.core.backoff import backoff

PORTAL: Final = "another page answers in WhatsApp's place"
"""A captive portal, or a proxy: nothing of WhatsApp's is in it, so no wa-js can know it."""
FIRST_PAUSE: Final = 60.0  # s
LONGEST_PAUSE: Final = 900.0  # s
MOST: Final = 3_600.0  # s, also where a server asks for more
REFUSED: Final = 400  # HTTP
SERVERS_FAULT: Final = 500  # HTTP
_LATER: Final = frozenset({408, 425, 429})  # HTTP; the same request may succeed soon


class Answers(Struct, frozen=True, kw_only=True):
    """The answers to the requests for the document and its scripts."""

    asked: bool = False
    """The document was requested."""
    status: int | None = None
    """HTTP status of the document; None: no answer came."""
    retry_after: float | None = None
    """Seconds that the server asks for."""
    scripts: int = 0
    failed: int = 0
    """Scripts that were not loaded."""
    gone: int = 0
    """Failed scripts that their server does not have."""
    waiting: int = 0
    """Scripts without an answer yet."""
    loaded: bool = False
    """All requests of the document have ended."""
    host: str = ""
    error: str = ""
    """What the last failed script came to: the server's ``host``, and its status or Chromium's net error."""


class Refusal(Struct, frozen=True):
    """WhatsApp, or the network to it, does not serve the page: no restart cures that."""

    message: str
    retry_after: float | None = None


def refusal(answers: Answers) -> Refusal | None:
    """Why a page that did not become ready is not the session's fault; None: nothing shows that."""
    if answers.status is not None and answers.status >= REFUSED:
        return Refusal(f"WhatsApp answers with HTTP status {answers.status}", answers.retry_after)
    if answers.asked and answers.status is None:
        return Refusal("WhatsApp does not answer: no page arrives")
    if answers.waiting:
        of = f"{answers.waiting} of {answers.scripts}"
        return Refusal(f"WhatsApp's scripts are not served ({of} without an answer)")
    if answers.failed:
        of = f"{answers.host}: {answers.failed} of {answers.scripts}, {answers.error}"
        return Refusal(f"WhatsApp's scripts cannot be loaded ({of})")
    return None


def is_gone(status: int) -> bool:
    """Whether this HTTP status means that the server does not have the file, and will not have it."""
    return REFUSED <= status < SERVERS_FAULT and status not in _LATER


def spent(answers: Answers) -> str | None:
    """Why a stored document cannot be used any more: its scripts are not there, and their server answers."""
    if answers.waiting or not 0 < answers.gone == answers.failed:
        return None
    refused = refusal(answers)
    return refused.message if refused else None


def is_unrecoverable(answers: Answers) -> bool:
    """Whether waiting cannot help: none of its scripts was loaded."""
    return answers.loaded and 0 < answers.scripts == answers.failed


def pause(refusals: int, *, retry_after: float | None, jitter: float) -> float:
    """Seconds until the next try; ``refusals`` before this one. ``jitter`` in [0, 1) makes it up to a
    half longer: a fleet must not knock at one moment."""
    wait = backoff(FIRST_PAUSE, refusals, longest=LONGEST_PAUSE)
    return max(wait, min(retry_after or 0.0, MOST)) * (1 + jitter / 2)
