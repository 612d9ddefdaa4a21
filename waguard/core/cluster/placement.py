"""Where sessions are to run: how much room a host has, who claims first, and what moves for balance. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from waguard.core.cluster.records import HostRecord

CLAIM_STEP: Final = 1.5  # s that each next host waits before it claims
HELD_BACK: Final = 60.0  # s that admission may hold an own session back before it is released


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a host can run."""

    max_sessions: int
    owned: int
    free_memory: int
    """Bytes that are available, the reserve included."""
    reserve: int
    """Bytes that stay free (``admission``)."""
    session_memory: int
    """Bytes of one session."""
    under_pressure: bool
    """PSI is above ``admission.memory_pressure``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRules:
    """When a session moves for balance only."""

    least: int = 3
    """Sessions by which two hosts must differ …"""
    share: float = 0.1
    """… and this share of the fuller one's."""
    uneven_for: float = 600.0
    """s for which they must."""
    rest: float = 3600.0
    """s for which a session stays where it was moved to."""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A session that is to be released to another host."""

    session: str
    to_host: str


def room(it: Capacity) -> int:
    """How many more sessions fit."""
    raise NotImplementedError


def turns(hosts: Sequence[HostRecord], sessions: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """For each session without an owner the hosts that may claim it, the one with most room first. Each host waits
    ``CLAIM_STEP`` for each one before it. All hosts come to the same result from the same records."""
    raise NotImplementedError
