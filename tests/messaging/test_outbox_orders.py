"""No double, whatever the replies do: a machine that tries every order of them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.messaging.outbox_world import World
from waguard.errors import RefusedError, UnavailableError, UncertainError
from waguard.messaging import outbox as module
from waguard.messaging.outbox import Ticket


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

    @precondition(lambda self: any(not ticket.task.done() for ticket in self.owed.values()))
    @rule(end=st.sampled_from(["sent", "uncertain", "refused", "not ready", "bug"]))
    def sends_end(self, end: str) -> None:
        outcome = {
            "sent": None,
            "uncertain": UncertainError("?"),
            "refused": RefusedError("no"),
            "not ready": UnavailableError("later"),
            "bug": RuntimeError("bug"),
        }[end]
        # also of those whose client has given up
        going = {t.message_id: t for t in self.owed.values() if not t.task.done()}
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
