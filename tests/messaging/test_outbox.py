"""No double, whatever the replies do: stories, and a machine that tries every order of them."""

import asyncio
import re
from collections import deque
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.api.fake_sessions import SESSION, FakeSessions
from tests.waiting import wait_until
from waguard.config import Send
from waguard.errors import ConflictError, RefusedError, UnavailableError, UncertainError
from waguard.messaging import outbox as module
from waguard.messaging.outbox import KEPT_AT_MOST, KEPT_FOR, Media, Outbox, Ticket, new_message_id
from waguard.wire.protocol import SendMedia, SendText, Sent, Value

CHAT = "6281234567890@c.us"


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """An outbox on scripted sessions."""

    def __init__(self) -> None:
        self.sessions = FakeSessions()
        self.clock = Clock()
        self.outbox = Outbox(self.sessions, Send, clock=self.clock)

    def send(self, text: str = "hi", chat: str = CHAT, session: str = SESSION) -> Ticket:
        return self.outbox.send_text(session, chat, text)


@pytest.fixture
def world() -> World:
    return World()


def test_the_id_is_one_as_whatsapp_web_makes_them() -> None:
    ids = {new_message_id(CHAT) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(r"true_6281234567890@c\.us_3EB0[0-9A-F]{18}", i) for i in ids)


async def test_the_session_is_asked_with_the_configured_times(world: World) -> None:
    ticket = world.send()
    sent = await world.outbox.result(ticket)
    assert sent.message_id == ticket.message_id
    call = SendText(chat=CHAT, text="hi", message_id=ticket.message_id, timeout=30.0)
    assert world.sessions.calls == [(SESSION, call, 20.0)]


async def test_media_are_asked_for_whole(world: World) -> None:
    media = Media(content=b"x", mimetype="image/png", kind="image", filename="f", caption="c")
    ticket = world.outbox.send_media(SESSION, CHAT, media)
    await world.outbox.result(ticket)
    [call] = world.sessions.sends()
    assert isinstance(call, SendMedia)
    assert (call.content, call.kind, call.filename, call.caption) == (b"x", "image", "f", "c")
    assert world.outbox.send_media(SESSION, CHAT, media) is ticket


async def test_what_differs_in_anything_is_another_message(world: World) -> None:
    def media(**changes: Any) -> Ticket:
        given: dict[str, Any] = {"content": b"x", "mimetype": "a/b", "kind": "document"}
        return world.outbox.send_media(SESSION, CHAT, Media(**(given | changes)))

    tickets = [
        world.send(),
        world.send(text="ho"),
        world.send(chat="1" + CHAT),
        media(),
        media(caption="x"),
        media(filename="x"),
        media(content=b"y"),
        media(kind="image"),
        world.send(text="x"),
    ]
    assert len({ticket.message_id for ticket in tickets}) == len(tickets)
    await asyncio.gather(*(world.outbox.result(ticket) for ticket in tickets))


async def test_a_caller_that_is_cancelled_does_not_cancel_the_send(world: World) -> None:
    world.sessions.free.clear()
    ticket = world.send()
    waiting = asyncio.create_task(world.outbox.result(ticket))
    await wait_until(world.sessions.sends, "the send began")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    world.outbox.unanswered(ticket)
    world.sessions.free.set()
    assert (await world.outbox.result(world.send())).message_id == ticket.message_id
    assert len(world.sessions.sends()) == 1


@pytest.mark.parametrize("error", [UncertainError("?"), RefusedError("no"), RuntimeError("bug")])
async def test_what_may_have_happened_is_shared_until_it_is_told(
    world: World, error: Exception
) -> None:
    world.sessions.outcomes.append(error)
    ticket = world.send()
    for _ in range(2):
        with pytest.raises((UncertainError, RefusedError)):
            await world.outbox.result(ticket)
        world.outbox.unanswered(ticket)
        assert world.send() is ticket
    assert world.outbox.answered(ticket)
    assert world.send() is not ticket


@pytest.mark.parametrize("error", [ConflictError("off"), UnavailableError("not ready")])
async def test_what_did_not_happen_is_tried_again(world: World, error: Exception) -> None:
    world.sessions.outcomes.append(error)
    ticket = world.send()
    with pytest.raises(type(error)):
        await world.outbox.result(ticket)
    world.outbox.unanswered(ticket)
    second = world.send()
    assert second is not ticket
    assert not world.outbox.answered(ticket) or world.send() is second  # the late one ends itself
    assert (await world.outbox.result(second)).outcome == "sent"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Sent(outcome="refused", message_id="x", timestamp=0, error="no"), RefusedError),
        (Sent(outcome="uncertain", message_id="x", timestamp=0), UncertainError),
        (Value(text="what?"), UncertainError),
    ],
)
async def test_only_sent_is_sent(
    world: World, outcome: Sent | Value, error: type[Exception]
) -> None:
    world.sessions.outcomes.append(outcome)
    with pytest.raises(error):
        await world.outbox.result(world.send())


