"""Connected, but every ack is pending: it is told, confirmed by the page, and the worker replaced."""

import asyncio
from typing import Any

import pytest

from tests.sends import is_silent
from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_host import START
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import heard, until
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.core import page_care
from waguard.core.incidents.folding import fold
from waguard.core.incidents.sentences import sentences
from waguard.core.link import Link
from waguard.core.messages.inbox import InboxRecord, Kind
from waguard.core.messages.sent_events import of_ack
from waguard.core.recycle import APART
from waguard.core.replace import replace
from waguard.ports.outcomes import Outcome, Uncertain
from waguard.supervision.session.ack_watch import ASKED_AT_ONCE
from waguard.wire.calls import Acks, Call, Failed, SendText, Sent, Value
from waguard.wire.events import Ack


class Page:
    """What the workers' pages show: ``acks`` by id; a send is not acknowledged unless ``well``."""

    def __init__(self) -> None:
        self.acks: dict[str, int] = {}
        self.well: set[str] = set()
        """Chats whose messages are acknowledged at once."""
        self.shows: dict[str, int] | Failed | None = None
        """What it says instead when it is asked for acks."""
        self.hangs: set[str] = set()
        """Their look-ups have no answer."""

    async def answer(self, call: Call) -> Sent | Value | Failed:
        match call:
            case Acks(ids=ids):
                if isinstance(self.shows, Failed):
                    return self.shows
                shown = self.acks if self.shows is None else self.shows
                unread = tuple(name for name in ids if name in self.hangs)
                shown = {name: shown[name] for name in ids if name in shown.keys() - self.hangs}
                return Value(acks=shown, unread=unread)
            case SendText(chat=chat, message_id=message_id):
                outcome = "sent" if chat in self.well else "uncertain"
                self.acks[message_id] = int(outcome == "sent")
                ack = None if outcome == "sent" else 0
                return Sent(outcome=outcome, message_id=message_id, timestamp=int(START), ack=ack)
            case _:
                return Value()


@pytest.fixture
async def page(world: World) -> Page:
    made = Page()
    world.spawn.script = Script(reports=(CONNECTED,), answer=made.answer)
    return made


async def up(bench: Bench, name: str = "s") -> FakeProcess:
    await bench.create(name)
    await until(bench.session(name), lambda s: s.link is Link.CONNECTED)
    return bench.process(name)


async def send(bench: Bench, number: int, name: str = "s", chat: str = "c") -> Outcome:
    call = SendText(chat=chat, text="t", message_id=f"true_{name}_{number}", timeout=5.0)
    return await bench.it.sessions.send(name, call, wait=0)


async def send_in_vain(bench: Bench, *numbers: int, name: str = "s") -> None:
    for number in numbers:
        assert is_silent(await send(bench, number, name))


async def pass_time(bench: Bench, world: World, seconds: int) -> None:
    """Second by second, with workers that are heard, and pages that answer at once."""
    for _ in range(seconds):
        world.clock.advance(1.0)
        for session in bench.it.registry.sessions:
            heard(session)
        await bench.it.watchdog.watch()
        await asyncio.sleep(0)
        asking = [it for it in asyncio.all_tasks() if it.get_name().endswith(": acks")]
        if asking:
            await asyncio.wait(asking)


async def asked(process: FakeProcess, times: int) -> None:
    await wait_until(
        lambda: sum(isinstance(call, Acks) for call in process.calls) >= times,
        "the page is asked",
    )


def late(bench: Bench) -> int:
    """How many sends, as the page confirmed it."""
    found = bench.session().traffic.acks.late
    return found.count if found else 0


def entries(world: World, kind: str) -> list[Any]:
    return [entry for entry in world.store.entries if entry.kind == kind]


async def test_one_late_ack_degrades_and_its_coming_ends_it(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, 1)
    await pass_time(empty, world, 60)
    assert (await empty.it.sessions.view("s")).degraded is None
    await pass_time(empty, world, 1)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    view = await empty.it.sessions.view("s")
    assert view.status == "connected"
    assert view.degraded
    assert "1 message waits for WhatsApp's ack" in view.degraded
    assert empty.it.health.read().problems == (f"s: {view.degraded}",)
    await wait_until(lambda: entries(world, "acks_missing"), "it is on the trail")
    assert entries(world, "acks_missing")[0].evidence == {"waiting": 1, "longest": 61.0}
    (incident,) = world.events("incident")
    assert incident.data["kind"] == "acks_missing"
    process.event(Ack(ids=("true_s_1",), chat="c", ack=1))
    await wait_until(lambda: empty.session().traffic.acks.proved_at, "the ack is heard")
    await pass_time(empty, world, 1)
    assert (await empty.it.sessions.view("s")).degraded is None
    await wait_until(lambda: entries(world, "acks_back"), "its end is on the trail")
    (reported,) = fold(world.store.entries)
    assert sentences(reported)[-1].startswith("Result: WhatsApp acknowledges again")
    assert empty.process() is process


