"""Receipts that came while no page was loaded raise no event: the page is asked for them."""

from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import up
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.messages.inbox import Kind
from waguard.core.messages.send_states import State
from waguard.core.messages.sent_events import ack_of
from waguard.supervision.session.receipt_backfill import AT_ONCE
from waguard.wire.calls import Acks, Call, Failed, Sent, Value


def name(number: int) -> str:
    return f"true_49170@c.us_{number}"


class Page:
    """What the page has of each send; ``fails``: at the first question."""

    def __init__(self, *acks: int) -> None:
        self.acks = dict(zip(map(name, range(len(acks))), acks, strict=True))
        self.fails = False
        self.asked: list[tuple[str, ...]] = []

    async def answer(self, call: Call) -> Sent | Value | Failed:
        if not isinstance(call, Acks):
            return Value()
        self.asked.append(call.ids)
        if self.fails:
            return Failed(kind="timeout", error="the page did not answer")
        return Value(acks={it: self.acks[it] for it in call.ids if it in self.acks})


def reported(world: World) -> dict[str, int]:
    return dict(ack_of(it) for it in world.inbox.kept.values() if it.kind is Kind.ACK)


async def start(bench: Bench, world: World, page: Page) -> FakeProcess:
    world.spawn.script = Script(reports=(CONNECTED,), answer=page.answer)
    process = await up(await bench.add())
    await wait_until(lambda: page.asked, "the page was asked")
    return process


async def test_what_is_further_than_was_known_is_reported(bench: Bench, world: World) -> None:
    page = Page(1, 2, 3, 2, 3, -1, 0)
    known = [State.SENT, State.SENT, State.SENT, State.DELIVERED, State.DELIVERED]
    world.inbox.sends = dict(zip(map(name, range(8)), [*known, *[State.SENT] * 3], strict=True))
    await start(bench, world, page)
    await wait_until(lambda: len(reported(world)) == 3, "all are reported")
    assert reported(world) == {name(1): 2, name(2): 3, name(4): 3}


async def test_they_are_read_once_after_each_load_a_few_at_a_time(
    bench: Bench, world: World
) -> None:
    page = Page(*[3] * (AT_ONCE + 1))
    world.inbox.sends = dict.fromkeys(page.acks, State.SENT)
    process = await start(bench, world, page)
    await wait_until(lambda: len(reported(world)) == AT_ONCE + 1, "all are reported")
    assert [len(ids) for ids in page.asked] == [AT_ONCE, 1]
    world.inbox.sends = {}
    process.report("connected", loads=2)
    await wait_until(lambda: len(process.caught_up) == 2, "it was read back again")
    assert len(page.asked) == 2, "nothing is missing"


async def test_what_cannot_be_read_is_read_after_the_next_load(bench: Bench, world: World) -> None:
    page = Page(3)
    page.fails = True
    world.inbox.sends = {name(0): State.SENT}
    process = await start(bench, world, page)
    assert reported(world) == {}
    page.fails = False
    process.report("connected", loads=2)
    await wait_until(lambda: reported(world) == {name(0): 3}, "it is reported")
