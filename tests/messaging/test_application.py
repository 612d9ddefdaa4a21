"""What the application's table has in the end, at each of its bad manners: there, once, in order.

On the double of the application, which answers 200 to most of what it does not store.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clocks import Clock
from tests.lab.application.conftest import QUICK
from tests.lab.application.instance import Instance, serving
from tests.messaging.gateway import QUICK as QUICKLY
from tests.messaging.gateway import Gateway, gateway
from tests.messaging.receiver import SECRET, event
from tests.messaging.test_files import put
from tests.waiting import DEADLINE, wait_until
from waguard.config.sections import Webhook
from waguard.core.messages.inbox import EventPayload, File, InboxRecord, Kind
from waguard.core.replace import replace
from waguard.lab.application import STORED, Application
from waguard.lab.application.manners import body_of, chat_of_sent, contact_of
from waguard.messaging.stored import PACE
from waguard.messaging.timings import WEBHOOK
from waguard.ports.bus import BusEvent
from waguard.supervision.session.application_events import on_phone
from waguard.wire.events import InboundMessage

STORED_KEY: Final[dict[str, Any]] = (
    {"stored": STORED} if "stored" in Webhook.__struct_fields__ else {}
)
FRIEND: Final = "62"
POLL: Final = 0.02  # s
SHORT: Final = 0.05  # s for a look-up


@dataclass
class Pair:
    """waguard's webhooks and the application, on one database; ``instance`` is the API."""

    it: Gateway
    app: Application
    instance: Instance

    async def rows(self) -> list[str]:
        """The texts of its users' messages, in the order of its table."""
        return [body_of(row.metadata) for row in await self.app.chats.seen()]

    async def handled(self, count: int) -> None:
        """Wait until so many webhooks were answered."""
        await wait_until(lambda: len(self.app.received) >= count, f"{count} are handled")

    async def end(self, *expected: str) -> list[str]:
        """The rows when all are there, or when nothing waits any more."""

        assert await self.it.journal.flushed(DEADLINE)
        async with asyncio.timeout(DEADLINE):
            while len(await self.rows()) < len(expected) and await self.it.pending():
                await asyncio.sleep(POLL)
        assert await self.it.drained()
        return await self.rows()


@asynccontextmanager
async def paired(folder: Path, **more: Any) -> AsyncIterator[Pair]:
    """With one connected session, ``a``."""
    url = f"sqlite+aiosqlite:///{folder / 'w.db'}"
    async with (
        serving() as instance,
        Application(url, instance.base, secret=SECRET, manners=QUICK) as app,
    ):
        await app.accounts.migrate()
        await app.connect("a")
        await app.accounts.connected("a", "61")
        async with gateway(folder, app.url, **STORED_KEY, **more) as it:
            yield Pair(it, app, instance)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with paired(tmp_path) as made:
        yield made


def received(number: int, body: str = "", friend: str = FRIEND) -> BusEvent:
    """The friend's message so and so."""
    return event(number, message=_message(number, body or str(number), friend))


def picture(number: int) -> InboxRecord:
    """The same with a file of 4 KB."""
    media = {"mimetype": "image/png", "filename": "a.png", "size": None, "data": None}
    media |= {"error": None, "sha256": None, "url": None}
    message = _message(number, str(number), FRIEND) | {"media": media}
    return InboxRecord(
        session_id="a",
        workspace_id=1,
        key=str(number),
        kind=Kind.MESSAGE,
        at=1.0,
        chat=message["from"],
        events=(EventPayload("message_received", {"message": message}),),
        file=File(bytes(4_000), "image/png"),
    )


def _message(number: int, body: str, friend: str) -> dict[str, Any]:
    chat = f"{friend}@c.us"
    return {"id": f"false_{chat}_{number}", "from": chat, "chat_type": "private", "body": body}


async def test_what_is_stored_is_stored_once_and_in_order(pair: Pair) -> None:
    pair.it.put(*map(received, range(5)))
    assert await pair.end(*"01234") == [*"01234"]


async def test_a_read_only_database(pair: Pair) -> None:
    with pair.app.hooks.in_mood("read-only"):
        pair.it.put(received(1))
        await pair.handled(1)
    pair.it.put(received(2))
    assert await pair.end("1", "2") == ["1", "2"]