async def test_an_ack_under_another_alias_of_its_chat_counts(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, 1)

    def named(one: InboxRecord) -> InboxRecord:
        return replace(one, events=of_ack("true_s_1", 1, 0.0)) if one.kind is Kind.ACK else one

    world.inbox.named = named
    process.event(Ack(ids=("true_777@lid_1",), chat="777@lid", ack=1))
    await wait_until(lambda: empty.session().traffic.acks.proved_at, "the ack is heard")
    world.clock.advance(61)
    assert not empty.session().traffic.acks.overdue


async def test_two_late_acks_replace_the_worker_once_and_nothing_is_sent_again(
    empty: Bench, world: World, page: Page
) -> None:
    first = await up(empty)
    await send_in_vain(empty, 1, 2)
    await pass_time(empty, world, 61)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    await pass_time(empty, world, 1)
    await until(
        empty.session(), lambda s: s.runner.process is not first and s.link is Link.CONNECTED
    )
    second = empty.process()
    assert not any(isinstance(call, SendText) for call in second.calls)
    await wait_until(lambda: entries(world, "recycled"), "it is on the trail")
    assert "2 messages wait" in entries(world, "recycled")[0].reason
    assert empty.session().state.restarts == 0
    # the time is counted anew, and the next replacement has to wait
    await pass_time(empty, world, 60)
    assert empty.session().traffic.acks.late is None
    await pass_time(empty, world, 1)
    await wait_until(lambda: empty.session().traffic.acks.late, "it is no better")
    await pass_time(empty, world, 300)
    assert empty.process() is second
    (reported, again) = fold(world.store.entries)
    assert reported.actions == ["its worker was replaced, as planned"]
    assert again.ended is None


async def test_what_outlived_a_replacement_is_no_reason_for_another(
    empty: Bench, world: World, page: Page
) -> None:
    first = await up(empty)
    await send_in_vain(empty, 1, 2)
    await pass_time(empty, world, 61)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    await pass_time(empty, world, 1)
    await until(
        empty.session(), lambda s: s.runner.process is not first and s.link is Link.CONNECTED
    )
    second = empty.process()
    await pass_time(empty, world, 61)
    await wait_until(lambda: empty.session().traffic.acks.late, "it is no better, and said so")
    assert not entries(world, "acks_back")
    await pass_time(empty, world, int(APART))
    assert empty.process() is second
    assert (await empty.it.sessions.view("s")).degraded
    # nothing at all was acknowledged since: another one would help as little, and a person is asked
    await send_in_vain(empty, 3, 4)
    await pass_time(empty, world, 70)
    await asked(second, 5)
    assert empty.process() is second
    (condition,) = (await empty.it.sessions.view("s")).conditions
    assert (condition.type, "never does" in condition.remedy) == (page_care.Kind.ACKS_IN_VAIN, True)
    assert entries(world, "acks_in_vain")
    second.report("offline")  # which proves nothing
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await pass_time(empty, world, 5)
    second.report("connected")
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    await pass_time(empty, world, 70)
    assert len(entries(world, "acks_in_vain")) == 1
    # a receipt of an older message proves nothing, the ack of a send does
    second.event(Ack(ids=("true_s_0",), chat="c", ack=3))
    seq = second.event(Ack(ids=("true_s_1",), chat="c", ack=1))
    await wait_until(lambda: seq in second.stored, "the acks are heard")
    async with asyncio.timeout(DEADLINE):
        while empty.session().runner.process is second:
            await pass_time(empty, world, 1)
    await until(
        empty.session(), lambda s: s.runner.process is not second and s.link is Link.CONNECTED
    )


async def test_of_what_was_not_asked_for_nothing_is_said(
    empty: Bench, world: World, page: Page
) -> None:
    """All of them were acknowledged while nobody listened."""
    process = await up(empty)
    numbers = range(ASKED_AT_ONCE + 5)
    await send_in_vain(empty, *numbers)
    page.shows = {f"true_s_{number}": 1 for number in numbers}
    await pass_time(empty, world, 61)
    await asked(process, 1)
    await pass_time(empty, world, 10)
    await asked(process, 2)
    await wait_until(lambda: not empty.session().traffic.acks._sent_at, "the page knew better")
    await pass_time(empty, world, 2)
    assert not entries(world, "acks_missing")
    assert empty.process() is process


