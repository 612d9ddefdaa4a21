"""Sessions change hands under load, on real servers: what was acknowledged is delivered, what was accepted is sent, once."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.api.fake_sessions import FakeSessions, a_view
from tests.messaging.conftest import receiver  # noqa: F401
from tests.messaging.gateway import QUICK
from tests.messaging.receiver import INSTANCE, SECRET, Receiver, event
from tests.store.hosts import SERVERS, Host, hosts
from waguard.config.sections import Config, Webhook
from waguard.core.messages.send_states import State
from waguard.core.webhooks.session_gate import Connection
from waguard.errors import WaguardError
from waguard.host.clock import SystemClock
from waguard.host.files.media import MediaFolder
from waguard.messaging.journal import Journal
from waguard.messaging.outbox.commands import text
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.outbox.pending_sends import Options
from waguard.messaging.records import of_event
from waguard.messaging.timings import SendTimings
from waguard.messaging.webhooks.webhooks import Webhooks

on_servers = pytest.mark.parametrize("ready", SERVERS, indirect=True)
NAMES = ("s1", "s2", "s3")
UNDER_WAY = {State.ACCEPTED, State.SENDING}


@dataclass
class Messaging:
    """A host's part of messaging."""

    host: Host
    sent: list[tuple[str, str]]
    """What any host has sent: session and text."""
    journal: Journal = field(init=False)
    outbox: Outbox = field(init=False)
    webhooks: Webhooks = field(init=False)

    @contextlib.asynccontextmanager
    async def running(self, folder: Path, url: str) -> AsyncIterator["Messaging"]:
        store, settings = self.host.store, Webhook(url=url)
        sessions = FakeSessions(known={name: a_view(session_id=name) for name in NAMES})
        send = sessions.send

        async def noted(session_id: str, call: Any, **how: Any) -> Any:
            self.sent.append((session_id, call.text))
            await asyncio.sleep(0.002)
            return await send(session_id, call, **how)

        sessions.send = noted  # type: ignore[method-assign]
        self.journal = Journal(
            store.messages,
            MediaFolder(folder),
            base=INSTANCE,
            for_global=lambda: settings.events,
        )
        self.outbox = Outbox(
            sessions,
            store.outbox,
            self.journal,
            Config,
            SystemClock(),
            timings=SendTimings(polls=(0.0,), retry=0.02),
            epoch_seen=lambda _: None,
        )
        self.webhooks = Webhooks(
            self.journal,
            lambda: settings,
            (SECRET,),
            instance_url=INSTANCE,
            connection=lambda _: Connection(),
            policy=lambda: QUICK,
            in_cluster=True,
        )
        async with self.journal, self.webhooks:
            await self.outbox.begin()
            yield self
            await self.outbox.close(1.0)

    async def acquire(self, *names: str) -> None:
        await self.journal.acquire(names)
        await self.outbox.acquire(names)
        await self.webhooks.owned.acquire(names)

    async def release(self, name: str) -> None:
        await asyncio.gather(self.outbox.release(name), self.webhooks.owned.release(name))
        await self.journal.release(name)

    async def lose(self, name: str) -> None:
        await self.outbox.lose((name,))
        await self.webhooks.owned.lose((name,))
        await self.journal.lose((name,))


@dataclass
class Load:
    """What comes in and goes out of each session, at whoever owns it as far as is known."""

    at: dict[str, Messaging]
    count: int = 0
    acknowledged: dict[str, list[int]] = field(default_factory=dict)
    in_time: set[int] = field(default_factory=set)
    accepted: dict[str, list[str]] = field(default_factory=dict)

    def _stored(
        self, name: str, number: int, epochs: dict[str, int], epoch: int | None, _: Any
    ) -> None:
        """What another owner's host has received too late, it stores when the session is back: behind what came since."""
        self.acknowledged.setdefault(name, []).append(number)
        if epoch is not None and epochs.get(name) == epoch:
            self.in_time.add(number)

    async def run(self, name: str, chance: random.Random, ended: asyncio.Event) -> None:
        while not ended.is_set():
            self.count += 1
            number, it = self.count, self.at[name]
            about = {"id": f"false_1@c.us_{number}", "body": f"body {number}"}
            record = of_event(event(number, session=name, message=about))

            epochs = it.host.epochs
            stored = partial(self._stored, name, number, epochs, epochs.get(name))
            it.journal.put((record,), stored)
            with contextlib.suppress(WaguardError):
                pending = it.outbox.accept(
                    name, 1, text("2@c.us", str(number)), Options(later=True)
                )
                await pending.stored
                self.accepted.setdefault(name, []).append(str(number))
                it.outbox.answered(pending)
            await asyncio.sleep(chance.random() * 0.01)


async def move(load: Load, hosts: list[Messaging], chance: random.Random) -> None:
    """One session to the other host."""
    name, how = chance.choice(NAMES), chance.choice(("release", "lease", "claimed"))
    before = load.at[name]
    [after] = [it for it in hosts if it is not before]
    if how == "release":
        await before.release(name)
        del before.host.epochs[name]
    elif how == "lease":  # its host knows that its lease is over
        del before.host.epochs[name]
        await before.lose(name)
    assert await after.host.claim(name)
    await after.acquire(name)
    if how == "claimed":  # it hears of it late
        await asyncio.sleep(chance.random() * 0.05)
        await before.lose(name)
        del before.host.epochs[name]
    load.at[name] = after


def check(name: str, load: Load, sent: list[tuple[str, str]], got: list[int]) -> None:
    """``got``: what the receiver was called with for this session, in order."""
    order = [int(text) for of, text in sent if of == name]
    assert order == sorted(order), name
    assert set(load.acknowledged[name]) <= set(got), "what was acknowledged is delivered"
    first = [it for it in dict.fromkeys(got) if it in load.in_time]
    assert first == sorted(first)


@pytest.mark.long
@pytest.mark.timeout(600)
@on_servers
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_or_doubled(
    ready: str,
    tmp_path: Path,
    receiver: Receiver,  # noqa: F811 - the fixture
    seed: int,
) -> None:
    chance, sent = random.Random(seed), list[tuple[str, str]]()
    async with hosts(ready, 2, sessions=NAMES, wall=time.time) as made, AsyncExitStack() as stack:
        both = []
        for host in made:
            running = Messaging(host, sent).running(tmp_path / host.name, receiver.url)
            both.append(await stack.enter_async_context(running))
        await both[0].acquire(*NAMES)
        load, ended = Load(dict.fromkeys(NAMES, both[0])), asyncio.Event()
        tasks = [asyncio.create_task(load.run(name, chance, ended)) for name in NAMES]
        for _ in range(40):
            await asyncio.sleep(chance.random() * 0.1)
            await move(load, both, chance)
        ended.set()
        await asyncio.gather(*tasks)
        for it in both:
            assert await it.journal.flushed(100.0)

        outbox = both[0].host.store.outbox
        async with asyncio.timeout(100.0):
            while any(it.state in UNDER_WAY for it in await outbox.listing(limit=100_000)):
                await asyncio.sleep(0.05)
        for it in both:
            assert await it.webhooks.drain(100.0)
        assert [one for one, count in Counter(sent).items() if count > 1] == []
        kept = Counter(it.session_id for it in await outbox.listing(limit=100_000))
        got: dict[str, list[int]] = {name: [] for name in NAMES}
        for called in receiver.taken():
            if called["event"] == "message_received":
                message = called["data"]["message"]
                got[called["data"]["session_id"]].append(int(message["body"].split()[1]))
        for name in NAMES:
            check(name, load, sent, got[name])
            assert len(load.accepted[name]) <= kept[name]
