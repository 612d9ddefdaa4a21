"""The probe of worker and page: limits of an unresponsive layer, and when the page's script is ended. Pure."""

from typing import Final

from msgspec import Struct

from waguard.core.replace import replace

PROMPT: Final = 0.5  # s; where the browser answers within this, load of the host does not explain that the page does not
# s between two samples: then the worker itself stood still, and could hear nobody
STALL: Final = 5.0


class Limits(Struct, frozen=True, kw_only=True):
    """Seconds for which a layer may not answer."""

    start: float = 60.0
    """From the spawn to a ready page."""
    notice: float = 2.0
    """Until an unresponsive worker or page is reported: checked each second, so after 3 s at most."""
    worker: float = 5.0
    """Between two heartbeats of a worker."""
    worker_of_many: float = 10.0
    """Between two heartbeats while many workers are late together: the host is the likely cause."""
    page: float = 30.0
    """Between two answers of a page."""
    unrecoverable_page: float = 10.0
    """Between two answers of a page that no further step can help, where the CPU is not saturated."""
    link: float = 60.0
    """For a page that answers and does not report the state of its link."""
    code: float = 150.0
    """For a page that waits for a scan and shows no new code; the first code lives 60 s, the others 20 s."""


class PageLiveness(Struct, frozen=True, kw_only=True):
    """When a worker's page last answered. Monotonic seconds."""

    heard_at: float
    sampled_at: float
    helped: bool = False
    """The page's script was ended since then."""

    @property
    def silent(self) -> float:
        """Seconds from the page's last answer to the last sample."""
        return self.sampled_at - self.heard_at


def observe(before: PageLiveness, *, now: float, answered: bool) -> PageLiveness:
    """The state after one more sample. Time in which the worker itself stood still does not count."""
    if answered:
        return PageLiveness(heard_at=now, sampled_at=now)
    gap = now - before.sampled_at
    heard_at = before.heard_at + gap if gap > STALL else before.heard_at
    return replace(before, heard_at=heard_at, sampled_at=now)


def should_end_script(
    liveness: PageLiveness, *, devtools: float | None, cpu_saturated: bool
) -> bool:
    """Whether to end the script of an unresponsive page, once until it answers again.

    ``devtools``: seconds that the browser took to answer, None: it did not. A page that waits for a core only needs
    time, and would lose what it was about to do.
    """
    if liveness.helped or devtools is None:
        return False
    patience = 15.0 if cpu_saturated or devtools > PROMPT else 3.0  # s
    return liveness.silent >= patience