async def test_what_the_page_knows_better_is_no_trouble(
    empty: Bench, world: World, page: Page
) -> None:
    """An ack that came while nobody listened, and a message that never got into its chat."""
    process = await up(empty)
    await send_in_vain(empty, 1, 2)
    page.shows = {"true_s_1": 1}
    await pass_time(empty, world, 61)
    await asked(process, 1)
    await pass_time(empty, world, 200)
    assert empty.session().traffic.acks.late is None
    assert sum(isinstance(call, Acks) for call in process.calls) == 1
    assert empty.process() is process


async def test_a_page_that_cannot_be_asked_proves_nothing(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, 1, 2)
    page.shows = Failed(kind="timeout", error="no answer")
    await pass_time(empty, world, 61)
    await asked(process, 1)
    await pass_time(empty, world, 10)
    await asked(process, 2)
    assert empty.session().traffic.acks.late is None
    page.shows = None
    await pass_time(empty, world, 10)
    await wait_until(lambda: empty.session().traffic.acks.late, "it is asked again")


async def test_a_send_whose_ack_is_not_found_in_time_hides_no_other_and_is_not_forgotten(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, 1, 2)
    page.hangs = {"true_s_1", "true_s_2"}
    await pass_time(empty, world, 61)
    await asked(process, 1)
    assert empty.session().traffic.acks.late is None
    page.hangs = {"true_s_1"}
    await pass_time(empty, world, 10)
    await wait_until(lambda: late(empty) == 1, "the other one is late")
    page.hangs = {"true_s_1", "true_s_2"}
    await pass_time(empty, world, 10)
    await asked(process, 3)
    assert late(empty) == 1, "nothing shows that it is not"
    page.hangs = set()
    await pass_time(empty, world, 10)
    await wait_until(lambda: late(empty) == 2, "both are late")


async def test_what_has_no_answer_keeps_no_other_send_late(
    empty: Bench, world: World, page: Page
) -> None:
    await up(empty)
    await send_in_vain(empty, 1, 2)
    page.hangs = {"true_s_1"}
    await pass_time(empty, world, 61)
    await wait_until(lambda: late(empty) == 1, "the other one is late")
    page.acks["true_s_2"] = 1
    await pass_time(empty, world, 10)
    await wait_until(lambda: not late(empty), "nobody has seen that the first one is late")
    await pass_time(empty, world, 1)
    assert (await empty.it.sessions.view("s")).degraded is None


async def test_only_what_has_no_answer_stays_late_when_the_others_are_acknowledged(
    empty: Bench, world: World, page: Page
) -> None:
    first = await up(empty)
    await send_in_vain(empty, 1, 2)
    await pass_time(empty, world, 61)
    await wait_until(lambda: late(empty) == 2, "the page confirms it")
    await pass_time(empty, world, 1)
    await until(
        empty.session(), lambda s: s.runner.process is not first and s.link is Link.CONNECTED
    )
    await pass_time(empty, world, 61)
    await wait_until(lambda: late(empty) == 2, "it is no better")
    page.hangs, page.acks["true_s_2"] = {"true_s_1"}, 1
    await pass_time(empty, world, 10)
    await wait_until(lambda: late(empty) == 1, "one of them was acknowledged")
    page.hangs, page.acks["true_s_1"] = set(), 1
    await pass_time(empty, world, 11)
    await wait_until(lambda: entries(world, "acks_back"), "both were")


async def test_what_had_no_answer_is_asked_for_last(empty: Bench, world: World, page: Page) -> None:
    await up(empty)
    numbers = range(ASKED_AT_ONCE + 1)
    await send_in_vain(empty, *numbers)
    page.hangs = {f"true_s_{number}" for number in numbers[:-1]}
    await pass_time(empty, world, 61)
    assert empty.session().traffic.acks.late is None
    await pass_time(empty, world, 10)
    await wait_until(lambda: late(empty) == 1, "the last one is late")


async def test_only_time_in_which_it_is_connected_counts(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)
    await send_in_vain(empty, 1, 2)
    await pass_time(empty, world, 50)
    process.report("offline")
    await until(empty.session(), lambda s: s.link is Link.OFFLINE)
    await pass_time(empty, world, 50)
    process.report("connected")
    await until(empty.session(), lambda s: s.link is Link.CONNECTED)
    await pass_time(empty, world, 50)
    assert not any(isinstance(call, Acks) for call in process.calls)


async def test_what_never_reached_the_page_is_not_waited_for(
    empty: Bench, world: World, page: Page
) -> None:
    process = await up(empty)

    async def lost(call: Call) -> Sent:
        assert isinstance(call, SendText)
        return Sent(outcome="uncertain", message_id=call.message_id, timestamp=0, error="lost")

    process.script.answer = lost
    assert await send(empty, 1) == Uncertain("WhatsApp did not answer: lost")
    process.script.answer = page.answer
    await pass_time(empty, world, 200)
    assert not any(isinstance(call, Acks) for call in process.calls)


