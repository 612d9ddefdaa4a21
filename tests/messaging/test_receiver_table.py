"""What is asked of the receiver's own database about the rows of its sessions."""

from collections.abc import Collection, Mapping

from tests.supervision.fake_host import FakeClock
from waguard.core.webhooks.account_row_gate import AccountRow, Known
from waguard.messaging.stored import StoredMessages
from waguard.messaging.webhooks.receiver_table import ReceiverTable


class Rows:
    """They say connecting until ``right``; ``reads`` has the sessions of each statement."""

    def __init__(self) -> None:
        self.reads: list[tuple[str, ...]] = []
        self.right = False

    async def rows_of(self, session_ids: Collection[str]) -> Mapping[str, AccountRow]:
        self.reads.append(tuple(sorted(session_ids)))
        status = "connected" if self.right else "connecting"
        return {it: AccountRow(status=status, generation=1, phone="1") for it in session_ids}

    async def correct(self, session_id: str, *, said: str, generation: int) -> bool:
        return False


class Owner:
    def known(self, session_id: str) -> Known:
        return Known()

    def record_correction(self, session_id: str, before: str) -> None: ...

    def repeat_ready(self, session_id: str) -> None: ...


async def test_rows_of_all_sessions_that_wait_are_one_statement() -> None:
    rows, owner = Rows(), Owner()
    none: StoredMessages = None  # type: ignore[assignment] # no message is looked up
    table = ReceiverTable(none, rows, owner, FakeClock(), expect_ready=lambda _: None)
    for session in ("a", "b", "c"):
        assert await table.why_not(session) is not None
    rows.reads.clear()
    assert await table.check(["a", "b", "c"]) == []
    assert rows.reads == [("a", "b", "c")]
    rows.right = True
    assert await table.check(["a", "c"]) == ["a", "c"]
    assert rows.reads[1:] == [("a", "c")], "what waits no more is not asked for"
