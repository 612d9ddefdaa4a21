"""A receiver that says 2xx while the database is away, which is its own too."""

import json
from typing import cast
from unittest.mock import AsyncMock, Mock

import pytest

from waguard.core.webhooks.delivery import HELD
from waguard.core.webhooks.pending import Pending
from waguard.errors import DatabaseUnavailableError
from waguard.messaging.webhooks.attempt import Attempts
from waguard.messaging.webhooks.delivery_context import DeliveryContext

ITEM = Pending(
    id=1,
    event=HELD,
    event_id="e",
    session_id="s",
    partition="c",
    attempts=0,
    next_at=0.0,
    created_at=0.0,
)
BODY = json.dumps({"data": {"message": {"id": "false_1@c.us_A", "type": "chat"}}}).encode()
STORE = Mock(body=AsyncMock(return_value=BODY))


class Table:
    """The database is away for the first ``asks``, and then says ``then``."""

    def __init__(self, asks: int, *, then: bool | None) -> None:
        self.left = asks
        self._then = then

    @property
    def uses_lookup(self) -> bool:
        return True

    @property
    def is_away(self) -> bool:
        return self.left >= 0

    async def received(self, session_id: str, message_id: str) -> bool | None:
        self.left -= 1
        return None if self.left >= 0 else self._then

    async def sent(self, message_id: str) -> bool | None:
        raise NotImplementedError

    async def why_not(self, session_id: str) -> str | None:
        raise NotImplementedError


@pytest.mark.parametrize("then", [True, False, None], ids=["stored", "not stored", "never known"])
async def test_a_lookup_waits_until_the_database_is_back(*, then: bool | None) -> None:
    table = Table(3, then=then)

    async def never(*_: object) -> None:
        raise NotImplementedError

    attempts = Attempts(
        cast("DeliveryContext", Mock(retry=0.0, store=STORE)),
        complete=never,  # type: ignore[arg-type]
        post=never,  # type: ignore[arg-type]
        table=table,
    )
    assert await attempts.is_stored(ITEM) is then
    assert table.left < 0


async def test_a_database_that_is_back_when_the_answer_comes_is_asked_again() -> None:
    """What was answered is of the moment before."""
    table = Mock(uses_lookup=True, is_away=True)

    async def back(*_: object) -> None:
        table.is_away, table.received = False, AsyncMock(return_value=False)

    table.received = back
    ctx = cast("DeliveryContext", Mock(retry=0.0, store=STORE))
    attempts = Attempts(ctx, complete=Mock(), post=Mock(), table=table)
    assert await attempts.is_stored(ITEM) is False


async def test_a_lookup_waits_until_its_body_can_be_read() -> None:
    """Else it would be delivered once more, without a look."""
    away = DatabaseUnavailableError("away")
    store = Mock(body=AsyncMock(side_effect=[away, away, BODY]))
    attempts = Attempts(
        cast("DeliveryContext", Mock(retry=0.0, store=store)),
        complete=Mock(),
        post=Mock(),
        table=Table(0, then=True),
    )
    assert await attempts.is_stored(ITEM) is True


async def test_nobody_is_asked_while_no_row_can_be_found() -> None:
    table = Mock(uses_lookup=False, is_away=False)
    attempts = Attempts(Mock(store=STORE), complete=Mock(), post=Mock(), table=table)
    assert await attempts.is_stored(ITEM) is None
    table.received.assert_not_called()
