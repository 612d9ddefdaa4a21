"""What a daemon does differently after its installation was restored from a backup, or has taken sessions over with
older credentials than their host had used. Pure. Times are unix time.

The daemon before has lived on after the backup: what it delivered since then must not come twice, and the keys
with which it wrote to groups have moved on. Nobody can know how far.
"""

import datetime as dt
from collections.abc import Collection
from typing import Final

from msgspec import Struct

from waguard.core.blame import Condition
from waguard.core.incidents.folding import fleet_condition
from waguard.core.messages.inbox import InboxRecord
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import HELD, SENT, SESSION_EVENTS, Doubt

KIND: Final = "ratchets_rolled_back"
EVERY: Final = "*"
EARLIEST: Final = 946_684_800.0  # 2000-01-01
LATEST: Final = 7_258_118_400.0  # 2200-01-01
CLOCK_ERROR: Final = 300.0  # s; a new host's clock may be behind WhatsApp's
WAITS: Final = "groups of this session wait since its credentials were restored from an older copy"
WHY: Final = "it may have been delivered before this installation was restored from a backup"
_WITH_SENDER_KEYS: Final = ("@g.us", "@broadcast")
REPEATABLE: Final = SESSION_EVENTS | {
    SENT,
    *("message_status_updated", "message_delivered", "message_read", "message_played"),
    "message_failed",
}
"""Events that say how something is: a second one of them changes nothing."""


class Restored(Struct, frozen=True, kw_only=True):
    """An installation that was restored."""

    backup_at: float
    restored_at: float
    database: bool
    """The database was restored, too; False: it is the one that the daemon before used."""
    groups: tuple[str, ...] = ()
    """Sessions whose messages to groups wait; ``EVERY``: all."""


def is_time(at: float) -> bool:
    """Whether somebody may have written this time: others have no date, or none that a calendar knows."""
    return EARLIEST <= at < LATEST


def unreadable(now: float) -> Restored:
    """What holds while nobody can read what was restored: unknown is not "nothing"."""
    return Restored(backup_at=EARLIEST, restored_at=now, database=True, groups=(EVERY,))


def marked(restored: Restored | None, record: InboxRecord, *, uses_lookup: bool) -> InboxRecord:
    """The record, with what becomes of its webhooks where the daemon before may have delivered them. ``uses_lookup``: as
    ``doubt`` has it, for ``webhook.url``."""
    if restored is None or not restored.database:
        return record
    # what WhatsApp delivers now no other host was given: it delivers once; what a chat has may be older
    error = CLOCK_ERROR if record.backfilled else 0.0
    if record.at > restored.restored_at + error:
        return record
    return replace(record, repeated=Doubt.LOOKUP if uses_lookup else Doubt.WAIT)


def doubt(event: str, *, uses_lookup: bool) -> Doubt:
    """What becomes of a webhook that may have been delivered before. ``uses_lookup``: its receiver's table can be
    asked."""
    if event in REPEATABLE:
        return Doubt.NONE
    return Doubt.LOOKUP if uses_lookup and event == HELD else Doubt.WAIT


def group_waits(restored: Restored | None, session: str, chat: str) -> bool:
    """Whether nothing is sent to this chat of the session."""
    if restored is None or not chat.endswith(_WITH_SENDER_KEYS):
        return False
    return session in restored.groups or EVERY in restored.groups


def rolled_back(
    restored: Restored | None, session: str, *, copied_at: float, now: float
) -> Restored:
    """After older credentials of a session took the place of those that another host had used."""
    if restored is None:
        return Restored(backup_at=copied_at, restored_at=now, database=False, groups=(session,))
    return replace(restored, groups=tuple(dict.fromkeys((*restored.groups, session))))


def not_rolled_back(restored: Restored | None, session: str) -> Restored | None:
    """After the newest credentials of a session took the place of all that were here: it has rolled nothing back."""
    if restored is None:
        return None
    return replace(restored, groups=tuple(it for it in restored.groups if it != session))


def released(restored: Restored) -> Restored:
    """After a person has released the groups."""
    return replace(restored, groups=())


def conditions(restored: Restored | None, known: Collection[str]) -> list[Condition]:
    """What a person has to decide. ``known``: the sessions that there are."""
    groups = set(restored.groups) if restored else set()
    waiting = sorted(known if EVERY in groups else groups & set(known))
    if restored is None or not waiting:
        return []
    at = f"{dt.datetime.fromtimestamp(restored.backup_at, dt.UTC):%Y-%m-%d %H:%M} UTC"
    what = (
        f"credentials are those of a copy of {at}: messages to groups wait, for their members may be unable to read"
        f" them ({', '.join(waiting[:5])}{', …' if len(waiting) > 5 else ''})"  # noqa: PLR2004
    )
    return [fleet_condition(KIND, what, since=restored.restored_at)]
