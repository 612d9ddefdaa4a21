"""First contacts that WhatsApp refuses: what a session does then."""

import asyncio

import pytest

from tests.sends import is_silent
from tests.supervision.bench import CONNECTED, PHONE, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import found, heard, until
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.config.sections import Send
from waguard.core.fleet.ack_watch import ALONE, FAR
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.link import Link
from waguard.core.messages.first_contact_pauses import FIRST_GUESS, LOOKUPS_REST
from waguard.core.page_care import Kind
from waguard.errors import UnavailableError
from waguard.ports.outcomes import Acked, NotSent, Outcome, Refused
from waguard.supervision.session.ack_watch import ASKED_AT_ONCE
from waguard.supervision.session.whatsapp_quotas import TRIED_FOR
from waguard.wire.calls import Acks, Call, Failed, SendText, Sent, Value
from waguard.wire.events import Ack

ACK_LIMIT = Send().ack_limit
KNOWN, GROUP = "known@c.us", "group@g.us"


class Page:
    """WhatsApp as the workers' pages show it: ``locked`` first contacts are refused, or get no answer."""

    def __init__(self) -> None:
        self.locked: str | None = "refused"
        self.often = False
        self.silent = False
        """Nothing at all is acknowledged."""
        self.held: list[str] = []
        self.sent: list[str] = []
        self.release: asyncio.Event | None = None
        self.shown: dict[str, int] = {}

    async def answer(self, call: Call) -> Sent | Value | Failed:
        if isinstance(call, Acks):
            return Value(acks=self.shown)
        if not isinstance(call, SendText):
            return Value()
        name = call.message_id
        history = {KNOWN: "answered", GROUP: "other"}.get(call.chat, "first")
        if history == "first" and call.hold:
            self.held.append(call.chat)
            field = "recipient_phone"
            return Failed(kind="held", error="they pause", field=field, standing=history)
        if history == "first" and self.often:
            return Failed(kind="paused", error="too many", field="recipient_phone")
        if self.release:
            await self.release.wait()
        silent = "uncertain" if self.silent else None
        outcome = (self.locked if history == "first" else silent) or "sent"
        self.sent.append(call.chat)
        ack = 0 if outcome == "uncertain" else None
        return Sent(
            outcome=outcome, message_id=name, timestamp=int(START), ack=ack, standing=history
        )


@pytest.fixture
async def page(world: World) -> Page:
    made = Page()
    world.spawn.script = Script(reports=(CONNECTED,), answer=made.answer)
    return made


async def up(bench: Bench) -> None:
    await bench.create("s")
    await until(bench.session(), lambda s: s.link is Link.CONNECTED)


async def send(bench: Bench, chat: str, stem: str = "1") -> Outcome:
    call = SendText(chat=chat, text="t", message_id=f"true_{chat}_{stem}", timeout=5.0)
    return await bench.it.sessions.send("s", call, wait=0)


async def is_sent(bench: Bench, chat: str) -> bool:
    return isinstance(await send(bench, chat), Acked)


async def is_refused(bench: Bench, chat: str) -> bool:
    return isinstance(await send(bench, chat), Refused)


async def refusal(bench: Bench, chat: str) -> UnavailableError:
    outcome = await send(bench, chat)
    assert isinstance(outcome, NotSent)
    assert outcome.hold
    assert isinstance(outcome.error, UnavailableError)
    return outcome.error


async def tick(bench: Bench, seconds: float = 1.0) -> None:
    bench.world.clock.advance(seconds)
    session = bench.session()
    heard(session)
    await bench.it.watchdog.watch()
    await bench.it.watchdog.watch()  # after a jump of the clock nothing is judged at first


async def locked_out(bench: Bench) -> None:
    """Three in a row were refused, while a known chat goes on."""
    for number in range(3):
        assert await is_refused(bench, f"{number}@c.us")
        assert await is_sent(bench, KNOWN)


async def says(bench: Bench, locked_until: float) -> None:
    bench.process().report(phone=PHONE, locked_until=locked_until)
    session = bench.session()
    await until(
        session, lambda s: bool(s.runner.report and s.runner.report.locked_until == locked_until)
    )


