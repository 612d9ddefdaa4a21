"""What a host is made of stands with the doctor's tests, what a profile is made of with those of profiles."""

from tests.doctor.conftest import _unconfigured, host
from tests.profile.conftest import at, lock, other, paired, service, sessions, sessions_made, used

__all__ = [
    "_unconfigured",
    "at",
    "host",
    "lock",
    "other",
    "paired",
    "service",
    "sessions",
    "sessions_made",
    "used",
]
