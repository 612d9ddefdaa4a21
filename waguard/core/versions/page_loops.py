"""Pages that load themselves again and again: none of them is healthy, whatever it looks like between two loads. Pure.

Loads that follow each other by themselves are one failure of one version, whatever their number: the next load that
somebody asks for is the one that shows something.
"""

from itertools import pairwise
from typing import Final, NamedTuple

from msgspec import Struct

from waguard.core.replace import replace
from waguard.core.session.page_restarts import SIGN

MARGIN: Final = 10.0  # s; no two loads are exactly as far apart as the two before
STAYS: Final = 2.0  # times as long as between two loads; then a page that was loaded again and again is healthy
# times as long; then a page with another version is: later than the others where WhatsApp's fault ends for all
PROVES: Final = 4.0
FORGOTTEN: Final = 600.0  # s for which a page stays


class Version(NamedTuple):
    """What a page is loaded with, and in which worker."""

    worker: int
    revision: int
    wajs: str


class Chain(Struct, frozen=True, kw_only=True):
    """Pages of one version in one worker; each but the first loaded itself."""

    of: Version | None = None
    since: float = 0.0
    loops: bool = False
    apart: float = 0.0
    """The longest pause between two loads of the last chain that went on and on; 0: there was none."""


def follow(chain: Chain, of: Version, loads: tuple[float, ...], now: float) -> Chain:
    """A page is there. ``loads``: the times of those that nobody asked for."""
    if of != chain.of:
        return Chain(of=of, since=now, apart=chain.apart)
    counted = [at for at in loads if at > chain.since]
    if len(counted) < SIGN:
        return chain
    longest = max(later - one for one, later in pairwise(counted))
    if chain.loops and longest == chain.apart:
        return chain
    return replace(chain, loops=True, apart=longest)


def stays(chain: Chain, page_at: float, now: float) -> Chain:
    """The last page was loaded at ``page_at``, and is there."""
    if not chain.apart or now < well_from(chain, page_at):
        return chain
    if chain.loops:
        return Chain(of=chain.of, since=now)
    return replace(chain, apart=0.0) if now >= page_at + FORGOTTEN else chain


def well_from(chain: Chain, page_at: float) -> float:
    """When a page of it that stays is taken for healthy."""
    if not chain.apart:
        return page_at
    return page_at + chain.apart * (STAYS if chain.loops else PROVES) + MARGIN