async def both_late(empty: Bench, world: World) -> dict[str, FakeProcess]:
    before = {name: await up(empty, name) for name in "ab"}
    for name in "ab":
        await send_in_vain(empty, 1, 2, name=name)
    await pass_time(empty, world, 61)
    for name in "ab":
        await wait_until(lambda n=name: empty.session(n).traffic.acks.late, "both are late")  # type: ignore[misc]
    return before


async def replaced(empty: Bench, world: World, before: dict[str, FakeProcess]) -> tuple[str, str]:
    """The canary's name, and the other one's."""
    await pass_time(empty, world, 1)
    await wait_until(lambda: len(entries(world, "recycled")) == 1, "one is replaced")
    canary = entries(world, "recycled")[0].session_id
    await until(
        empty.session(canary),
        lambda s: s.runner.process is not before[canary] and s.link is Link.CONNECTED,
    )
    (other,) = before.keys() - {canary}
    return canary, other


async def test_a_canary_that_stays_late_makes_it_whatsapps(
    empty: Bench, world: World, page: Page
) -> None:
    before = await both_late(empty, world)
    canary, other = await replaced(empty, world, before)
    await pass_time(empty, world, 60)
    assert empty.process(other) is before[other], "one at a time"
    assert not entries(world, "acks_missing_everywhere"), "nothing is proven yet"
    await pass_time(empty, world, 2)
    await wait_until(lambda: empty.session(canary).traffic.acks.in_vain, "it is no better")
    await pass_time(empty, world, 1)
    assert "2 sessions are connected" in empty.it.health.read().problems[0]
    await wait_until(lambda: entries(world, "acks_missing_everywhere"), "it is on the trail")
    await pass_time(empty, world, int(APART) - 80)
    assert empty.process(other) is before[other]
    # the canary may be unhealthy for a reason of its own: the other one gets its turn
    await pass_time(empty, world, 30)
    await until(empty.session(other), lambda s: s.runner.process is not before[other])
    assert len(entries(world, "recycled")) == 2
    # WhatsApp is heard again
    await until(empty.session(other), lambda s: s.link is Link.CONNECTED)
    process = empty.process(canary)
    seqs = [process.event(Ack(ids=(f"true_{canary}_{n}",), chat="c", ack=1)) for n in (1, 2)]
    await wait_until(lambda: set(seqs) <= set(process.stored), "the acks are heard")
    await pass_time(empty, world, 2)
    await wait_until(lambda: entries(world, "acks_back_everywhere"), "its end is on the trail")


async def test_two_unhealthy_sessions_do_not_block_each_other(
    empty: Bench, world: World, page: Page
) -> None:
    """Nobody else sends; a replacement helps each of them."""
    before = await both_late(empty, world)
    canary, other = await replaced(empty, world, before)
    process = empty.process(canary)
    for number in (1, 2):
        page.acks[f"true_{canary}_{number}"] = 1
        process.event(Ack(ids=(f"true_{canary}_{number}",), chat="c", ack=1))
    await wait_until(lambda: not empty.session(canary).traffic.acks._sent_at, "the acks are heard")
    await pass_time(empty, world, 50)
    assert empty.process(other) is before[other], "60 s apart"
    await pass_time(empty, world, 15)
    await until(empty.session(other), lambda s: s.runner.process is not before[other])
    assert empty.process(canary) is process
    assert not entries(world, "acks_missing_everywhere")


async def test_an_outage_in_between_leaves_no_incident_open(
    empty: Bench, world: World, page: Page
) -> None:
    """The page does not notice it; the acks come when it is over."""
    process = await up(empty)
    other = await up(empty, "other")
    await send_in_vain(empty, 1)
    await pass_time(empty, world, 61)
    await wait_until(lambda: empty.session().traffic.acks.late, "the page confirms it")
    for one, name in ((process, "s"), (other, "other")):
        one.report("offline")
        await until(empty.session(name), lambda s: s.link is Link.OFFLINE)
    await pass_time(empty, world, 2)
    assert "acks" not in str((await empty.it.sessions.view("s")).degraded)
    for one, name in ((process, "s"), (other, "other")):
        one.report("connected")
        await until(empty.session(name), lambda s: s.link is Link.CONNECTED)
    process.event(Ack(ids=("true_s_1",), chat="c", ack=1))
    await wait_until(lambda: empty.session().traffic.acks.proved_at, "the ack is heard")
    await pass_time(empty, world, 2)
    await wait_until(lambda: entries(world, "acks_back"), "its end is on the trail")
