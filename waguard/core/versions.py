"""Which version of WhatsApp, and of wa-js, each session gets. Pure: facts in, effects out."""
# ruff: noqa: ARG001

from typing import NamedTuple

from waguard.core.version_effects import VersionEffect
from waguard.core.version_facts import Arm, VersionFact
from waguard.core.version_rules import VersionRules
from waguard.core.version_state import NEVER, StateError, VersionState, initial

__all__ = [
    "NEVER",
    "StateError",
    "Step",
    "VersionState",
    "advance",
    "decode",
    "encode",
    "initial",
    "intended",
    "next_deadline",
    "unservable",
]


class Step(NamedTuple):
    """The state afterwards, and what the shell performs, in order."""

    state: VersionState
    effects: tuple[VersionEffect, ...] = ()


def advance(state: VersionState, fact: VersionFact, now: float) -> Step:
    """Take one fact. ``now``: unix time that does not go back while the daemon lives. Never raises."""
    return Step(state)


def next_deadline(state: VersionState) -> float:
    """When ``TimerDue`` is to be posted; ``NEVER``: nothing waits."""
    return NEVER


def intended(state: VersionState, session: str) -> Arm:
    """What the session gets at its next start or load."""
    return Arm(None, state.wajs)


def unservable(state: VersionState, revision: int) -> str | None:
    """Why this revision cannot be served from the store, in words; None: it can."""
    return None


def encode(state: VersionState) -> bytes:
    """For the disk. Without what only lives as long as the daemon: pages, the trial, the rules."""
    return b""


def decode(data: bytes, rules: VersionRules, *, wajs: str, now: float) -> VersionState:
    """What was kept; sessions report their pages again. ``wajs``: the bundle that waguard ships.

    Times in the future are now. Raises ``StateError`` with a reason for what is no such state.
    """
    return initial(wajs, rules)
