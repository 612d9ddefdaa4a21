"""No double, whatever the replies do: a machine that tries every order of them, and crashes."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.messaging.outbox_world import World
from tests.waiting import wait_until
from waguard.errors import RefusedError, UnavailableError
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import NotSent, Outcome, Refused, Uncertain


class Applications(RuleBasedStateMachine):
    """Applications send the same few texts to as many chats, lose replies or get them, and the
    daemon is killed, in any order.

    What is promised: a message whose outcome may have happened is never done again before its
    reply was written, and after that it is new; each message is announced once at most, and its
    command leaves once at most.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(prefix="wg-")
        self.world = World(Path(self.folder.name))
        self.world.sessions.free.clear()
        self.run(self.world.start())
        self.open: list[tuple[str, PendingSend]] = []
        """Requests that wait for their reply."""
        self.owed: dict[str, PendingSend] = {}
        """The message of each text whose reply nobody got, as far as it may have happened."""
        self.announced: list[str] = []

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(what)

    @rule(text=st.sampled_from("ab"))
    def request(self, text: str) -> None:
        async def send() -> PendingSend:
            pending = self.world.send(text, chat=f"{ord(text)}345678@c.us")
            await asyncio.shield(pending.stored)
            return pending

        pending = self.run(send())
        if text in self.owed:
            assert pending.message_id == self.owed[text].message_id
        else:
            assert all(pending is not known for _, known in self.open)
        self.owed[text] = pending
        self.open.append((text, pending))

    @precondition(lambda self: any(not pending.done.done() for pending in self.owed.values()))
    @rule(end=st.sampled_from(["sent", "uncertain", "refused", "not ready", "bug"]))
    def sends_end(self, end: str) -> None:
        outcome: Outcome | RuntimeError | None = {
            "sent": None,
            "uncertain": Uncertain("?"),
            "refused": Refused(RefusedError("no")),
            "not ready": NotSent(UnavailableError("later")),
            "bug": RuntimeError("bug"),
        }[end]
        # also of those whose client has given up
        going = {t.message_id: t for t in self.owed.values() if not t.done.done()}

        async def end_all() -> None:
            sends = self.world.sessions.sends
            ids = set(going)
            await wait_until(lambda: ids <= {c.message_id for c in sends()}, "they have left")
            if outcome is not None:
                self.world.sessions.outcomes.extend([outcome] * len(going))
            self.world.sessions.free.set()
            await asyncio.wait([pending.done for pending in going.values()])
            await asyncio.sleep(0)
            self.world.sessions.free.clear()
            self.world.sessions.outcomes.clear()

        self.run(end_all())
        if end == "not ready":
            ended = set(going)
            self.owed = {t: k for t, k in self.owed.items() if k.message_id not in ended}

    @precondition(lambda self: any(pending.done.done() for _, pending in self.open))
    @rule(written=st.booleans(), last=st.booleans())
    def reply(self, written: bool, last: bool) -> None:  # noqa: FBT001 - hypothesis gives them
        ended = [pair for pair in self.open if pair[1].done.done()]
        text, pending = ended[-1 if last else 0]
        self.open.remove((text, pending))

        async def say() -> None:
            if not written:
                self.world.outbox.unanswered(pending)
            elif self.world.outbox.answered(pending):
                self.announced.append(pending.message_id)

        self.run(say())
        if written and self.owed.get(text) is pending:
            del self.owed[text]

    @rule()
    def a_client_gives_up(self) -> None:
        async def give_up(pending: PendingSend) -> None:
            self.world.outbox.unanswered(pending)

        going = [pair for pair in self.open if not pair[1].done.done()]
        if going:
            self.open.remove(going[0])
            self.run(give_up(going[0][1]))

    @rule()
    def the_daemon_is_killed(self) -> None:
        """What it had committed is known to the next one; no client hears anything any more."""

        async def again() -> list[PendingSend]:
            assert await self.world.journal.flushed(10.0)
            await self.world.kill()
            self.world.sessions.free.set()  # the worker lives on, and looks into the chat
            await self.world.start()
            sends = list(self.world.outbox._sends._known.values())
            for pending in sends:
                if not pending.done.done():
                    await asyncio.wait([pending.done])
            return sends

        sends = self.run(again())
        self.world.sessions.free.clear()
        self.open.clear()
        may = {t.message_id for t in sends if t.may_have_happened()}
        assert {t.message_id for t in self.owed.values()} <= may
        by_id = {t.message_id: t for t in sends}
        self.owed = {text: by_id[t.message_id] for text, t in self.owed.items()}

    @invariant()
    def nothing_is_announced_twice(self) -> None:
        assert len(self.announced) == len(set(self.announced))

    @invariant()
    def no_command_leaves_twice(self) -> None:
        left = [call.message_id for call in self.world.sessions.sends()]
        assert len(left) == len(set(left))

    @invariant()
    def nothing_is_kept_that_is_not_owed(self) -> None:
        living = {pending.message_id for pending in self.owed.values()}
        known = self.world.outbox._sends._known.values()
        assert {t.message_id for t in known if t.may_have_happened()} == living

    def teardown(self) -> None:
        self.world.sessions.free.set()
        self.run(self.world.stop(0.0))
        self.loop.close()
        self.folder.cleanup()


# a thousand steps, each with a write: a disk that takes 0.1 s for one needs minutes
TestApplications = pytest.mark.timeout(600)(Applications.TestCase)
TestApplications.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