async def test_three_refused_first_contacts_pause_them_and_nothing_else(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    worker = empty.process()
    began = world.clock.wall()
    await locked_out(empty)
    error = await refusal(empty, "4@c.us")
    assert "names no date: they pause until 2024-11-22" in error.message
    assert (error.status, error.field) == (503, "recipient_phone")
    assert error.retry_after == FIRST_GUESS
    assert "somebody has answered go on" in str(error.remedy)
    assert page.held == ["4@c.us"]
    assert await is_sent(empty, KNOWN)
    assert await is_sent(empty, GROUP)
    assert empty.it.sessions.first_contacts_pause("s") == FIRST_GUESS
    await tick(empty)
    view = await empty.it.sessions.view("s")
    (condition,) = view.conditions
    assert condition.type == Kind.FIRST_CONTACTS_PAUSED
    assert (condition.since, condition.until) == (began, began + FIRST_GUESS)
    assert condition.expires_in == FIRST_GUESS - 1
    assert view.status == "connected"
    await wait_until(lambda: world.events("incident"), "the event stream tells it")
    (reported,) = world.events("incident")
    assert reported.data["kind"] == "first_contacts_paused"
    await empty.until_written()
    (incident,) = fold(world.store.entries)
    assert "It is still open. Chats in which somebody has answered" in sentences(incident)[-1]
    assert (empty.process(), empty.session().traffic.acks.late) == (worker, None)
    assert empty.it.sessions.first_contacts_pause("nobody") == 0.0


async def test_after_the_pause_one_is_tried_at_a_time(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    await locked_out(empty)
    await tick(empty, FIRST_GUESS)
    assert (await empty.it.sessions.view("s")).conditions == ()
    page.release = asyncio.Event()
    tried = asyncio.create_task(is_refused(empty, "5@c.us"))
    await wait_until(lambda: len(empty.process().calls) == 7, "it is on its way")
    error = await refusal(empty, "6@c.us")
    assert (error.field, error.retry_after) == ("recipient_phone", TRIED_FOR)
    page.release.set()
    assert await tried
    assert (await refusal(empty, "7@c.us")).retry_after == 2 * FIRST_GUESS
    await tick(empty, 2 * FIRST_GUESS)
    page.locked = None
    for number in (8, 9):
        assert await is_sent(empty, f"{number}@c.us")
    page.locked = "refused"
    assert [await is_refused(empty, f"1{number}@c.us") for number in range(2)] == [True] * 2


async def test_what_is_dropped_without_a_word_is_no_missing_ack(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    worker, page.locked = empty.process(), "uncertain"
    for number in range(3):
        assert is_silent(await send(empty, f"{number}@c.us"))
        assert empty.it.sessions.first_contacts_pause("s") == 0.0, "it may be the connection"
        assert await is_sent(empty, KNOWN)
    assert empty.it.sessions.first_contacts_pause("s") == FIRST_GUESS
    for _ in range(600):
        await tick(empty)
    await asyncio.sleep(0)
    assert (empty.session().traffic.acks.late, empty.process()) == (None, worker)
    assert not world.audited("acks_missing")


async def test_where_nothing_else_is_acknowledged_it_may_be_the_page(
    empty: Bench, world: World, page: Page
) -> None:
    """But WhatsApp may drop them: a worker is replaced only after long, and once."""
    await up(empty)
    worker = empty.process()
    await dropped(empty, page, 2)
    await pass_time(empty, ALONE * ACK_LIMIT)
    assert (empty.session().traffic.acks.late, empty.process()) == (None, worker)
    assert not asked(empty)
    await pass_time(empty, 1)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    await tick(empty)
    await until(
        empty.session(), lambda s: s.runner.process is not worker and s.link is Link.CONNECTED
    )
    (missing,) = world.audited("acks_missing")
    assert "2 first contacts wait for WhatsApp's ack" in str(missing)
    # no version of the page is to blame for that
    assert empty.session().traffic.acks.confirmed_at is None
    second = empty.process()
    await pass_time(empty, 3 * ALONE * ACK_LIMIT)
    assert empty.process() is second
    (condition,) = (await empty.it.sessions.view("s")).conditions
    assert condition.type == Kind.ACKS_IN_VAIN


async def test_a_single_one_is_reported_and_replaces_no_worker(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    worker = empty.process()
    await dropped(empty, page, 1)
    await pass_time(empty, ALONE * ACK_LIMIT + 1)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    await pass_time(empty, 3 * ALONE * ACK_LIMIT)
    assert "1 first contact waits" in str((await empty.it.sessions.view("s")).degraded)
    assert empty.process() is worker
    page.locked = None
    assert await is_sent(empty, KNOWN)
    await tick(empty)
    assert (await empty.it.sessions.view("s")).degraded is None


async def test_beside_them_a_known_chat_counts_as_it_always_does(
    empty: Bench, world: World, page: Page
) -> None:
    """Also where so many first contacts wait before it that not all are asked for."""
    await up(empty)
    worker = empty.process()
    await dropped(empty, page, ASKED_AT_ONCE + 1)
    page.silent = True
    assert is_silent(await send(empty, KNOWN, stem="2"))
    page.shown[f"true_{KNOWN}_2"] = 0
    await pass_time(empty, ACK_LIMIT + 1)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    late = empty.session().traffic.acks.late
    assert late
    assert (late.count, late.first_contacts) == (1, False)
    assert empty.session().traffic.acks.confirmed_at is not None
    await pass_time(empty, FAR * ACK_LIMIT)
    await until(empty.session(), lambda s: s.runner.process is not worker)


async def test_while_whatsapp_refuses_first_contacts_those_without_an_ack_are_explained(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    worker = empty.process()
    await dropped(empty, page, 2)
    await says(empty, world.clock.wall() + 86_400)
    await pass_time(empty, 2 * ALONE * ACK_LIMIT)
    assert (empty.process(), world.audited("acks_missing"), asked(empty)) == (worker, [], [])


async def dropped(bench: Bench, page: Page, count: int) -> None:
    """So many first contacts, of which the page goes on to show no ack."""
    page.locked = "uncertain"
    for number in range(count):
        assert is_silent(await send(bench, f"{number}@c.us"))
    page.shown = {f"true_{number}@c.us_1": 0 for number in range(count)}


async def pass_time(bench: Bench, seconds: float) -> None:
    for _ in range(int(seconds)):
        await tick(bench)
        await asyncio.sleep(0)


def asked(bench: Bench) -> list[Call]:
    return [call for call in bench.process().calls if isinstance(call, Acks)]


async def test_one_that_ends_after_another_was_acknowledged_is_no_missing_ack(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    release = asyncio.Event()
    page.locked, page.release = "uncertain", release
    silent = asyncio.create_task(send(empty, "1@c.us"))
    await wait_until(lambda: empty.process().calls, "it is on its way")
    page.release = None
    world.clock.advance(1.0)
    assert await is_sent(empty, KNOWN)
    release.set()
    assert is_silent(await silent)
    assert not empty.session().traffic.acks.overdue
    for _ in range(90):
        await tick(empty)
    assert (empty.session().traffic.acks.late, world.audited("acks_missing")) == (None, [])


async def test_a_late_answer_counts(empty: Bench, world: World, page: Page) -> None:
    await up(empty)
    page.locked = "uncertain"
    for number in range(2):
        await send(empty, f"{number}@c.us")
        assert await is_sent(empty, KNOWN)
    process = empty.process()
    process.event(Ack(ids=("true_0@c.us_1",), chat="0@c.us", ack=1))
    await wait_until(lambda: process.stored, "it is taken")
    await send(empty, "2@c.us")
    assert await is_sent(empty, KNOWN)
    assert empty.it.sessions.first_contacts_pause("s") == 0.0, "WhatsApp took one of them"
    page.locked = "refused"
    await send(empty, "3@c.us")
    process.event(Ack(ids=("true_7@lid_9",), chat="7@lid", ack=-1))  # of long ago
    process.event(Ack(ids=("true_2@c.us_1",), chat="2@c.us", ack=-1))
    await wait_until(lambda: len(process.stored) == 3, "they are taken")
    assert empty.it.sessions.first_contacts_pause("s") == 0.0, "two were refused, one of them late"
    await send(empty, "4@c.us")
    assert empty.it.sessions.first_contacts_pause("s") == FIRST_GUESS


async def test_by_the_word_of_whatsapps_page(empty: Bench, world: World, page: Page) -> None:
    await up(empty)
    named = float(int(world.clock.wall())) + 3 * 86_400
    await says(empty, named)
    error = await refusal(empty, "1@c.us")
    assert error.message == (
        "WhatsApp refuses first contacts of this account until 2024-11-25 00:16 UTC"
    )
    assert error.retry_after == named - world.clock.wall()
    await says(empty, named + 60)
    assert empty.it.sessions.first_contacts_pause("s") == named + 60 - world.clock.wall()
    await says(empty, 0.0)
    assert empty.it.sessions.first_contacts_pause("s") == 0.0
    page.locked = None
    assert await is_sent(empty, "1@c.us")


async def test_a_refusal_takes_the_date_that_the_page_has(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    await locked_out(empty)
    named = float(int(world.clock.wall())) + 86_400
    await says(empty, named)
    assert empty.it.sessions.first_contacts_pause("s") == named - world.clock.wall()


async def test_asked_too_often_is_another_cause_of_the_same(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    page.often = True
    error = await refusal(empty, "1@c.us")
    assert "too many new numbers" in error.message
    assert error.retry_after == LOOKUPS_REST
    await refusal(empty, "2@c.us")
    assert page.held == ["2@c.us"], "WhatsApp was not asked again"
    await tick(empty)
    assert [it.type for it in found(empty.session())] == [Kind.FIRST_CONTACTS_PAUSED]
    page.often, page.locked = False, None
    await tick(empty, LOOKUPS_REST)
    assert await is_sent(empty, "2@c.us")
    assert found(empty.session()) == ()
