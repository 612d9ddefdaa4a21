"""The constants of the decision about WhatsApp's versions; ``[versions]`` of the configuration has the
reasons. Seconds."""

from typing import Literal

from msgspec import Struct

Mode = Literal["off", "react", "guard"]


class VersionRules(Struct, frozen=True, kw_only=True):
    """As configured."""

    mode: Mode = "react"
    keep: int = 8
    good_after: float = 1800.0
    good_sessions: int = 2
    well_for: float = 60.0
    trial_limit: float = 600.0
    confirmations: int = 2
    remember: float = 86_400.0
    pause: float = 900.0
    pause_limit: float = 14_400.0
    canary_after: float = 3600.0
    canary_limit: float = 43_200.0
    canary_for: float = 1800.0
    canaries: int = 2
    report_held_after: float = 1_209_600.0
    places: int = 2
    """Pages that are loaded again at a time: ``restore.concurrency``."""
