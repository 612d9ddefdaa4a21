"""Time constants of the shell, passed rather than patched. Seconds."""

from msgspec import Struct


class Timings(Struct, frozen=True, kw_only=True):
    """What a running daemon waits for; ``core`` has the rest in ``Rules``."""

    stop_grace: float = 12.0
    """From TERM to KILL; ``Browser.close`` has 5, TERM and KILL of its group follow."""
    adopt: float = 5.0
    """The row keeps its status for so long while a worker is being adopted."""
    link_unknown: float = 30.0
    """The row keeps its status for so long while the link is unknown."""
    held_retry: float = 10.0
    """Between two tries of a session that its host holds up."""
    final_flush: float = 1.0
    """What a dead worker reported last is still in the socket."""
    clear: float = 5.0
    """From a worker's exit, in which its profile and process groups show that it left nothing."""
    check_all: float = 0.25
    """At a start, for one check of all processes, which takes 0.03; longer, and each session checks for itself."""
    remains: float = 1.0
    """What a dead Chromium's storage service has to write what it holds; then what is left of it is ended."""
    backfill_retry: float = 5.0
    """Between two tries to read back what came in while nobody listened."""
    backfill_quiet: float = 120.0
    """Between two looks whether the quiet after a pairing is over, which a reload may end."""
    write_retry: float = 1.0
    """Between two tries to write while the database is down: no row is wrong for 2 s."""
    last_write: float = 5.0
    """What is still to be written of a session that ends."""
    unlink: float = 15.0
    """WhatsApp has so long to unlink a session that leaves."""
    greet_after: float = 0.5
    """Until a worker of an earlier daemon is greeted; a database that answers has said by then whose it is."""
    greet_again: float = 1.0
    """Between two tries to greet it."""
    call: float = 30.0
    """A worker has so long for a call that is no send."""
    backfill: float = 600.0
    """To read all chats of a week. Asked again, it continues."""
    last_answers: float = 30.0
    """What is being sent on a line that is to be made again is answered within so long, or its outcome is uncertain."""
    reply_margin: float = 10.0
    """Beyond the time that a worker has for a call: it looks up a silent send before it answers."""
