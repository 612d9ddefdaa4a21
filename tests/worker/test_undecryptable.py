"""Messages that WhatsApp Web cannot decrypt yet, on the real wa-js."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.waiting import wait_until
from tests.worker.browser_session import LONG
from tests.worker.test_backfill_messages import ANN, BOB, PHONE, Bench, connected
from waguard.wire.calls import Reread
from waguard.wire.events import InboundMessage, MessageError, Undecryptable
from waguard.worker.messages.inbound import Inbound
from waguard.worker.messages.rereading import reread

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(240)]
LID, NUMBER = "7000001@lid", "62812"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with connected() as made:
        pumping = asyncio.create_task(made.inbound.run(lambda: made.browser.page))
        yield made
        pumping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pumping


async def sealed(bench: Bench, body: str, *, chat: str = ANN, **more: str) -> str:
    """Its id, once the page has told of it."""
    reported = {"sealed": "e2e"} | more
    message_id = bench.phone.incoming(from_=chat, body=body, timestamp=1_000, **reported)["id"]
    await wait_until(
        lambda: any(k == "message" and d["id"] == message_id for k, d in bench.browser.reports),
        "the page tells of it",
    )
    return message_id


async def find(
    bench: Bench, *ids: str, aliases: dict[str, tuple[str, ...]] | None = None
) -> list[str]:
    async def room() -> None:
        return

    asked = Reread(ids=ids, aliases=aliases or {})
    found = await reread(bench.browser.page, asked, bench.inbound, room)
    assert list(found) == list(ids)
    return list(found.values())


async def another_worker(bench: Bench) -> None:
    """The page is loaded anew by one that knows nothing; all that the server had is in it."""
    await bench.stored()
    await bench.reload()
    await bench.stored()
    bench.emitted.clear()
    bench.inbound = Inbound(bench.emitted.append)


def emitted(bench: Bench) -> list[tuple[str, str | None, bool | None]]:
    """Ids; of messages the text, and whether they are marked as late."""
    return [
        (one.id, one.body, one.backfilled)
        if isinstance(one, InboundMessage)
        else (str(getattr(one, "id", "")), None, None)
        for one in bench.emitted
    ]


async def heard(bench: Bench, count: int) -> None:
    def is_there() -> bool:
        bench.listen()
        return len(bench.emitted) >= count

    await wait_until(is_there, f"{count} are reported", deadline=LONG)


async def test_an_undecryptable_message_is_reported_as_what_it_is_and_with_its_event_at_once(
    bench: Bench,
) -> None:
    message_id = await sealed(bench, "secret")
    await heard(bench, 1)
    assert bench.emitted == [Undecryptable(id=message_id, chat=ANN, sender=ANN, timestamp=1_000)]
    assert await find(bench, message_id) == ["undecryptable"]
    bench.phone.decrypt(message_id)
    await heard(bench, 2)
    assert emitted(bench)[1:] == [(message_id, "secret", False)]
    assert await find(bench, message_id) == ["readable"]
    assert len(bench.emitted) == 2


async def test_without_an_event_it_is_found_by_its_id(bench: Bench) -> None:
    picture = {"mimetype": "image/png", "base64": "AAAA"}
    first = await sealed(bench, "one", sealed="fanout")
    second = bench.phone.incoming(from_=ANN, media=picture, sealed="e2e")["id"]
    await bench.stored()
    for one in (first, second):
        bench.phone.decrypt(one, "silent")
    await bench.stored()
    await heard(bench, 2)
    assert emitted(bench) == [(first, None, None), (second, None, None)]
    assert await find(bench, first, second) == ["readable", "readable"]
    assert emitted(bench)[2] == (first, "one", True)
    found = bench.emitted[3]
    assert isinstance(found, InboundMessage)
    assert (found.id, found.media, found.backfilled) == (second, bytes(3), True)


async def test_what_is_only_stored_is_found_when_the_page_was_loaded_again(bench: Bench) -> None:
    """In its chat there are newer ones: it is not loaded with the page."""
    message_id = await sealed(bench, "old")
    for number in range(3):
        bench.phone.incoming(from_=ANN, body=f"newer {number}", timestamp=2_000)
    bench.phone.decrypt(message_id, "stored")
    await bench.stored()
    assert await find(bench, message_id) == ["undecryptable"]
    await another_worker(bench)
    assert await find(bench, message_id) == ["readable"]
    assert emitted(bench) == [(message_id, "old", True)]


async def test_a_new_message_with_the_same_id_after_a_reload_is_live(bench: Bench) -> None:
    message_id = await sealed(bench, "again")
    await heard(bench, 1)
    await bench.stored()
    await bench.reload()
    bench.phone.decrypt(message_id, "again")
    await heard(bench, 2)
    assert emitted(bench)[1:] == [(message_id, "again", False)]


async def test_one_that_comes_again_while_the_page_is_loaded_is_found_by_its_id(
    bench: Bench,
) -> None:
    """Its event is raised before anybody listens."""
    message_id = await sealed(bench, "again")
    bench.phone.decrypt(message_id, "again")
    assert await find(bench, message_id) == ["undecryptable"]
    await bench.browser.loader.load()
    await bench.browser.link()
    await bench.stored()
    assert await find(bench, message_id) == ["readable"]


async def test_an_undecryptable_message_is_found_in_a_chat_that_has_another_name_by_now(
    bench: Bench,
) -> None:
    message_id = await sealed(bench, "moved")
    bench.phone.migrate(NUMBER, LID.removesuffix("@lid"))
    await bench.stored()
    bench.phone.decrypt(message_id.split("_")[2], "stored")
    await another_worker(bench)
    assert await find(bench, message_id, aliases={message_id: (LID,)}) == ["readable"]
    assert emitted(bench) == [(message_id.replace(ANN, LID), "moved", True)]


async def test_what_is_not_there_or_cannot_be_asked_costs_no_other(bench: Bench) -> None:
    message_id = await sealed(bench, "one")
    bench.phone.decrypt(message_id, "silent")
    await bench.stored()
    gone = f"false_{ANN}_ABC"
    assert await find(bench, "nonsense", gone, message_id) == ["failed", "gone", "readable"]


async def test_what_turns_out_to_be_no_message_is_none(bench: Bench) -> None:
    message_id = bench.phone.incoming(
        from_=BOB, sealed="e2e", type="e2e_notification", timestamp=1_000
    )["id"]
    await bench.stored()
    bench.phone.decrypt(message_id, "silent")
    await bench.stored()
    await heard(bench, 1)
    assert await find(bench, message_id) == ["no_message"]
    assert len(bench.emitted) == 1


async def test_what_only_the_phone_shows_is_an_error_and_not_waited_for(bench: Bench) -> None:
    message_id = await sealed(bench, "once", sealed="view_once_unavailable_fanout")
    await heard(bench, 1)
    (error,) = bench.emitted
    assert isinstance(error, MessageError)
    assert (error.id, error.chat) == (message_id, ANN)
    assert error.error == (
        "WhatsApp shows this message on the phone only (view_once_unavailable_fanout)"
    )
    assert "once" not in error.raw.replace("view_once", "")
    assert await find(bench, message_id) == ["no_message"]


async def test_one_that_came_while_nobody_listened_is_read_back(bench: Bench) -> None:
    await sealed(bench, "missed")
    await another_worker(bench)
    await bench.run_backfill()
    (it,) = bench.emitted
    assert isinstance(it, Undecryptable)
    bench.phone.decrypt(it.id, "stored")
    await another_worker(bench)
    await bench.run_backfill()
    assert emitted(bench) == [(it.id, "missed", True)]
    (device,) = bench.phone.state()["accounts"][PHONE]
    assert device["queued"] == 0
