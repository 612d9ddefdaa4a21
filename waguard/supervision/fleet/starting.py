"""What comes before a session is started: its profile is found, or it is parked."""

from waguard.core.lifecycle import State
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested, RowRead
from waguard.profile import old_profiles
from waguard.supervision.fleet.readiness import promises_too_much
from waguard.supervision.session.actor import SessionActor


def begin(session: SessionActor, *, asked: bool = True) -> str | None:
    """What is owed to a session that has come to memory, before anybody reads of it: its status is that of its row,
    which may promise a worker. Start it where its row wants it up, else correct that. Returns as ``start_or_park``."""
    if promises_too_much(session):
        session.post(RowRead(said=session.row.status))
    if session.row.desired_up and session.lifecycle is State.STOPPED:
        return start_or_park(session, asked=asked)
    return None


def start_or_park(session: SessionActor, *, asked: bool = True) -> str | None:
    """Start it, or say why not, in a word of ``readiness.summary``; ``asked``: as ``SessionActor.start``
    has it."""
    try:
        session.profile.follow_row()
        left = session.profile.is_there()
    except OSError:
        left = None  # unknown is not missing: it is checked again before the spawn
    # one that still waits for its first scan has none to lose
    if left is False and session.profile.paired:
        why = f"profile missing: {session.profile.at.profile}"
        if archive := old_profiles.archive_of(session.profile.at):
            why += f"; {archive} holds one: run `waguard import`"
        session.post(ParkRequested(cause=ParkCause.PROFILE_MISSING, details=why))
        return "missing profile"
    session.start(asked=asked, profile_unknown=left is None)
    return None
