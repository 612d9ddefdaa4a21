"""The constants of the decision about WhatsApp's versions. Seconds. Those that ``[versions]`` has are as configured."""

from typing import Literal

from msgspec import Struct

Mode = Literal["off", "react", "guard"]


class VersionRules(Struct, frozen=True, kw_only=True):
    """When a version is good, doubted, tried again.

    - ``keep``: builds of two days and a half; 80 KB each. The older half is a day apart.
    - ``good_after``, ``canary_for``: what breaks after minutes (acks, deafness) shows within half an hour.
    - ``good_sessions``, ``confirmations``, ``canaries``: one session may be unhealthy, or healthy, by chance.
    - ``well_for``: a page that throws at sends does so at the first; acks are late after 60 s.
    - ``trial_limit``: a loaded machine takes minutes to load a page, and the next send may be far away.
    - ``remember``: accounts of a part send once a day at least; longer, and two unrelated faults add up.
    - ``pause``, ``pause_limit``: an outage of WhatsApp lasts minutes to hours; each trial in it loads one or two pages.
    - ``canary_after``, ``canary_limit``: a build comes every 2.8 h (median); each canary of a bad one is unhealthy for
      minutes.
    - ``report_held_after``: WhatsApp refuses a build after about three months: a newer wa-js has to be found before.
    """

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
