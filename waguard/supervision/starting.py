"""What comes before a session is started: its profile is found, or it is parked."""

from waguard.core.status import ParkCause
from waguard.supervision.admission import Admission
from waguard.supervision.session import Session


def start_or_park(session: Session, admission: Admission, *, asked: bool = True) -> str | None:
    """Start it, or say why not, in a word of ``readiness.summary``; ``asked``: as ``Session.start``
    has it."""
    try:
        session.settle_profile()
        left = session.profile_left()
    except OSError as error:
        if not admission.profiles_unknown:
            session.park(ParkCause.PROFILE_MISSING, f"profile cannot be used: {error}")
            return "failed"
        left = None
    # one that still waits for its first scan has none to lose; unknown is not missing
    if left is False and session.paired:
        session.park(ParkCause.PROFILE_MISSING, f"profile missing: {session.at.profile}")
        return "missing profile"
    session.start(asked=asked)
    return None
