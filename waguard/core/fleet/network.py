"""Whether the host's network is away. That explains offline sessions, and nothing else. Pure."""

from collections.abc import Collection, Sequence
from typing import Final

from msgspec import Struct

AT_ONCE: Final = 10.0  # s; pages notice a dead network within some seconds of each other


class Reading(Struct, frozen=True, kw_only=True):
    """The state of the host's network; None: it could not be read."""

    route: bool | None = None
    """There is a default route that is up, IPv4 or IPv6."""
    carrier: bool | None = None
    """An interface of such a route has a carrier."""
    reachable: bool | None = None
    """WhatsApp's address accepts a connection; None: that was not tried."""
    error: str | None = None
    """Why it does not accept one."""
    pending: bool = False
    """The connection is being tried."""


def outage(
    before: str | None,
    reading: Reading,
    *,
    offline: Sequence[float],
    connected: int,
    threshold: float,
) -> str | None:
    """Why the network is away; None: there is no evidence of that.

    A connected session refutes it, and so does a connection to WhatsApp that can be opened. A missing
    default route proves nothing by itself: there are other ways out.

    ``before``: the result of the evaluation before. ``offline``: for each offline session, seconds since it lost
    WhatsApp's socket; ``connected``: the number of connected ones. ``threshold``: when more than this share of the
    offline sessions lost it within ``AT_ONCE`` seconds, no single one is to blame.
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
    """How many lost it within ``AT_ONCE``; one that has been offline since yesterday does not hide the others."""
    return max(sum(0 <= other - one <= AT_ONCE for other in offline) for one in offline)


def _hint(reading: Reading) -> str:
    if reading.route is False:
        return "; the host has no default route"
    if reading.carrier is False:
        return "; the host's network interface has no carrier"
    return ""


def is_away(reading: Reading) -> bool:
    """Whether the host itself confirms that the network is away."""
    return reading.reachable is False


def shown(carriers: Collection[bool | None]) -> bool | None:
    """Whether any interface has a carrier; None: it is unknown of all."""
    known = {carrier for carrier in carriers if carrier is not None}
    return True in known if known else None
