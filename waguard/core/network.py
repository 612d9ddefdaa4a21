"""Whether the host's network is away: it explains sessions that are offline, and nothing else. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

AT_ONCE: Final = 10.0  # s; pages notice a dead network within some seconds of each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the host says of itself; None: it could not be read."""

    route: bool | None = None
    """A default route that is up, IPv4 or IPv6."""
    carrier: bool | None = None
    """A link on an interface that such a route leaves by."""
    reachable: bool | None = None
    """WhatsApp's address accepts a connection; None: nobody asked it."""
    error: str | None = None
    """Why it does not."""
    pending: bool = False
    """It is being asked."""


def outage(
    before: str | None,
    reading: Reading,
    *,
    offline: Sequence[float],
    connected: int,
    threshold: float,
) -> str | None:
    """Why the network is away; None: it is not, as far as can be seen.

    A connected session refutes it, and so does a connection to WhatsApp that can be opened. A missing
    default route proves nothing by itself: there are other ways out.

    ``before``: the answer of the look before. ``offline``: seconds since each session that is so
    lost WhatsApp's socket; ``connected`` counts the others. ``threshold``: when more than this share of
    them lost it within ``AT_ONCE`` seconds, no single one is to blame.
    """
    if not offline or connected or reading.reachable:
        return None
    if reading.pending:
        return before
    if reading.reachable is False:
        return f"WhatsApp cannot be reached from this host: {reading.error}{_hint(reading)}"
    if before is not None:
        return f"{len(offline)} of {len(offline)} sessions are without WhatsApp{_hint(reading)}"
    together = _most_at_once(offline)
    if together > 1 and together > threshold * len(offline):
        return f"{together} of {len(offline)} sessions lost WhatsApp at once{_hint(reading)}"
    return None


def _most_at_once(offline: Sequence[float]) -> int:
    """How many lost it within ``AT_ONCE``; one that has been off since yesterday hides no others."""
    return max(sum(0 <= other - one <= AT_ONCE for other in offline) for one in offline)


def _hint(reading: Reading) -> str:
    if reading.route is False:
        return "; the host has no default route"
    if reading.carrier is False:
        return "; the host's network interface has no carrier"
    return ""


def is_away(reading: Reading) -> bool:
    """Whether the host itself says so."""
    return reading.reachable is False


def shown(carriers: Collection[bool | None]) -> bool | None:
    """One link is enough; None where no interface says."""
    known = {carrier for carrier in carriers if carrier is not None}
    return True in known if known else None
