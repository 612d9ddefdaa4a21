"""The receiver's own rows in waguard's database: its messages, and the accounts as it sees them now."""

from collections.abc import Collection, Mapping
from typing import Protocol

from waguard.core.webhooks.account_row_gate import AccountRow
from waguard.core.webhooks.stored import Message, Presence, StoredKey, Unknown


class StoredTable(Protocol):
    """The table that ``webhook.stored`` names, on the primary. Nothing here raises for a database that
    does not answer, or for a table that does not serve: that is ``Unknown``.

    Each call has a connection beside those of all other reads and writes, and ends within a few seconds.
    """

    @property
    def usable(self) -> bool:
        """Whether the database was opened, and may be used now; else nothing is learnt about the table."""

    async def check(self, key: StoredKey) -> Unknown | None:
        """Whether it can be looked up there: table and column are there, may be read, and are searched
        by an index; None: it can."""

    async def received(
        self, key: StoredKey, messages: Collection[Message]
    ) -> Mapping[Message, Presence] | Unknown:
        """For each of them, by one query for up to 100. Deleted rows count, where they are still there."""

    async def sent(
        self, key: StoredKey, message_ids: Collection[str]
    ) -> Mapping[str, Presence] | Unknown:
        """Whether what was sent is there: any row with the id counts."""


class AccountRows(Protocol):
    """The application's rows of sessions, as they are in the database now."""

    async def rows_of(self, session_ids: Collection[str]) -> Mapping[str, AccountRow] | Unknown:
        """By session, in one read; a session without a row is not in it. Never raises."""

    async def correct(self, session_id: str, *, said: str, generation: int) -> bool:
        """Make the row ``connected`` where it is still as it was read (``said``, of this generation), not
        deleted, switched on, wanted up, and not disconnected by a person; whether that changed it.

        One transaction that locks the row. Raises ``DatabaseUnavailableError``.
        """
