"""What was received here and is not stored, for its session is another host's now.

The worker that reported it keeps it too, where it ends in order: then a file of this host's runtime folder has it. Where the
worker was killed, this memory has the only copy, and the next daemon gets it (``daemon/left_memory.py``). Both are handed to the
session's owner (``daemon/left_behind.py``).
"""

from collections.abc import Mapping, Sequence

from waguard.core.messages.inbox import InboxRecord
from waguard.core.webhooks.delivery import SESSION_EVENTS


class LeftEvents:
    """By session, in the order of their coming."""

    def __init__(self) -> None:
        self._left: dict[str, list[InboxRecord]] = {}

    def keep(self, records: Sequence[InboxRecord]) -> None:
        """Keep what was refused, once; not what said how its session stood here: its owner says that now."""
        known = {id(it) for session in {it.session_id for it in records} for it in self.of(session)}
        for one in records:
            if id(one) not in known and not any(it.event in SESSION_EVENTS for it in one.events):
                self._left.setdefault(one.session_id, []).append(one)

    def of(self, session_id: str) -> tuple[InboxRecord, ...]:
        """Those of a session; they stay."""
        return tuple(self._left.get(session_id, ()))

    def remove(self, session_id: str, records: Sequence[InboxRecord]) -> None:
        """Forget these very ones, which are kept elsewhere now. What has come since stays."""
        gone = {id(it) for it in records}
        left = self._left.pop(session_id, ())
        if rest := [it for it in left if id(it) not in gone]:
            self._left[session_id] = rest

    def counts(self) -> Mapping[str, int]:
        """How many are left, by session."""
        return {name: len(records) for name, records in self._left.items()}