async def test_a_session_that_never_answers_is_uncertain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARGIN", 0.02)
    outbox = Outbox(world.sessions, lambda: Send(wait=0.0, timeout=0.01))
    world.sessions.free.clear()
    with pytest.raises(UncertainError):
        await outbox.result(outbox.send_text(SESSION, CHAT, "hi"))


async def test_a_kept_result_is_forgotten_after_a_while(world: World) -> None:
    ticket = world.send()
    await world.outbox.result(ticket)
    world.outbox.unanswered(ticket)
    world.clock.now += KEPT_FOR - 1
    assert world.send() is ticket
    world.clock.now += 2
    assert world.send() is not ticket


async def test_only_so_many_are_kept_and_the_oldest_go(world: World) -> None:
    tickets = []
    for number in range(KEPT_AT_MOST + 3):
        tickets.append(world.send(text=str(number)))
        await world.outbox.result(tickets[-1])
        world.clock.now += 0.001
        world.outbox.unanswered(tickets[-1])
    assert world.outbox.owed() == KEPT_AT_MOST
    assert world.send(text="3") is tickets[3]
    assert world.send(text="0") is not tickets[0]


async def test_the_late_reply_of_an_old_send_leaves_the_new_one_alone(world: World) -> None:
    old = world.send()
    await world.outbox.result(old)
    assert world.outbox.answered(old)
    new = world.send()
    assert not world.outbox.answered(old)  # a second waiter of the old one
    assert world.send() is new


class Applications(RuleBasedStateMachine):
    """Applications send the same few texts, lose replies or get them, in any order.

    What is promised: a message whose outcome may have happened is never done again before its
    reply was written, and after that it is new; each message is announced once at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.world.sessions.free.clear()
        self.open: list[tuple[str, Ticket]] = []
        """Requests that wait for their reply."""
        self.owed: dict[str, Ticket] = {}
        """The message of each text that nobody was told of, as far as it may have happened."""
        self.ends: deque[str] = deque()
        self.announced: list[str] = []

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(what)

    @rule(text=st.sampled_from("ab"))
    def request(self, text: str) -> None:
        async def send() -> Ticket:
            ticket = self.world.send(text=text)
            await asyncio.sleep(0)
            return ticket

        ticket = self.run(send())
        if text in self.owed:
            assert ticket is self.owed[text]
        else:
            assert all(ticket is not known for _, known in self.open)
        self.owed[text] = ticket
        self.open.append((text, ticket))

    @precondition(lambda self: any(not ticket.task.done() for _, ticket in self.open))
    @rule(end=st.sampled_from(["sent", "uncertain", "refused", "not ready", "bug"]))
    def sends_end(self, end: str) -> None:
        outcome = {
            "sent": None,
            "uncertain": UncertainError("?"),
            "refused": RefusedError("no"),
            "not ready": UnavailableError("later"),
            "bug": RuntimeError("bug"),
        }[end]
        going = {ticket.message_id: ticket for _, ticket in self.open if not ticket.task.done()}
        if outcome is not None:
            self.world.sessions.outcomes.extend([outcome] * len(going))

        async def end_all() -> None:
            self.world.sessions.free.set()
            await asyncio.wait([ticket.task for ticket in going.values()])
            self.world.sessions.free.clear()

        self.run(end_all())
        if end == "not ready":
            ended = set(going)
            self.owed = {t: k for t, k in self.owed.items() if k.message_id not in ended}

    @precondition(lambda self: any(ticket.task.done() for _, ticket in self.open))
    @rule(written=st.booleans(), last=st.booleans())
    def reply(self, written: bool, last: bool) -> None:  # noqa: FBT001 - hypothesis gives them
        ended = [pair for pair in self.open if pair[1].task.done()]
        text, ticket = ended[-1 if last else 0]
        self.open.remove((text, ticket))
        if not written:
            self.world.outbox.unanswered(ticket)
            return
        if self.world.outbox.answered(ticket):
            self.announced.append(ticket.message_id)
        if self.owed.get(text) is ticket:
            del self.owed[text]

    @rule()
    def a_client_gives_up(self) -> None:
        going = [pair for pair in self.open if not pair[1].task.done()]
        if going:
            self.open.remove(going[0])
            self.world.outbox.unanswered(going[0][1])

    @invariant()
    def nothing_is_announced_twice(self) -> None:
        assert len(self.announced) == len(set(self.announced))

    @invariant()
    def nothing_is_kept_that_is_not_owed(self) -> None:
        living = {ticket.message_id for ticket in self.owed.values()}
        kept = {
            ticket.message_id
            for ticket in self.world.outbox._tickets.values()
            if not ticket.task.done() or module._may_have_happened(ticket.task)
        }
        assert kept == living

    def teardown(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.run(asyncio.wait([task]))
        self.loop.close()


TestApplications = Applications.TestCase
TestApplications.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