async def test_what_is_dropped_while_no_lookup_is_answered(tmp_path: Path) -> None:
    """As after a daemon was stopped for seconds: its deadlines are over, and its own transaction had the database
    locked for the application."""
    clock = Clock()
    async with paired(tmp_path, deadline=SHORT, clock=clock) as pair:
        pair.it.put(received(1))
        assert await pair.end("1") == ["1"]
        async with pair.it.store.stored._turn:
            with pair.app.hooks.in_mood("read-only"):
                pair.it.put(received(2))
                await pair.handled(2)
            await wait_until(pair.it.lookup.conditions, "the look-up is given up")
        pair.it.put(received(3))

        def is_back() -> bool:
            clock.live(PACE.least / 50)
            return not pair.it.lookup.conditions()

        await wait_until(is_back, "a check works")
        assert await pair.end("1", "2", "3") == ["1", "2", "3"]


async def test_an_answer_that_never_arrives(pair: Pair) -> None:
    with pair.app.hooks.in_mood("lost"):
        await pair.it.stored(received(1))
        await pair.handled(1)
    pair.it.put(received(2))
    assert await pair.end("1", "2") == ["1", "2"]


async def test_an_answer_that_is_too_late(tmp_path: Path) -> None:
    patient: dict[str, Any] = (
        {"lookup_pauses": (0.5,) * 20} if hasattr(QUICKLY, "lookup_pauses") else {}
    )
    policy = replace(QUICKLY, **patient)
    async with paired(tmp_path, timings=replace(WEBHOOK, attempt=0.5), policy=policy) as pair:
        pair.app.hooks.misbehave(slow=2.0)
        with pair.app.hooks.in_mood("slow"):
            await pair.it.stored(received(1))
            await wait_until(lambda: pair.app.hooks.window.count, "PHP runs")
        await wait_until(lambda: pair.app.records.unheard, "PHP has done it, for nobody")
        assert await pair.end("1") == ["1"]


async def test_one_group_message_to_two_of_our_numbers(pair: Pair) -> None:
    await pair.app.connect("b")
    await pair.app.accounts.connected("b", "63")
    group = "120363000000000001@g.us"
    message = {"id": f"false_{group}_1_{FRIEND}@c.us", "from": group, "chat_type": "group"}
    pair.it.put(
        *(event(n, session=n_, message=message | {"body": n_}) for n, n_ in enumerate("ab"))
    )
    assert sorted(await pair.end("a", "b")) == ["a", "b"]
    assert {row.session for row in await pair.app.chats.seen()} == {"a", "b"}


async def test_a_row_that_a_late_job_flipped(pair: Pair) -> None:
    await pair.app.accounts.update("a", status="authenticated")
    pair.it.put(received(1))
    await pair.it.stored(received(2))

    await wait_until(
        lambda: pair.app.received or pair.it.webhooks.queues.held(), "it is dropped, or waits"
    )
    await pair.app.accounts.connected("a", "61")
    pair.it.webhooks.check("a")
    assert await pair.end("1", "2") == ["1", "2"]


async def test_an_installer_in_place_of_the_receiver_loses_nothing(pair: Pair) -> None:
    with pair.app.hooks.in_mood("installing"):
        pair.it.put(*map(received, range(3)))
        await wait_until(lambda: pair.app.hooks.redirected, "it was redirected")
    assert await pair.end("0", "1", "2") == ["0", "1", "2"]
    assert await pair.it.dead() == []


async def test_a_file_that_fails_after_its_row(pair: Pair) -> None:
    with pair.app.hooks.in_mood("no files"):
        put(pair.it, picture(1))
        assert await pair.it.journal.flushed(DEADLINE)
        async with asyncio.timeout(DEADLINE):  # twice, or once and it was found
            while len(pair.app.received) < 2 and await pair.it.pending():
                await asyncio.sleep(POLL)
    assert await pair.end("1") == ["1"]


async def test_more_than_php_takes(pair: Pair) -> None:
    pair.app.hooks.misbehave(body_limit=2_000)
    put(pair.it, picture(1))
    pair.it.put(received(2))
    assert await pair.end("1", "2") == ["1", "2"]


async def test_more_than_its_column_holds_is_listed(pair: Pair) -> None:
    """Another chat's message shows that the receiver stores what it can."""
    pair.it.put(received(1, body="\u0639" * 9_500), received(2))
    await pair.handled(1)  # what was stored before the first try shows nothing
    pair.it.put(received(3, friend="63"))
    assert sorted(await pair.end("2", "3")) == ["2", "3"]
    assert [letter.event for letter in await pair.it.dead()] == ["message_received"]


def test_what_was_written_on_the_phone_is_filed_under_its_chat() -> None:
    message = InboundMessage(
        id=f"true_{FRIEND}@c.us_1",
        chat=f"{FRIEND}@c.us",
        sender="61@c.us",
        to=f"{FRIEND}@c.us",
        body="hi",
        timestamp=1,
        from_me=True,
        kind="chat",
    )
    assert contact_of(chat_of_sent(on_phone(message)["message"])) == FRIEND
