"""Connected, but the page's own code throws at sends: said at once, and its worker replaced once."""

from typing import Any

import pytest

from tests.sends import is_silent
from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import until
from tests.supervision.test_ack_watch import entries, pass_time, send, up
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.blame import Blame
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.link import Link
from waguard.ports.outcomes import Refused
from waguard.wire.calls import Acks, Call, Failed, SendText, Sent, Value
from waguard.wire.events import Ack

THROWN = "TypeError: e.sendMsg is not a function"
BROKEN = Failed(kind="refused", error=f"the page threw {THROWN}", thrown=THROWN)


class Page:
    """What the workers' pages say of a send; ``outcomes`` by chat."""

    def __init__(self) -> None:
        self.outcome: Failed | str = BROKEN
        self.outcomes: dict[str, Failed | str] = {}

    async def answer(self, call: Call) -> Sent | Value | Failed:
        match call:
            case Acks(ids=ids):
                return Value(acks=dict.fromkeys(ids, 0))
            case SendText(chat=chat, message_id=message_id):
                outcome = self.outcomes.get(chat, self.outcome)
                if isinstance(outcome, Failed):
                    return outcome
                ack = 0 if outcome == "uncertain" else None
                return Sent(outcome=outcome, message_id=message_id, timestamp=int(START), ack=ack)
            case _:
                return Value()


@pytest.fixture
async def page(world: World) -> Page:
    made = Page()
    world.spawn.script = Script(reports=(CONNECTED,), answer=made.answer)
    return made


async def send_in_vain(bench: Bench, *chats: str) -> None:
    for number, chat in enumerate(chats):
        outcome = await send(bench, number, chat=chat)
        assert isinstance(outcome, Refused)
        assert "TypeError" in outcome.error.message


async def problems(bench: Bench) -> dict[str, str]:
    return {it.type: it.message for it in (await bench.it.sessions.view("s")).conditions}


async def replaced(bench: Bench, before: FakeProcess) -> None:
    await until(
        bench.session(), lambda s: s.runner.process is not before and s.link is Link.CONNECTED
    )


async def test_one_throw_degrades_at_once_and_the_next_ack_ends_it(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, "c")
    (condition,) = (await empty.it.sessions.view("s")).conditions
    assert (condition.type, condition.blame) == ("sends_throw", Blame.WHATSAPP)
    assert (
        condition.message
        == f"it is connected, but its page fails (JavaScript error) at sends to 1 chat: {THROWN}"
    )
    assert (await empty.it.sessions.view("s")).degraded
    await wait_until(lambda: entries(world, "sends_throw"), "it is on the trail")
    (incident,) = world.events("incident")
    assert incident.data["kind"] == "sends_throw"
    page.outcome = "sent"
    await send(empty, 1)
    assert await problems(empty) == {}
    await wait_until(lambda: entries(world, "sends_back"), "its end is on the trail")
    (reported,) = fold(world.store.entries)
    assert sentences(reported)[-1].startswith("Result: its page sends again")
    assert empty.process() is process


async def test_what_whatsapp_or_wajs_refuses_is_no_sign_of_a_failure(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    page.outcome = Failed(kind="refused", error="the page threw Error: Invalid number")
    for chat in ("c", "d", "e"):
        assert isinstance(await send(empty, 1, chat=chat), Refused)
    assert await problems(empty) == {}
    assert not entries(world, "sends_throw")


async def test_throws_to_two_chats_replace_the_worker_once(
    empty: Bench, world: World, page: Page
) -> None:
    first = await up(empty)
    await send_in_vain(empty, "c", "c")
    await pass_time(empty, world, 5)
    assert empty.process() is first, "of a single chat the recipient may be the cause"
    await send_in_vain(empty, "d")
    await pass_time(empty, world, 1)
    await replaced(empty, first)
    second = empty.process()
    assert not any(isinstance(call, SendText) for call in second.calls)
    assert (
        "page fails (JavaScript error) at sends to 2 chats" in entries(world, "recycled")[0].reason
    )
    assert empty.session().state.restarts == 0
    await send_in_vain(empty, "c", "d", "e")
    await pass_time(empty, world, 700)
    assert empty.process() is second, "another one would help as little"
    assert (await problems(empty))["sends_throw"].endswith("; a new worker did not help")
    assert len(entries(world, "sends_throw")) == 1
    page.outcome = "sent"
    await send(empty, 1)
    assert await problems(empty) == {}


async def test_a_single_one_for_long_is_enough(empty: Bench, world: World, page: Page) -> None:
    first = await up(empty)
    await send_in_vain(empty, "c")
    await pass_time(empty, world, 180)
    assert empty.process() is first
    await pass_time(empty, world, 11)
    await replaced(empty, first)


async def test_an_ack_of_an_earlier_send_proves_nothing(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    page.outcome = "uncertain"
    assert is_silent(await send(empty, 1))
    world.clock.advance(1.0)
    page.outcome = BROKEN
    await send_in_vain(empty, "d")
    process.event(Ack(ids=("true_s_1",), chat="c", ack=1))
    await wait_until(lambda: empty.session().traffic.acks.proved_at, "the ack is heard")
    assert "sends_throw" in await problems(empty)
    world.clock.advance(1.0)
    page.outcome = "uncertain"
    assert is_silent(await send(empty, 2))
    assert "sends_throw" in await problems(empty)
    process.event(Ack(ids=("true_s_2",), chat="c", ack=1))
    await wait_until(lambda: entries(world, "sends_back"), "a send after it is acknowledged")
    assert await problems(empty) == {}


async def test_a_chat_that_throws_while_others_are_sent_to_is_its_own_matter(
    empty: Bench, world: World, page: Page
) -> None:
    """One report of it, then none until another chat throws."""
    await up(empty)
    page.outcomes["odd"] = BROKEN
    page.outcome = "sent"
    await send_in_vain(empty, "odd")
    assert "sends_throw" in await problems(empty)
    await send(empty, 1)
    await send_in_vain(empty, "odd")
    assert await problems(empty) == {}
    page.outcomes["d"] = BROKEN
    await send_in_vain(empty, "d")
    assert "sends_throw" in await problems(empty)
    await wait_until(lambda: len(entries(world, "sends_throw")) == 2, "both are on the trail")


async def test_another_pairing_and_a_lost_link_know_nothing_of_it(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, "c")
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    assert "sends_throw" not in await problems(empty)
    process.report(**CONNECTED)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert "sends_throw" in await problems(empty)
    said: dict[str, Any] = {**QR_SHOWN}
    process.report(**said)
    await until(empty.session(), lambda s: s.link is Link.QR_PENDING)
    process.report(**CONNECTED)
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    assert "sends_throw" not in await problems(empty)
