"""The application, unchanged, while a host dies: what it sees, and that it loses nothing and gets nothing twice."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import pytest

from tests.cluster.relay import Relay
from tests.e2e.application import QUICK, SECRET
from tests.e2e.cluster.conftest import ETCD_POSTGRESQL, THREE_ETCD_MARIADB, Pair, on
from tests.e2e.cluster.traffic import person, phone_of
from tests.e2e.cluster.trial import PATIENT, Trial, signal_all, trial
from tests.e2e.conftest import World
from tests.e2e.harness import Daemon
from tests.store.conftest import new_database
from tests.waiting import wait_until
from waguard.lab.application import STORED, Application, Records

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.chromium,
    pytest.mark.long,
    pytest.mark.timeout(900),
]

EACH: Final = 0.5  # s between two looks, or clicks
REFUSED: Final = "refused"  # or no answer in time
NOT_ASKED: Final = "not asked"  # by its own table no account is connected


class Front(Relay):
    """One address for all hosts: the first one that lets itself be connected."""

    def __init__(self, hosts: Sequence[Daemon]) -> None:
        super().__init__(("127.0.0.1", 0))
        self.hosts = list(hosts)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for host in self.hosts:
            address, _, port = host.base.removeprefix("http://").rpartition(":")
            try:
                return await asyncio.open_connection(address, int(port))
            except OSError:
                continue
        raise OSError("no host is there")


@dataclass
class Served:
    """Two hosts, and two people of the application: ``own`` calls each session's host, as webhooks name it; ``shared``
    has heard of none and calls the one address."""

    trial: Trial
    front: Front
    own: Application
    shared: Application
    seen: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    """By kind of call: when each was made, and what came of it."""
    written: dict[str, list[str]] = field(default_factory=dict)

    async def connected(self, session: str) -> None:
        """As the application does it."""
        _, reply = await self.own.connect(session)
        assert reply.good, reply
        host = self.front.hosts[0]
        self.trial.world.standin.phone.scan(await host.qr(session), phone=phone_of(session))
        await host.wait_status(session, "connected")
        self.trial.sessions.append(session)
        self.written[session] = []

        async def is_reported() -> bool:
            return (await self.own.row(session))["status"] == "connected" and (
                session in self.own.controller.urls
            )

        await host.until(is_reported)
        await self.own.workers.is_idle()
        await host.until(is_reported)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """What its people do all the while, inside."""
        over = asyncio.Event()
        programs = [
            asyncio.create_task(self._repeats(over, name, act))
            for name, act in self._acts().items()
        ]
        programs += [asyncio.create_task(self._writes(over, it)) for it in self.written]
        try:
            yield
            over.set()
            await asyncio.gather(*programs)
        finally:
            for it in programs:
                it.cancel()
            await asyncio.gather(*programs, return_exceptions=True)

    def _acts(self) -> Mapping[str, Callable[[str], Awaitable[Sequence[int | None]]]]:
        def status(app: Application, session: str) -> Any:
            async def ask(_: str) -> Sequence[int | None]:
                reply = await app.status(session)
                # a host that is dead and not declared so cannot be asked: it writes `disconnected` then, as after a 200
                assert reply.status in {200, 503, None}, reply
                return [reply.status]

            return ask

        def send(app: Application, session: str, **more: Any) -> Any:
            async def act(said: str) -> Sequence[int | None]:
                return (await app.send(session, person(1), said, **more)).answers

            return act

        def bulk(app: Application, session: str) -> Any:
            async def act(said: str) -> Sequence[int | None]:
                fields = {"recipients": [person(2), person(3)], "message": said}
                row = await app.send_as("bulk-send", session, person(2), said, fields)
                return row.answers

            return act

        # by another session than what makes the row `disconnected` where nobody answers
        return {
            "status, its host's address": status(self.own, "s0"),
            "status, shared address": status(self.shared, "s1"),
            "send, its host's address": send(self.own, "s1"),
            "send, shared address": send(self.shared, "s1"),
            "send with queue, shared address": send(self.shared, "s1", queue=True),
            "bulk, shared address": bulk(self.shared, "s1"),
            "send by a session that stays": send(self.own, "s2"),
        }

    async def _repeats(
        self, over: asyncio.Event, name: str, act: Callable[[str], Awaitable[Sequence[int | None]]]
    ) -> None:
        seen = self.seen.setdefault(name, [])
        for number in itertools.count():
            if over.is_set():
                return
            at = time.monotonic()
            answers = await act(f"{name} {number}")
            found = [REFUSED if it is None else str(it) for it in answers] or [NOT_ASKED]
            seen += [(at, it) for it in found]
            await asyncio.sleep(EACH)

    async def _writes(self, over: asyncio.Event, session: str) -> None:
        for number in itertools.count():
            if over.is_set():
                return
            said = f"in {number} to {session}"
            phone = self.trial.world.standin.phone
            phone.incoming(phone=phone_of(session), from_=person(number), body=said)
            self.written[session].append(said)
            await asyncio.sleep(EACH)

    def table(self, zero: float) -> str:
        """What came of each kind of call, in runs: how often, and since when, in s."""
        lines = []
        for name, seen in self.seen.items():
            runs = [
                (answer, [at - zero for at, _ in run])
                for answer, run in itertools.groupby(seen, key=lambda it: it[1])
            ]
            said = ", ".join(f"{answer} x {len(at)} ({at[0]:+.0f} s)" for answer, at in runs)
            lines.append(f"{name:33} {said}")
        return "\n".join(lines)


@pytest.fixture
async def served(
    request: pytest.FixtureRequest,
    world: World,
    pair: Pair,
    settings: Mapping[str, str],
    tmp_path: Path,
) -> AsyncIterator[Served]:
    """The sessions s0 and s1 on h0, and s2 on h1."""
    url = await new_database(pair.database, request, tmp_path)
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(Front([]))
        base = f"http://127.0.0.1:{front.port}"
        own = Application(url, base, secret=SECRET, manners=QUICK, seed=1)
        shared = Application(url, base, secret=SECRET, manners=QUICK, seed=2)
        for app in (own, shared):
            await stack.enter_async_context(app)
        await own.accounts.migrate()

        def more(host: Daemon) -> Mapping[str, str]:
            given = own.environment(host.folder / "state")
            return {**given, "WAGUARD_WEBHOOK__STORED": STORED, "WAGUARD_SEND__BULK_GAP": "0.2"}

        two = await stack.enter_async_context(
            trial(world, url, settings, tmp_path, hosts=2, own=more)
        )
        made = Served(two, front, own, shared)
        front.hosts = list(two.hosts)
        await made.connected("s0")
        await made.connected("s1")
        front.hosts.reverse()
        await made.connected("s2")
        front.hosts.reverse()
        await two.have_shared()
        yield made


@on(ETCD_POSTGRESQL, THREE_ETCD_MARIADB)
async def test_what_the_application_sees_while_a_host_dies(served: Served) -> None:
    two, own, shared = served.trial, served.own, served.shared
    first, second = two.hosts
    assert first.process
    assert await two.of(first) == ["s0", "s1"]
    async with served.busy():
        await has_gone_on(served)
        signal_all(two.tree(first), SIGKILL)
        began = time.monotonic()
        await first.process.wait()
        await two.all_owned_by(second)
        owned = time.monotonic() - began
        await two.all_connected()
        connected = time.monotonic() - began

        def knows() -> bool:
            port = second.base.rpartition(":")[2]
            return all(own.controller.urls[it].endswith(f":{port}") for it in ("s0", "s1"))

        await wait_until(knows, "it calls the host that has them", deadline=PATIENT)
        print(f"owned after {owned:.1f} s, connected {connected:.1f} s")
        await has_gone_on(served)
    print(served.table(began))
    answers = {it for seen in served.seen.values() for _, it in seen}
    assert answers <= {"200", "202", "503", REFUSED, NOT_ASKED}, "no 4xx: that is final for it"
    assert {it for _, it in served.seen["status, shared address"]} <= {"200", "503", REFUSED}
    assert {it for _, it in served.seen["send by a session that stays"]} == {"200"}
    assert {seen[-1][1] for seen in served.seen.values()} <= {"200", "202"}
    await all_is_stored(served)
    for app in (own, shared):
        check_sends(served, app.records)
    await first.start()


async def has_gone_on(served: Served) -> None:
    """Each of its people has done something since."""
    was = {name: len(it) for name, it in served.seen.items()}
    wanted = {"200", "202"}

    def all_did() -> bool:
        return len(served.seen) >= len(served._acts()) and all(
            any(answer in wanted for _, answer in it[was.get(name, 0) + 2 :])
            for name, it in served.seen.items()
        )

    await wait_until(all_did, "everybody goes on", deadline=PATIENT)


async def all_is_stored(served: Served) -> None:
    """What people wrote is in the application's table, once each."""
    records = served.own.records

    def is_stored() -> bool:
        return all(set(said) <= set(records.bodies(it)) for it, said in served.written.items())

    try:
        async with asyncio.timeout(60):
            while not is_stored():
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    for session, said in served.written.items():
        missing = [it for it in said if it not in records.bodies(session)]
        print(f"{session}: {len(said)} written, with nobody {missing}")
        count = Counter(records.bodies(session))
        assert not [it for it in said if count[it] > 1], "none is stored twice"
        assert session != "s2" or not missing


def check_sends(served: Served, records: Records) -> None:
    """What it takes for sent went once, or nobody can know; what it takes for failed went at most once."""
    went = Counter(
        it["body"]
        for session in served.written
        for it in served.trial.world.standin.phone.messages(phone_of(session))
        if it["direction"] == "out"
    )
    sent = [it for it in records.rows if it.source == "send" and it.answers[-1:] == [200]]
    assert sent
    for row in sent:
        assert went[row.body] == 1, (row.body, row.answers, went[row.body])
    bulks = {said for said in went if said.startswith("bulk")}
    assert all(count <= (2 if said in bulks else 1) for said, count in went.items())
