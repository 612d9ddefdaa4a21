"""Two hosts that share credentials in one database: what is shipped, and what is laid down."""

import asyncio
import contextlib
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.clocks import Clock
from tests.profile.leveldb_files import BLOBS, INDEXED, batch, profile, record, word_of
from tests.waiting import wait_until
from waguard.core.blame import Failure
from waguard.core.replace import replace
from waguard.core.shipping import Claim, Note, Part
from waguard.daemon.restored import RestoredInstallation
from waguard.errors import DatabaseUnavailableError, NotOwnedError
from waguard.profile import layout, owner_mark, quarantine, shipping, start_marks
from waguard.profile.layout import Places
from waguard.profile.lock import ProfileLock
from waguard.supervision.shipping.credential_shipping import CredentialShipping, ages
from waguard.supervision.shipping.sealer import Sealer
from waguard.supervision.shipping.shipping_context import ShippingContext

KEY, OTHER = bytes(32), bytes([1]) * 32
DEADLINE = 60.0
LOG = f"{INDEXED}/000006.log"


class Memory:
    """Fills ``ports.credentials.CredentialStore``; ``down``: it does not answer after so many writes."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self.stored: dict[tuple[str, str, int], Part] = {}
        self.commits = 0
        self.down: int | None = None
        self.is_mute = False
        self.hangs = False
        self.refused = 0
        self.owner: str | None = None
        """The host that owns all sessions in a cluster; None: whoever writes."""

    async def shipped(self) -> set[str]:
        return {session for session, it in self.claims.items() if it.sealed is not None}

    async def claim(self, session: str) -> Claim | None:
        self._answer(write=False)
        return self.claims.get(session)

    async def files(self, session: str) -> set[str]:
        return {file for of, file, _ in self.stored if of == session}

    async def parts(self, session: str, file: str, count: int) -> Sequence[Part]:
        found = (self.stored.get((session, file, number)) for number in range(count))
        return [it for it in found if it]

    async def put(self, session: str, parts: Sequence[Part]) -> None:
        self._answer()
        first: dict[str, int] = defaultdict(lambda: 1 << 30)
        for it in parts:
            first[it.file] = min(first[it.file], it.number)
        for of, file, number in list(self.stored):
            if of == session and file in first and number >= first[file]:
                del self.stored[of, file, number]
        self.stored |= {(session, it.file, it.number): it for it in parts}

    async def commit(
        self, session: str, claim: Claim, parts: Sequence[Part] = (), gone: Collection[str] = ()
    ) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.owner not in {None, claim.note.host}:
            self.refused += 1
            raise NotOwnedError("another host has it")
        await self.put(session, parts)
        self.claims[session] = claim
        self.commits += 1
        for of, file, number in list(self.stored):
            if of == session and file in gone:
                del self.stored[of, file, number]
        if self.is_mute:
            raise DatabaseUnavailableError("it has not said whether that is written")

    def _answer(self, *, write: bool = True) -> None:
        if self.down is None:
            return
        if self.down <= 0:
            self.refused += 1
            raise DatabaseUnavailableError("it is away")
        self.down -= write


class Now(Clock):
    """Shows the time of the files, which are compared with it."""

    def wall(self) -> float:
        return time.time()


@dataclass
class Host:
    """One of two; ``why`` is what it reports."""

    shipping: CredentialShipping
    ctx: ShippingContext
    at: Places
    restored: RestoredInstallation
    why: list[str | None] = field(default_factory=list)
    rolled_back: list[str] = field(default_factory=list)

    def pair(self, word: str = "credentials") -> None:
        profile(self.at.profile, word)
        with ProfileLock(self.at.profile) as lock:
            owner_mark.claim(self.at.profile, lock.descriptor, after_pairing=True)

    async def start(self, *, unpaired: bool = False) -> Failure | None:
        failure = await self.shipping.prepare(self.at, unpaired=unpaired)
        if failure is None:
            with ProfileLock(self.at.profile) as lock:
                start_marks.clear_clean_exit(self.at.profile, lock.descriptor)
            self.shipping.began(self.at)
        return failure

    def end(self) -> None:
        """Its worker ends in order."""
        with ProfileLock(self.at.profile) as lock:
            start_marks.mark_clean_exit(self.at.profile, lock.descriptor)
        self.shipping.ended("abc")

    async def stop(self, *, orderly: bool = True) -> None:
        if orderly:
            self.end()
        else:
            self.shipping.ended("abc")
        await self.shipping.close(DEADLINE)

    async def ship(self) -> None:
        """Do what is due when much has happened."""
        it = self.shipping._of(self.at)
        await self.shipping._ship(it, it.shipment.life)

    def grow(self, word: str) -> None:
        path = self.at.profile / LOG
        with path.open("ab") as file:
            file.write(record(batch(word), at=path.stat().st_size))


Make = Callable[..., Host]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def make(tmp_path: Path, memory: Memory) -> AsyncIterator[Make]:
    """A host by its name, the epoch of its lease and its key."""
    hosts: list[Host] = []

    def made(
        name: str,
        *,
        epoch: int | None = 1,
        key: bytes = KEY,
        limit: int = 1 << 30,
        again: float = 60.0,
        cluster: bool = False,
    ) -> Host:
        async def roll_back(session: str, copied_at: float) -> None:
            host.rolled_back.append(session)
            await restored.roll_back(session, copied_at)

        state = tmp_path / f"state-{name}"
        state.mkdir(exist_ok=True)
        restored = RestoredInstallation(state, uses_lookup=lambda: False)

        ctx = ShippingContext(
            store=memory,
            sealer=Sealer(key),
            host=name,
            epoch=lambda _: epoch,
            clock=Now(),
            rolled_back=roll_back,
            not_rolled_back=restored.undo_roll_back,
            waits=lambda session: restored.group_waits(session, "@g.us"),
            all_share=cluster,
            rate=1 << 30,
            limit=limit,
            again=again,
        )
        why: list[str | None] = []
        at = layout.places(tmp_path / name, 7, "abc")
        host = Host(CredentialShipping(ctx, why.append), ctx, at, restored, why)
        hosts.append(host)
        return host

    yield made
    for host in hosts:
        await host.shipping.close()


async def test_a_dead_host_is_followed_by_the_other_one_and_its_groups_wait(
    make: Make, memory: Memory
) -> None:
    a, b = make("a"), make("b", epoch=2)
    a.pair()
    assert await a.start() is None
    await a.ship()
    a.grow("a message")
    await a.ship()
    assert memory.commits == 3, "one of them is the claim"
    await b.shipping.load()
    assert b.shipping.has("abc")
    assert await b.start() is None
    assert (b.at.profile / LOG).read_bytes() == (a.at.profile / LOG).read_bytes()
    assert owner_mark.pairing(b.at.profile) == owner_mark.pairing(a.at.profile)
    assert b.rolled_back == ["abc"]
    # the first one comes back: it was not the last
    again = make("a", epoch=3)
    b.grow("of the second host")
    await b.ship()
    await b.stop(orderly=False)
    assert await again.start() is None
    assert (a.at.profile / LOG).read_bytes() == (b.at.profile / LOG).read_bytes()
    [moved] = a.at.quarantine.iterdir()
    assert word_of(moved) == "credentials"
    assert again.rolled_back == ["abc"]


async def test_nothing_is_rolled_back_after_an_end_in_order(make: Make, memory: Memory) -> None:
    a, b = make("a"), make("b", epoch=2)
    a.pair()
    await a.start()
    a.grow("a last message")
    await a.stop()
    assert memory.claims["abc"].orderly
    assert await b.start() is None
    assert not memory.claims["abc"].orderly, "from now on there is something newer"
    assert b.rolled_back == []
    await b.restored.roll_back("abc", 1.7e9)
    await b.stop()
    assert not memory.claims["abc"].orderly, "its groups wait for a person still"


async def test_the_last_host_uses_its_own_profile(make: Make, memory: Memory) -> None:
    a = make("a")
    a.pair()
    await a.start()
    await a.stop()
    again = make("a", epoch=9)
    a.grow("what nobody shipped")
    before = (a.at.profile / LOG).read_bytes()
    assert await again.start() is None
    assert (a.at.profile / LOG).read_bytes() == before
    assert not a.at.quarantine.exists()
    assert not memory.claims["abc"].orderly
    # and ships what it has more, as it was shipped before
    parts = set(memory.stored)
    await again.ship()
    assert len(set(memory.stored) - parts) == 1
    assert parts <= set(memory.stored)


async def test_what_was_cut_off_in_the_middle_is_no_shipment(make: Make, memory: Memory) -> None:
    a = make("a")
    a.pair()
    await a.start()
    await a.ship()
    shipped = (a.at.profile / LOG).read_bytes()
    (a.at.profile / BLOBS / "1/00/8").write_bytes(Random(1).randbytes(1_200_000))  # three parts
    a.grow("a message")
    grown = (a.at.profile / LOG).read_bytes()
    for writes in range(5):
        again = make("a", epoch=2 + writes)
        memory.down = writes
        await again.ship()
        memory.down = None
        left = memory.claims["abc"], dict(memory.stored)
        b = make(f"b{writes}", epoch=8 + writes)
        assert await b.start() is None
        whole = writes == 4
        assert (b.at.profile / LOG).read_bytes() == (grown if whole else shipped)
        assert (b.at.profile / BLOBS / "1/00/8").exists() is whole
        memory.claims["abc"], memory.stored = left
    claim = memory.claims["abc"]
    named = Sealer(KEY).shipment_of("abc", claim).files.values()
    assert {file for _, file, _ in memory.stored} == {it.id for it in named}, "nothing is left over"
    assert len(memory.stored) == sum(it.parts for it in named)


async def test_an_older_profile_with_a_damaged_owner_mark_is_quarantined_as_well(
    make: Make, memory: Memory
) -> None:
    a, b = make("a", limit=1_000), make("b", epoch=2)
    a.pair()
    await a.start()
    await a.ship()
    assert memory.claims["abc"].sealed is None
    b.pair("older")
    (b.at.profile / owner_mark.PAIRING).write_bytes(b"")
    assert await b.start() is None
    assert not layout.exists(b.at.profile), "else two hosts would use one pairing"
    assert [word_of(it) for it in b.at.quarantine.iterdir()] == ["older"]


@pytest.mark.parametrize("what", ["key", "part", "missing part", "claim", "no lease", "away"])
async def test_what_cannot_be_read_is_not_empty(make: Make, memory: Memory, what: str) -> None:
    a = make("a")
    a.pair()
    await a.start()
    await a.ship()
    before = dict(memory.claims), dict(memory.stored)
    place = next(it for it in memory.stored if memory.stored[it].sealed)
    match what:
        case "part":
            memory.stored[place] = replace(memory.stored[place], sealed=b"x" * 99)
        case "missing part":
            del memory.stored[place]
        case "claim":
            memory.claims["abc"] = replace(memory.claims["abc"], sealed_epoch=99)
        case "away":
            memory.down = 0
        case _:
            pass
    changed = dict(memory.claims), dict(memory.stored)
    key = OTHER if what == "key" else KEY
    b = make("b", epoch=None if what == "no lease" else 2, key=key)
    profile(b.at.profile, "older")
    failure = await b.start()
    unknown = what in {"no lease", "away"}
    assert failure
    assert failure.reason == ("credentials_unknown" if unknown else "credentials_unreadable")
    memory.down = None
    assert (dict(memory.claims), dict(memory.stored)) == changed
    assert word_of(b.at.profile) == "older"
    assert not b.at.quarantine.exists()
    assert b.rolled_back == []
    if what in {"part", "missing part", "claim"}:
        memory.claims, memory.stored = before
        assert await b.start() is None


async def test_another_key_overwrites_nothing_and_is_reported(make: Make, memory: Memory) -> None:
    a = make("a")
    a.pair()
    await a.start()
    await a.ship()
    before = dict(memory.claims), dict(memory.stored)
    other = make("a", key=OTHER)
    assert await other.start() is None, "its own profile is the newest"
    other.grow("a message")
    for _ in range(3):
        await other.ship()
    assert (dict(memory.claims), dict(memory.stored)) == before
    assert other.why
    assert "the key is another one" in str(other.why[-1])


async def test_without_credentials_it_waits_for_a_scan_and_an_older_profile_is_quarantined(
    make: Make, memory: Memory
) -> None:
    a, b = make("a", limit=1_000), make("b", epoch=2)
    a.pair()
    await a.start()
    await a.ship()
    assert "more than 0 MB" in str(a.why[-1])
    assert memory.claims["abc"].sealed is None
    assert await b.start() is None
    assert not layout.exists(b.at.profile)
    assert memory.claims["abc"].note.host == "a", "a scan that never comes takes nothing from it"
    c = make("c", epoch=3)
    c.pair("older")
    assert await c.start() is None
    assert not layout.exists(c.at.profile)
    assert [word_of(it) for it in c.at.quarantine.iterdir()] == ["older"]
    # a scan here: from now on this one is the last
    c.pair("scanned")
    await c.ship()
    assert memory.claims["abc"].note.host == "c"
    assert await make("a", epoch=4).start() is None
    assert word_of(a.at.profile) == "scanned"


async def test_messages_make_it_due_and_a_session_that_is_gone_is_forgotten(
    make: Make, memory: Memory
) -> None:
    a = make("a")
    a.pair()
    await a.start()
    assert ages(a.shipping, a.ctx.clock.monotonic()) == {"abc": 0.0}
    for _ in range(20):
        a.shipping.changed("abc")
    assert ages(a.shipping, a.ctx.clock.monotonic() + 3.0) == {"abc": 3.0}
    a.shipping.changed("another session")
    await wait_until(lambda: memory.commits == 2, "the claim, and what is shipped")
    await wait_until(lambda: ages(a.shipping, 0.0) == {"abc": 0.0}, "all of it is shared")
    await a.stop(orderly=False)
    await a.shipping.clear(a.at)
    assert memory.stored == {}
    assert memory.claims["abc"].sealed is None
    assert not a.shipping.has("abc")
    memory.down = 0
    await make("a").shipping.clear(a.at)


async def test_a_pairing_that_was_logged_out_never_comes_back(make: Make, memory: Memory) -> None:
    a, b = make("a"), make("b", epoch=3)
    a.pair()
    await a.start()
    await a.ship()
    await a.stop()
    b.pair("an older copy of it")
    with ProfileLock(a.at.profile) as lock:
        token = owner_mark.pairing(a.at.profile)
        quarantine.retire(a.at, lock.descriptor, token=token, why="logged out")
    memory.down = 0
    await a.shipping.clear(a.at)  # or it is killed before that
    again = make("a", epoch=2)
    await again.shipping.load()
    failure = await again.start(unpaired=True)
    assert failure
    assert failure.reason == "credentials_unknown"
    memory.down = None
    left = memory.claims["abc"], dict(memory.stored)
    for host in (again, b):
        memory.claims["abc"], memory.stored = left[0], dict(left[1])
        assert await host.start(unpaired=True) is None
        assert not layout.exists(host.at.profile)
        assert memory.claims["abc"].sealed is None
        assert memory.stored == {}
        assert not host.shipping.has("abc")
        assert host.rolled_back == []
    # a scan of this moment, which no row has yet, is kept
    again.pair("scanned")
    await again.ship()
    shipped = memory.claims["abc"].sealed
    assert await again.start(unpaired=True) is None
    assert owner_mark.pairing(again.at.profile)
    assert memory.claims["abc"].sealed == shipped


async def test_a_profile_that_may_be_newer_than_what_is_shared_waits_for_a_person(
    make: Make, memory: Memory
) -> None:
    a, b = make("a"), make("b", epoch=2)
    a.pair()
    await a.start()
    await a.stop()
    await b.start()
    await b.ship()
    await b.stop()
    left = memory.claims["abc"], dict(memory.stored)
    # this host has used it meanwhile, with a release that shares nothing
    a.grow("what nobody shared")
    path = a.at.profile / LOG
    later = left[0].shipped_at + 3600
    os.utime(path, (later, later))
    again = make("a", epoch=4)
    failure = await again.start()
    assert failure
    assert failure.reason == "profile_newer"
    assert "it was written at 20" in failure.message
    assert not a.at.quarantine.exists()
    assert (memory.claims["abc"], memory.stored) == left
    # what is shared is chosen
    a.at.profile.rename(a.at.profile.with_name("away"))
    assert await again.start() is None
    assert owner_mark.pairing(a.at.profile)


@pytest.mark.parametrize("noted", [True, False])
async def test_one_that_was_cut_off_after_it_laid_down_takes_over_again(
    make: Make, memory: Memory, *, noted: bool
) -> None:
    a, b = make("a"), make("b", epoch=2)
    a.pair()
    await a.start()
    await a.ship()
    before = memory.claims["abc"]
    memory.claims["abc"] = before = replace(before, shipped_at=before.shipped_at - 3600)
    assert await b.start() is None
    memory.claims["abc"] = before  # it was killed before it said so
    if not noted:
        (b.at.profile / start_marks.HOLDER).unlink()
    assert await make("b", epoch=3).start() is None
    assert memory.claims["abc"].note == Note("b", 3)
    b.grow("what somebody has received here")
    memory.claims["abc"] = before
    failure = await make("b", epoch=4).start()
    assert failure
    assert failure.reason == "profile_newer"


async def test_an_end_in_order_counts_for_the_next_holder_of_the_lease_alone(
    make: Make, memory: Memory
) -> None:
    a = make("a", epoch=4)
    a.pair()
    await a.start()
    await a.stop()
    left = memory.claims["abc"]
    for name, epoch, rolled_back in (("b", 5, []), ("c", 6, ["abc"])):
        memory.claims["abc"] = left
        host = make(name, epoch=epoch)
        assert await host.start() is None
        assert host.rolled_back == rolled_back


async def test_what_was_committed_without_an_answer_is_not_replaced(
    make: Make, memory: Memory
) -> None:
    a, b = make("a"), make("b", epoch=2)
    a.pair()
    await a.start()
    await a.ship()
    a.grow("one")
    memory.is_mute = True
    await a.ship()
    memory.is_mute = False
    shipped = (a.at.profile / LOG).read_bytes()
    a.grow("two")
    (a.at.profile / BLOBS / "1/00/8").write_bytes(Random(1).randbytes(600_000))
    memory.down = 1
    await a.ship()  # it puts one part, and is killed
    memory.down = None
    assert await b.start() is None
    assert (b.at.profile / LOG).read_bytes() == shipped


async def test_a_disk_that_came_back_from_an_image_does_not_replace_what_is_shared(
    make: Make, memory: Memory
) -> None:
    a = make("a")
    a.pair()
    await a.start()
    await a.ship()
    image = a.at.profile.with_name("image")
    shutil.copytree(a.at.profile, image)
    a.grow("weeks of messages")
    newest = (a.at.profile / LOG).read_bytes()
    await a.ship()
    await a.stop()
    a.at.profile.rename(a.at.profile.with_name("broken disk"))
    image.rename(a.at.profile)
    again = make("a", epoch=2)
    assert await again.start() is None
    assert (a.at.profile / LOG).read_bytes() == newest
    assert again.rolled_back == ["abc"]
    [moved] = a.at.quarantine.iterdir()
    assert newest.startswith((moved / LOG).read_bytes())


async def test_the_last_shipment_is_tried_again_while_the_database_is_away(
    make: Make, memory: Memory
) -> None:
    a = make("a", again=0.01)
    a.pair()
    await a.start()
    await a.ship()
    a.grow("a last message")
    memory.down = 0
    with ProfileLock(a.at.profile) as lock:
        start_marks.mark_clean_exit(a.at.profile, lock.descriptor)
    a.shipping.ended("abc")
    await wait_until(lambda: memory.refused > 2, "it is tried again")
    memory.down = None
    await wait_until(lambda: memory.claims["abc"].orderly, "all is shared")
    await a.shipping.close(DEADLINE)
    assert not any(a.why), "all of it was shared"


async def test_a_session_that_does_not_run_and_one_that_was_cut_off_are_named(
    make: Make, memory: Memory
) -> None:
    a = make("a", again=9e9)
    a.pair()
    await a.shipping.load(["abc", "stopped"])
    assert str(a.why[-1]).count("nothing is shared of it yet") == 2
    await a.start()
    await a.ship()
    assert "abc" not in str(a.why[-1])
    await a.shipping.load(["abc"])
    a.grow("a last message")
    memory.down = 0
    a.shipping.ended("abc")
    await wait_until(lambda: memory.refused > 0, "it was tried")
    await a.shipping.close()
    assert "abc: waguard was stopped before" in str(a.why[-1])


async def test_nothing_large_is_begun_at_the_end_and_a_silent_database_is_not_waited_for(
    make: Make, memory: Memory
) -> None:
    a = make("a")
    a.pair()
    await a.start()
    await a.ship()
    shipped = memory.commits
    (a.at.profile / BLOBS / "1/00/8").write_bytes(Random(1).randbytes(1_200_000))
    await a.stop()
    assert memory.commits == shipped
    assert "abc: waguard was stopped before" in str(a.why[-1])
    again = make("a", epoch=2)
    await again.start()
    memory.hangs = True
    again.shipping.ended("abc")
    await again.shipping.close(0.01)
    assert "abc: waguard was stopped before" in str(again.why[-1])


async def test_a_shipment_that_is_cut_off_while_it_reads_closes_its_files(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, closed = threading.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def gather(_profile: Path, _known: Any, files: contextlib.ExitStack) -> Any:
        begun.set()
        go_on.wait()
        files.callback(lambda: loop.call_soon_threadsafe(closed.set))
        raise OSError("its disk is gone")

    a = make("a")
    a.pair()
    await a.start()
    monkeypatch.setattr(shipping, "gather", gather)
    a.shipping.ended("abc")
    await asyncio.to_thread(begun.wait)
    await a.shipping.close(0.01)
    go_on.set()
    await closed.wait()


async def test_a_release_of_groups_comes_along_with_credentials_that_are_handed_over_in_order(
    make: Make, memory: Memory
) -> None:
    a, b = make("a"), make("b", epoch=2)
    a.pair()
    await a.start()
    await a.ship()
    await b.start()
    await b.restored.roll_back("another", 1.7e9)
    await b.stop()
    a = make("a", epoch=3)
    await a.start()
    assert a.rolled_back == ["abc"], "those of the other host, whose groups waited"
    assert await a.restored.release_groups() == 1
    await a.stop()
    b = make("b", epoch=4)
    assert b.ctx.waits("abc")
    await b.start()
    assert b.rolled_back == []
    assert [it for it in ("abc", "another") if b.ctx.waits(it)] == ["another"]
    await b.stop()
    assert memory.claims["abc"].orderly


# ---- a cluster: each session has an epoch of its own, and moves while its hosts go on ----


async def test_a_session_that_is_handed_over_loses_nothing_on_its_way_and_back(
    make: Make, memory: Memory
) -> None:
    a, b = make("a", epoch=1, cluster=True), make("b", epoch=2, cluster=True)
    a.pair()
    assert await a.start() is None
    for source, target, epoch in ((a, b, 2), (b, a, 3), (a, b, 4)):
        source.grow(f"before epoch {epoch}")
        source.end()
        assert await source.shipping.hand_over(source.at) is None
        assert memory.claims["abc"].orderly
        await source.shipping.forget("abc")
        assert not source.shipping.has("abc")
        moved = make("b" if target is b else "a", epoch=epoch, cluster=True)
        target.shipping, target.ctx = moved.shipping, moved.ctx
        await target.shipping.load(["abc"], ["abc"])
        assert target.shipping.has("abc")
        assert await target.start() is None
        assert memory.claims["abc"].note == Note("b" if target is b else "a", epoch)
        assert (target.at.profile / LOG).read_bytes() == (source.at.profile / LOG).read_bytes()
        assert moved.rolled_back == []


async def test_an_owner_that_never_started_it_costs_no_rollback(make: Make, memory: Memory) -> None:
    """What admission holds back is released again: its epoch has passed, and nobody has used it."""
    a = make("a", epoch=4, cluster=True)
    a.pair()
    await a.start()
    a.end()
    assert await a.shipping.hand_over(a.at) is None
    before = memory.claims["abc"]
    unused = make("b", epoch=5, cluster=True)
    assert await unused.shipping.hand_over(unused.at) is None
    assert memory.claims["abc"] == before
    c = make("c", epoch=6, cluster=True)
    assert await c.start() is None
    assert c.rolled_back == []


async def test_a_profile_that_is_lost_is_used_again_only_where_nobody_else_used_it(
    make: Make, memory: Memory
) -> None:
    a = make("a", epoch=1, cluster=True)
    a.pair()
    await a.start()
    await a.ship()
    a.grow("what nobody shipped")
    mine = (a.at.profile / LOG).read_bytes()
    a.shipping.stop("abc")  # it is lost
    await a.shipping.forget("abc")
    unused = make("b", epoch=2, cluster=True)
    assert unused.why == []
    again = make("a", epoch=3, cluster=True)
    assert await again.start() is None
    assert (a.at.profile / LOG).read_bytes() == mine
    again.shipping.stop("abc")
    await again.shipping.forget("abc")
    b = make("b", epoch=4, cluster=True)
    assert await b.start() is None
    assert b.rolled_back == ["abc"], "its host before has lost it without an end in order"
    last = make("a", epoch=5, cluster=True)
    assert await last.start() is None
    assert (a.at.profile / LOG).read_bytes() == (b.at.profile / LOG).read_bytes()
    [moved] = a.at.quarantine.iterdir()
    assert (moved / LOG).read_bytes() == mine


async def test_an_older_profile_is_never_handed_over(make: Make, memory: Memory) -> None:
    a, b = make("a", epoch=1, cluster=True), make("b", epoch=2, cluster=True)
    a.pair()
    await a.start()
    await a.ship()
    assert await b.start() is None
    b.grow("of the second host")
    await b.ship()
    left = memory.claims["abc"], dict(memory.stored)
    # it comes back to the first one, which does not start it, and goes on
    again = make("a", epoch=3, cluster=True)
    assert await again.shipping.hand_over(again.at) is None
    assert (memory.claims["abc"], memory.stored) == left
    # nor one of an image of its disk
    image = b.at.profile.with_name("image")
    shutil.copytree(b.at.profile, image)
    b.grow("weeks of messages")
    await b.ship()
    left = memory.claims["abc"], dict(memory.stored)
    b.at.profile.rename(b.at.profile.with_name("broken disk"))
    image.rename(b.at.profile)
    came_back = make("b", epoch=4, cluster=True)
    assert await came_back.shipping.hand_over(came_back.at) is None
    assert (memory.claims["abc"], memory.stored) == left


async def test_what_no_host_has_ever_shipped_is_handed_over_without_a_start(
    make: Make, memory: Memory
) -> None:
    """It was stopped when its host became one of several."""
    a = make("a", epoch=1, cluster=True)
    a.pair()
    assert await a.shipping.hand_over(a.at) is None
    b = make("b", epoch=2, cluster=True)
    assert await b.start() is None
    assert (b.at.profile / LOG).read_bytes() == (a.at.profile / LOG).read_bytes()


async def test_one_that_is_too_large_to_be_shared_all_the_time_moves_in_order(
    make: Make, memory: Memory
) -> None:
    a = make("a", epoch=1, cluster=True, limit=1_000)
    a.pair()
    await a.start()
    (a.at.profile / BLOBS / "1/00/8").write_bytes(Random(1).randbytes(1_200_000))
    await a.ship()
    assert "more than 0 MB" in str(a.why[-1])
    a.end()
    assert await a.shipping.hand_over(a.at) is None
    await a.shipping.forget("abc")
    assert a.why[-1] is None
    b = make("b", epoch=2, cluster=True)
    assert await b.start() is None
    assert (b.at.profile / BLOBS / "1/00/8").exists()
    assert b.rolled_back == []


async def test_what_cannot_be_handed_over_says_why_and_can_go_on(
    make: Make, memory: Memory
) -> None:
    a = make("a", epoch=1, cluster=True)
    a.pair()
    await a.start()
    a.grow("a last message")
    a.end()
    memory.down = 0
    assert await a.shipping.hand_over(a.at) == "it is away"
    memory.down = None
    assert await a.start() is None
    a.end()
    assert await a.shipping.hand_over(a.at) is None
    b = make("b", epoch=2, cluster=True)
    assert await b.start() is None
    assert (b.at.profile / LOG).read_bytes() == (a.at.profile / LOG).read_bytes()
    without = make("c", epoch=None, cluster=True)
    without.pair()
    memory.claims.clear()
    why = await without.shipping.hand_over(without.at)
    assert why == "the session's profile is not this host's to use"


async def test_one_that_is_lost_ends_its_last_shipment_at_once(make: Make, memory: Memory) -> None:
    a = make("a", epoch=1, again=9e9, cluster=True)
    a.pair()
    await a.start()
    await a.ship()
    a.grow("a last message")
    memory.down = 0
    a.end()
    await wait_until(lambda: memory.refused > 0, "it was tried")
    refused = memory.refused
    a.shipping.stop("abc")
    async with asyncio.timeout(DEADLINE):
        await a.shipping.forget("abc")
    assert memory.refused == refused
    memory.down = None
    await a.shipping.close()
    assert not any(a.why[1:]), "it is another host's"


async def test_a_former_owner_whose_shipment_is_refused_has_no_newer_profile(
    make: Make, memory: Memory
) -> None:
    """It stood still, and has not heard yet that it has lost the session."""
    a = make("a", epoch=1, cluster=True)
    a.pair()
    await a.start()
    await a.ship()
    b = make("b", epoch=2, cluster=True)
    assert await b.start() is None
    memory.owner = "b"
    for word in ("one that nobody has", "another one"):
        a.grow(word)
        await a.ship()
    assert memory.refused == 2
    b.grow("what is sent by its owner")
    await b.stop()
    memory.owner = "a"
    again = make("a", epoch=3, cluster=True)
    assert await again.start() is None, "it is not said to be newer than what is shared"
    assert (again.at.profile / LOG).read_bytes() == (b.at.profile / LOG).read_bytes()


@pytest.mark.parametrize("cluster", [True, False], ids=["to a cluster", "back to a standby"])
async def test_epochs_that_begin_again_make_no_profile_the_newer_one(
    make: Make, memory: Memory, *, cluster: bool
) -> None:
    """A cluster counts by session and a lease by its holders; a session that is made again counts from 1, too."""
    a = make("a", epoch=40, cluster=not cluster)
    a.pair()
    assert await a.start() is None
    await a.stop()
    for name, epoch in (("b", 2), ("a", 3), ("b", 4), ("a", 5)):
        host = make(name, epoch=epoch, cluster=cluster)
        assert await host.start() is None, "it is not said to be newer than what is shared"
        host.grow(f"before epoch {epoch}")
        shared = (host.at.profile / LOG).read_bytes()
        await host.restored.release_groups()
        await host.stop()
        assert memory.claims["abc"].orderly
    assert (make("a").at.profile / LOG).read_bytes() == shared


@pytest.mark.parametrize("how", ["in order", "died", "too large", "never shared", "shared by b"])
async def test_what_leaves_at_one_host_comes_back_at_no_other(
    make: Make, memory: Memory, how: str
) -> None:
    """Also where the host at which it was logged out or deleted has never started it."""
    a = make("a", epoch=1, cluster=True, limit=1_000 if how == "too large" else 1 << 30)
    a.pair()
    if how != "never shared":
        assert await a.start() is None
        await a.ship()
        a.end()
    if how in {"in order", "shared by b"}:
        assert await a.shipping.hand_over(a.at) is None
    await a.shipping.forget("abc")
    b = make("b", epoch=2, cluster=True)
    if how == "shared by b":
        assert await b.start() is None
        shutil.copytree(b.at.profile, make("c").at.profile)
        await b.ship()
    await b.shipping.clear(b.at)
    assert memory.claims["abc"].sealed is None
    assert memory.stored == {}
    names = ("a", "c") if how == "shared by b" else ("a",)
    for epoch, name in enumerate(names, 3):
        again = make(name, epoch=epoch, cluster=True)
        assert await again.start(unpaired=True) is None
        assert not layout.exists(again.at.profile)
        assert len(list(again.at.quarantine.iterdir())) == 1
        await again.ship()
        assert memory.claims["abc"].sealed is None
    again.pair("scanned")
    await again.ship()
    assert await again.start() is None
    assert word_of(again.at.profile) == "scanned"
