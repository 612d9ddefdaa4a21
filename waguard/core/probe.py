"""From how long a layer has been silent to what is wrong, and what to do about it, in steps."""

from dataclasses import dataclass, replace
from typing import Final

PROMPT: Final = 0.5  # s; a browser that answers so soon leaves its page no excuse
STALL: Final = 5.0  # s between two looks: who looks stood still itself, so nobody could be heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds of silence that a layer is allowed."""

    start: float = 60.0
    """From the spawn to a ready page."""
    notice: float = 2.0
    """Of a worker or a page, until it is told: seen each second, that is 3 s at most."""
    worker: float = 10.0
    """Between two heartbeats of a worker."""
    page: float = 30.0
    """Between two answers of a page."""
    unrecoverable_page: float = 10.0
    """The same for one that nothing more can be done for, while there are cores to spare."""
    link: float = 60.0
    """A page that answers but does not say how it stands with WhatsApp."""
    code: float = 150.0
    """A page that waits for a scan and shows no new code; the first lives 60 s, the others 20."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLiveness:
    """What a worker heard of its page. Monotonic seconds."""

    heard_at: float
    sampled_at: float
    helped: bool = False
    """Its script was ended in this silence."""

    @property
    def silent(self) -> float:
        """Seconds since it answered, at the last look."""
        return self.sampled_at - self.heard_at


def observe(before: PageLiveness, *, now: float, answered: bool) -> PageLiveness:
    """One look later. Time in which the worker itself stood still is no silence of the page."""
    if answered:
        return PageLiveness(heard_at=now, sampled_at=now)
    gap = now - before.sampled_at
    heard_at = before.heard_at + gap if gap > STALL else before.heard_at
    return replace(before, heard_at=heard_at, sampled_at=now)


def should_end_script(
    liveness: PageLiveness, *, devtools: float | None, cpu_saturated: bool
) -> bool:
    """Whether to end what the page runs, once in a silence.

    ``devtools``: seconds that the browser took to answer, None: it did not. A page that waits for a
    core needs nothing but time, and it would lose what it was about to do.
    """
    if liveness.helped or devtools is None:
        return False
    patience = 15.0 if cpu_saturated or devtools > PROMPT else 3.0  # s
    return liveness.silent >= patience
