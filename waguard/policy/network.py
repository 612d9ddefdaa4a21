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


def outage(
    before: str | None,
    reading: Reading,
    *,
    offline: Sequence[float],
    connected: int,
    threshold: float,
) -> str | None:
    """Why the network is away; None: it is not, as far as can be seen.

    ``before``: the answer of the look before. ``offline``: seconds since each session that is so
    lost WhatsApp's socket; ``connected`` counts the others. ``threshold``: more than this share of
    them is no single session's fault.
    """
    if not offline:
        return None
    if reading.route is False:
        return "the host has no default route"
    if reading.carrier is False:
        return "the host's network interface has no carrier"
    many = len(offline) > threshold * (len(offline) + connected)
    if before is not None:
        still = f"{len(offline)} of {len(offline) + connected} sessions are without WhatsApp"
        return still if many else None
    if many and len(offline) > 1 and max(offline) - min(offline) <= AT_ONCE:
        return f"{len(offline)} of {len(offline) + connected} sessions lost WhatsApp at once"
    return None


def is_away(reading: Reading) -> bool:
    """Whether the host itself says so."""
    return reading.route is False or reading.carrier is False


def shown(carriers: Collection[bool | None]) -> bool | None:
    """One link is enough; None where no interface says."""
    known = {carrier for carrier in carriers if carrier is not None}
    return True in known if known else None
