"""Where everything goes that must not be lost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from waguard.core.messages.inbox import InboxRecord
from waguard.core.messages.people import People

Stored = Callable[[Sequence[InboxRecord]], None]


class Inbox(Protocol):
    """Where everything goes that must not be lost: what workers report, what sessions do."""

    def put(
        self, received: Sequence[InboxRecord], stored: Stored, *, after: str | None = None
    ) -> None:
        """Store it and queue its webhooks; never waits.

        ``stored`` is called after the commit, with those that were news; the calls come in the
        order of the puts, also for an empty one. ``after``: a session; an empty one is not acknowledged where something
        before it was refused, for another host owns that session.
        """

    @property
    def full(self) -> bool:
        """Whether a put would not be taken now."""

    async def flushed(self, timeout: float) -> bool:
        """Wait at most ``timeout`` s until nothing waits any more; whether it was so."""

    async def newest(self, session_id: str, *, after: float) -> Mapping[str, float]:
        """By chat, when its newest stored message came; unix time, only those since ``after``.

        Errors are those of ``Store``.
        """

    async def people(self, session_id: str) -> People:
        """Whose LIDs the session knows. Errors are those of ``Store``."""


class ReadyWatch(Protocol):
    """Hears of the state of sessions before it is stored."""

    def expect_ready(self, session_id: str) -> None:
        """The session's ``session_ready`` is on its way to the database."""

    def not_ready(self, session_id: str) -> None:
        """The ``session_ready`` was not stored, and will not come."""

    def check(self, session_id: str | None = None) -> None:
        """The session's state has changed; None: any may have."""


class MediaStore(Protocol):
    """Where received files lie. Its calls block."""

    def keep(self, content: bytes, mimetype: str) -> str:
        """Keep a file; its name: the SHA-256 in hex. Raises ``OSError`` where the disk does not take it."""

    def read(self, name: str) -> bytes | None:
        """The file's content; None: it is not kept any more. Raises ``OSError`` where it cannot be read now."""
