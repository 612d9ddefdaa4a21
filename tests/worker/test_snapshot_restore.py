"""Snapshots on a real Chromium: what they bring back, and what of a damage is seen before it starts.

The browsers run on the stand-in of WhatsApp Web, whose credentials lie in IndexedDB and localStorage
as WhatsApp's do: losing either is losing the session.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.profile.leveldb_files import INDEXED, LOCAL
from tests.worker.browser_fixtures import TRAPPED
from tests.worker.browser_session import LONG, BrowserSession
from waguard.core.link import Link
from waguard.core.profile.before_start import (
    CredentialsLost,
    Damaged,
    Healthy,
    Missing,
    RestoreSnapshot,
    ShowQr,
    Use,
)
from waguard.host.process.executable import Flavour
from waguard.lab.standin import Policy, StandIn
from waguard.profile import caches, layout, leveldb, owner_mark, repair, snapshot_archive, snapshots
from waguard.profile.inspection import inspect
from waguard.profile.layout import Places
from waguard.profile.lock import LOCK_NAME, ProfileLock
from waguard.worker.browser.chromium import ProfileLockedError
from waguard.worker.browser.devtools import flush_storage

pytestmark = [
    pytest.mark.chromium,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]

STORED: Final = """new Promise((done) => {
  const opened = indexedDB.open('model-storage');
  opened.onsuccess = () => {
    const counted = opened.result.transaction('message').objectStore('message').count();
    counted.onsuccess = () => { opened.result.close(); done(counted.result); };
  };
})"""
CHURN: Final = """setInterval(() => {
  localStorage.setItem('churn' + (Date.now() % 50), 'x'.repeat(500));
}, 20), 0"""


@dataclass
class Linked:
    """A session that was paired, copied while it ran, and ended in order."""

    standin: StandIn
    at: Places
    taken: snapshot_archive.Taken


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Its path is short: Chromium needs that."""
    with tempfile.TemporaryDirectory(prefix="wg-") as path:
        yield Path(path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn(policy=Policy(sync=0.1, reconnect_delay=0.05)) as running:
        yield running


async def pair(at: Places, standin: StandIn, phone: str, flavour: Flavour) -> BrowserSession:
    """Scan the code, then have the credentials on disk, as a worker does."""
    browser = BrowserSession(standin, at.profile, at.profile.parents[1] / "t", flavour)
    await browser.open()
    await browser.pair(phone)
    await flush_storage(browser.chromium.devtools, browser.session)
    await browser.load()
    assert await browser.link() is Link.CONNECTED
    return browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked(standin: StandIn, folder: Path) -> Linked:
    # one in 170 traps in its own shutdown, under load (see ``TRAPPED``): that is no end in order
    for attempt in range(3):
        at = layout.places(folder, 1, f"linked{attempt}")
        lock = ProfileLock(at.profile)
        browser = await pair(at, standin, "6281180001", "chromium")
        token = owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
        taken = await asyncio.to_thread(
            snapshots.create, at.profile, at.snapshots, pairing=token, running=True, now=time.time()
        )
        await browser.close()
        lock.release()
        if (code := await browser.chromium.exited) == 0:
            return Linked(standin, at, taken)
        assert code == TRAPPED
    pytest.fail("Chromium trapped at its end three times")


@pytest.fixture
def at(linked: Linked, folder: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """A copy of the linked session, to be broken."""
    at = layout.places(folder, 1, f"copy{random.randrange(1 << 32):x}")
    shutil.copytree(linked.at.profile, at.profile, symlinks=True)
    shutil.copytree(linked.at.snapshots, at.snapshots)
    yield at
    shutil.rmtree(at.profile, ignore_errors=True)


@pytest.fixture
def lock(at: Places) -> Iterator[int]:
    held = ProfileLock(at.profile)
    yield held.descriptor
    held.release()


async def link_of(at: Places, standin: StandIn) -> Link:
    """Start a browser on it; how it stands with WhatsApp."""
    browser = BrowserSession(standin, at.profile, at.profile.parents[1] / "t")
    await browser.open()
    try:
        return await browser.link()
    finally:
        await browser.close()


async def test_a_session_that_ended_in_order_is_healthy_and_its_snapshot_holds_a_little(
    linked: Linked,
) -> None:
    assert inspect(linked.at.profile) == Healthy()
    assert snapshots.verify(linked.at.snapshots / linked.taken.id) == linked.taken
    everything = sum(p.lstat().st_size for p in linked.at.profile.rglob("*") if p.is_file())
    assert linked.taken.archive_size < everything / 10


def garbage(path: Path) -> None:
    # always the same: one in fifty begins like a record that a crash cut off
    path.write_bytes(random.Random(1).randbytes(max(2_000, path.stat().st_size)))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)


def emptied(profile: Path) -> None:
    for path in profile.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_NAME:
            path.unlink()


Break = Callable[[Path], object]
DAMAGES: dict[str, tuple[Break, type]] = {
    "garbage in IndexedDB's log": (
        lambda p: garbage(next((p / INDEXED).glob("*.log"))),
        Damaged,
    ),
    "garbage in IndexedDB's MANIFEST": (
        lambda p: garbage(next((p / INDEXED).glob("MANIFEST-*"))),
        Damaged,
    ),
    "IndexedDB's MANIFEST deleted": (
        lambda p: next((p / INDEXED).glob("MANIFEST-*")).unlink(),
        Damaged,
    ),
    "IndexedDB's log deleted": (
        lambda p: next((p / INDEXED).glob("*.log")).unlink(),
        CredentialsLost,
    ),
    "garbage in localStorage's log": (
        lambda p: garbage(next((p / LOCAL).glob("*.log"))),
        Damaged,
    ),
    "one byte of localStorage": (lambda p: flip(next((p / LOCAL).glob("*.log"))), Damaged),
    "localStorage's CURRENT deleted": (lambda p: (p / LOCAL / "CURRENT").unlink(), Damaged),
    "IndexedDB removed": (lambda p: shutil.rmtree(p / "Default/IndexedDB"), CredentialsLost),
    "Local Storage removed": (lambda p: shutil.rmtree(p / LOCAL), CredentialsLost),
    "everything removed": (emptied, Missing),
}


def restore(linked: Linked, at: Places, lock: int, name: str) -> None:
    """Break it, and see that its snapshot takes its place."""
    spoil, kind = DAMAGES[name]
    spoil(at.profile)
    assert isinstance(inspect(at.profile), kind)
    prepared = repair.prepare(at, lock)
    assert isinstance(prepared.end, Use)
    assert RestoreSnapshot(linked.taken.id) in prepared.actions
    assert (prepared.quarantined is None) == (kind is Missing)
    assert inspect(at.profile) == Healthy()


@pytest.mark.parametrize("name", DAMAGES)
async def test_what_is_broken_is_seen_and_restored(
    linked: Linked, at: Places, lock: int, name: str
) -> None:
    restore(linked, at, lock, name)


EXAMPLES: Final = ("garbage in IndexedDB's MANIFEST", "Local Storage removed", "everything removed")
"""One of each kind of damage: what is restored is the same snapshot."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=[] if it in EXAMPLES else pytest.mark.long) for it in DAMAGES],
)
async def test_what_was_restored_comes_back_without_a_code(
    linked: Linked, at: Places, lock: int, name: str
) -> None:
    restore(linked, at, lock, name)
    assert await link_of(at, linked.standin) is Link.CONNECTED


@pytest.mark.parametrize("name", ["Local State", "Default/Preferences"])
async def test_what_chromium_makes_again_is_no_damage(
    linked: Linked, at: Places, lock: int, name: str
) -> None:
    os.truncate(at.profile / name, 10)
    assert repair.prepare(at, lock).actions == (Use(),)
    assert await link_of(at, linked.standin) is Link.CONNECTED


async def test_what_chromium_wiped_silently_is_reported_by_the_page(
    linked: Linked, at: Places, lock: int
) -> None:
    """Nobody looked before the start: then the files say nothing any more, only the code does."""
    garbage(next((at.profile / INDEXED).glob("MANIFEST-*")))
    assert await link_of(at, linked.standin) is Link.QR_PENDING
    assert inspect(at.profile) == Healthy()
    lost = CredentialsLost("a QR code although it was connected")
    prepared = repair.prepare(at, lock, finding=lost)
    assert isinstance(prepared.end, Use)
    assert await link_of(at, linked.standin) is Link.CONNECTED
    # and a second time there is nothing left to try
    assert isinstance(repair.prepare(at, lock, finding=lost).end, ShowQr)


TORN: Final = b"\x12\x34\x56\x78" + (400).to_bytes(2, "little") + b"\1" + bytes(100)


@pytest.mark.parametrize("cut", [True, False])
async def test_half_a_record_costs_the_session_at_the_second_start_unless_it_is_cut_off(
    linked: Linked,
    at: Places,
    lock: int,
    cut: bool,  # noqa: FBT001 - both ways
) -> None:
    """Chromium's LevelDB passes over it, and then writes behind it what it cannot read again."""
    log = next((at.profile / INDEXED).glob("*.log"))
    log.write_bytes(log.read_bytes() + TORN)
    found = inspect(at.profile)
    assert found == Healthy((INDEXED,))
    if cut:
        assert isinstance(repair.prepare(at, lock).end, Use)
    browser = BrowserSession(linked.standin, at.profile, at.profile.parents[1] / "t")
    await browser.open()
    assert await browser.link() is Link.CONNECTED
    before = await stored(browser)
    linked.standin.phone.incoming(from_="62812", body="to be stored")
    while await stored(browser) == before:
        await asyncio.sleep(0.02)
    await browser.close()
    assert isinstance(inspect(at.profile), Healthy if cut else Damaged)
    wanted = Link.CONNECTED if cut else Link.QR_PENDING
    assert await link_of(at, linked.standin) is wanted


async def test_the_lock_of_another_host_keeps_chromium_out_until_it_is_proven_stale(
    linked: Linked, at: Places, lock: int
) -> None:
    (at.profile / "SingletonLock").symlink_to("another-host-1234")
    with pytest.raises(ProfileLockedError):
        await link_of(at, linked.standin)
    repair.prepare(at, lock)
    assert await link_of(at, linked.standin) is Link.CONNECTED


async def test_a_session_without_its_caches_is_the_same_session(
    linked: Linked, at: Places, lock: int
) -> None:
    assert caches.clean(at.profile, lock, above=0) > 0
    assert await link_of(at, linked.standin) is Link.CONNECTED


AT_ONCE: Final = 8  # messages on their way


@contextlib.asynccontextmanager
async def busy(browser: BrowserSession, standin: StandIn, phone: str) -> AsyncIterator[None]:
    """Messages come in all the while, big enough that LevelDB compacts; localStorage changes too.

    No more than a page on a busy machine stores: it would answer nothing else.
    """
    (device,) = standin.whatsapp.devices[phone]

    async def write() -> None:
        while True:
            if len(device.queue) < AT_ONCE:
                standin.phone.incoming(phone, from_="62812", body=random.randbytes(15_000).hex())
            await asyncio.sleep(0.005)

    await browser.session.evaluate(CHURN, timeout=LONG)
    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def stored(browser: BrowserSession) -> int:
    return int(await browser.session.evaluate(STORED, timeout=LONG))


@pytest.mark.parametrize(
    "flavour", ["chromium", pytest.param("headless-shell", marks=pytest.mark.long)]
)
@pytest.mark.long  # what `make test` sees of it: the one before, tests/profile/test_snapshots.py
async def test_a_copy_of_a_running_session_under_load_has_all_that_was_stored_before_it(
    standin: StandIn, folder: Path, flavour: Flavour
) -> None:
    phone = f"628118{FLAVOUR_DIGITS[flavour]}"
    at = layout.places(folder, 2, flavour)
    browser = await pair(at, standin, phone, flavour)
    taken: list[tuple[int, Path]] = []
    async with busy(browser, standin, phone):
        for number in range(2):
            wanted = await stored(browser) + 60
            while (before := await stored(browser)) < wanted:
                await asyncio.sleep(0.02)
            # each into a folder of its own, so that all are kept
            into = at.snapshots / str(number)
            await asyncio.to_thread(
                snapshots.create, at.profile, into, pairing="me", running=True, now=time.time()
            )
            taken.append((before, into))
    assert any(leveldb.contents(at.profile / INDEXED).tables), "it did compact"
    await browser.close()
    for number, (before, into) in enumerate(taken):
        again = layout.places(folder, 2, f"{flavour}{number}")
        [snapshot] = snapshots.known(into)
        snapshots.unpack(into / snapshot.id, again.profile)
        assert inspect(again.profile) == Healthy()
        restored = BrowserSession(standin, again.profile, folder / "t", flavour)
        await restored.open()
        try:
            assert await restored.link() is Link.CONNECTED
            assert await stored(restored) >= before
        finally:
            await restored.close()


FLAVOUR_DIGITS: Final = {"chromium": "1001", "headless-shell": "1002"}


@pytest.mark.long
async def test_a_browser_that_was_killed_in_the_middle_of_writing_leaves_no_damage(
    standin: StandIn, folder: Path
) -> None:
    at = layout.places(folder, 3, "killed")
    lock = ProfileLock(at.profile)
    browser = await pair(at, standin, "6281181003", "chromium")
    owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
    for _ in range(3):
        async with busy(browser, standin, "6281181003"):
            wanted = await stored(browser) + 50
            while await stored(browser) < wanted:
                await asyncio.sleep(0.02)
            browser.loader.close()
            os.killpg(browser.chromium.pid, signal.SIGKILL)
            await browser.chromium.close()
        assert isinstance(inspect(at.profile), Healthy)
        assert isinstance(repair.prepare(at, lock.descriptor).end, Use)
        await browser.open()
        assert await browser.link() is Link.CONNECTED
    await browser.close()
    lock.release()
