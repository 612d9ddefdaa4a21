"""The markers of an installation, on real files and a real database."""

import asyncio
import contextlib
import errno
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tests.host.odd_files import refuse
from tests.supervision.world import World, world
from tests.waiting import DEADLINE
from waguard.core.installation import Marker
from waguard.daemon.installation import KIND, Installation
from waguard.errors import (
    ConflictError,
    DatabaseUnavailableError,
    DatabaseUnknownError,
    UnavailableError,
)
from waguard.host.memory import installation_file
from waguard.store.sql import SqlStore
from waguard.supervision.outages import Outages
from waguard.supervision.status_writer import AuditLog

SOON = 0.1  # s, for a disk that never answers


class Run:
    """What a daemon does about its database at a start, without the rest of it."""

    def __init__(self, made: World, database: Path, workers: int = 0) -> None:
        self.sessions = made.config.paths.sessions
        self.database = database
        self.store = SqlStore(f"sqlite+aiosqlite:///{database}")
        trail = AuditLog(None, made.store, made.clock, publish=lambda _: None, retry=1.0)
        self.outages = Outages(trail)
        self.it = Installation(lambda: made.config, self.store.installation, self.outages)
        self.it.disk_within = DEADLINE
        self.it.workers = workers
        self.store.guard(
            why_barred=self.it.why_barred, before_migration=_nothing, recognize=self.it.recognize
        )

    async def begin(self) -> None:
        try:
            await self.it.check_folder()
            await self.store.open()
            await self.it.mark()
        except BaseException:
            await self.store.close()
            raise

    async def refused(self) -> None:
        with pytest.raises(DatabaseUnknownError):
            await self.begin()
        assert self.outages.why(KIND) == self.it.why_barred()

    @property
    def folder(self) -> Marker | None:
        return installation_file.read(self.sessions)

    async def marker(self) -> str | None:
        return (await self.store.installation.found(counted=False)).installation


async def _nothing() -> None:
    """There is no lease."""


Begin = Callable[..., Run]


@pytest.fixture
async def run() -> AsyncIterator[Begin]:
    runs: list[Run] = []
    async with world() as made:
        made.config.paths.sessions.mkdir()

        def begin(name: str = "waguard.db", *, workers: int = 0) -> Run:
            runs.append(Run(made, made.folder / name, workers))
            return runs[-1]

        yield begin
        for it in runs:
            await it.store.close()


async def ours(run: Begin) -> Run:
    """A first start, with a session; its daemon is gone."""
    first = run()
    await first.begin()
    await first.store.create("s1", 1, account_id=None, priority=0)
    (first.sessions / "s1").mkdir()
    await first.store.close()
    return first


async def test_a_first_start_marks_both(run: Begin) -> None:
    first = run()
    assert first.folder is None
    await first.begin()
    assert first.folder == Marker(
        installation=await first.marker() or "", database=f"sqlite {first.database}"
    )
    again = run(workers=3)
    await again.begin()
    assert await again.store.sessions() == [], "an empty database of ours is a fact"


async def test_a_folder_without_anything_is_not_marked_where_there_are_sessions(run: Begin) -> None:
    """Its disk is probably not mounted yet."""
    first = await ours(run)
    away = first.sessions.with_name("away")
    first.sessions.rename(away)
    for made in (False, True):
        if made:
            first.sessions.mkdir()
        second = run()
        await second.begin()
        assert second.sessions.exists() == made
        assert second.folder is None
        await second.store.close()
    first.sessions.rmdir()
    away.rename(first.sessions)
    (first.sessions / installation_file.FILE).unlink()
    third = run()
    await third.begin()
    assert third.folder, "something is in it"


async def test_an_upgrade_marks_both_and_an_older_release_reads_on(run: Begin) -> None:
    """Neither has a marker, there are rows and workers."""
    first = await ours(run)
    (first.sessions / installation_file.FILE).unlink()
    second = run(workers=1)
    await second.store.open()
    await second.store.installation.mark("")
    async with second.store._database.writing() as work:
        await work.connection.exec_driver_sql("DROP TABLE waguard_installation")
        await work.connection.exec_driver_sql(
            "UPDATE waguard_alembic_version SET version_num = '0008'"
        )
    await second.store.close()
    third = run(workers=1)
    await third.begin()
    assert third.folder
    assert third.folder.installation == await third.marker()
    assert [row.session_id for row in await third.store.sessions()] == ["s1"]


async def test_a_database_file_that_is_away_is_not_replaced_by_an_empty_one(run: Begin) -> None:
    first = await ours(run)
    away = first.database.with_name("away.db")
    first.database.rename(away)
    second = run(workers=1)
    await second.refused()
    assert not first.database.exists(), "it could not be put back beside the WAL of another one"
    assert first.database.name in str(second.it.why_barred())
    away.rename(first.database)
    await second.begin()
    assert second.outages.why(KIND) is None
    assert len(await second.store.sessions()) == 1


async def test_an_empty_database_that_has_tables_already_is_unknown(run: Begin) -> None:
    first = await ours(run)
    first.database.unlink()
    other = SqlStore(f"sqlite+aiosqlite:///{first.database}")
    await other.open()
    await other.close()
    await run().refused()


async def test_living_workers_without_any_row_are_kept_where_nobody_has_a_marker(
    run: Begin,
) -> None:
    """The whole data volume is away: neither database nor sessions folder are there."""
    first = run(workers=2)
    await first.refused()
    assert not first.database.exists()
    assert first.folder is None, "nothing is written below a mount point"


async def test_an_emptied_database_stays_unknown_while_its_rows_are_not_counted(
    run: Begin,
) -> None:
    """It is opened again at each try: that says nothing of its sessions, and an alert waits for a condition that lasts."""
    daemon = run(workers=1)
    emptied = SqlStore(f"sqlite+aiosqlite:///{daemon.database}")
    await emptied.open()
    await daemon.refused()
    unknown = daemon.outages.why(KIND)
    await daemon.it.check_folder()
    await daemon.store.open()
    assert daemon.outages.why(KIND) == daemon.it.why_barred() == unknown
    await emptied.create("s1", 1, account_id=None, priority=0)
    await emptied.close()
    await daemon.begin()
    assert daemon.outages.why(KIND) is None
    assert len(await daemon.store.sessions()) == 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("marked", [True, False])
async def test_what_is_accepted_is_marked_and_used(
    run: Begin, workers: int, *, marked: bool
) -> None:
    first = await ours(run)
    before = first.folder
    if marked:
        await run("other.db").refused()
        (first.sessions / installation_file.FILE).rename(first.sessions / "kept")
        other = run("other.db")
        await other.begin()
        await other.store.close()
        (first.sessions / "kept").rename(first.sessions / installation_file.FILE)
    second = run("other.db", workers=workers)
    await second.refused()
    assert second.it.accept() == f"sqlite {second.database}"
    await second.begin()
    assert before
    assert second.folder
    assert (second.folder.installation == before.installation) is not marked
    assert second.folder.installation == await second.marker()
    assert await second.store.sessions() == []
    with pytest.raises(ConflictError):
        second.it.accept()
    await run().refused() if marked else await run().begin()


async def test_another_database_in_its_place_bars_a_running_daemon_until_ours_is_back(
    run: Begin,
) -> None:
    first = await ours(run)
    daemon = run()
    await daemon.begin()
    away = first.database.with_name("away.db")
    first.database.rename(away)
    shutil.copyfile(away, first.database)
    with contextlib.closing(sqlite3.connect(first.database)) as other:
        other.execute("UPDATE waguard_installation SET installation = 'b'")
        other.commit()
    with pytest.raises(DatabaseUnknownError):
        await daemon.store.sessions()
    with pytest.raises(DatabaseUnavailableError):
        await daemon.store.session("s1")
    with pytest.raises(DatabaseUnknownError):
        await daemon.it.mark()
    first.database.unlink()
    away.rename(first.database)
    await daemon.it.mark()
    assert len(await daemon.store.sessions()) == 1


async def test_a_folder_that_cannot_be_written_keeps_nobody_from_beginning(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installation_file, "replace_private", full)
    first = run()
    await first.begin()
    assert first.folder is None
    monkeypatch.undo()
    await first.it.mark()
    assert first.folder
    assert first.folder.installation == await first.marker()


@pytest.fixture
def free() -> Iterator[threading.Event]:
    """Set where a disk answers again."""
    made = threading.Event()
    yield made
    made.set()


async def test_a_disk_that_holds_all_common_threads_holds_up_no_check(
    run: Begin, free: threading.Event
) -> None:
    daemon = await ours(run)
    await daemon.begin()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    hangs = loop.run_in_executor(None, free.wait)
    async with asyncio.timeout(DEADLINE):
        await daemon.it.mark()
    free.set()
    await hangs


async def test_while_the_folders_disk_hangs_what_was_seen_last_counts(
    run: Begin, free: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ours(run)
    read = installation_file.read
    asked: list[Path] = []

    def hung(sessions: Path) -> Marker | None:
        asked.append(sessions)
        free.wait()
        return read(sessions)

    daemon = run()
    await daemon.begin()
    daemon.it.disk_within = SOON
    monkeypatch.setattr(installation_file, "read", hung)
    async with asyncio.timeout(DEADLINE):
        for _ in range(3):
            await daemon.it.mark()
        assert len(await daemon.store.sessions()) == 1
    assert len(asked) == 1, "it holds one thread"
    with contextlib.closing(sqlite3.connect(first.database)) as other:
        other.execute("UPDATE waguard_installation SET installation = 'b'")
        other.commit()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(DatabaseUnknownError):
            await daemon.it.mark()


async def test_a_disk_that_hangs_at_a_start_holds_up_nothing_else(
    run: Begin, free: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ours(run)
    with monkeypatch.context() as patch:
        patch.setattr(installation_file, "read", lambda _: free.wait())
        daemon = run()
        daemon.it.disk_within = SOON
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(UnavailableError, match="its disk does not answer"):
                await daemon.begin()


async def test_a_marker_that_cannot_be_read_is_quarantined_where_the_database_has_one(
    run: Begin,
) -> None:
    first = await ours(run)
    file = first.sessions / installation_file.FILE
    file.write_bytes(b"{")
    second = run(workers=1)
    await second.begin()
    assert second.folder
    assert second.folder.installation == await second.marker()
    assert msgspec.json.decode(file.read_bytes(), type=Marker) == second.folder
    assert (first.sessions / f"{installation_file.FILE}.unreadable").read_bytes() == b"{"


async def test_a_marker_that_cannot_be_read_now_accepts_no_other_database(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ours(run)
    file = first.sessions / installation_file.FILE
    before = file.read_bytes()
    other = first.database.with_name("other.db")
    shutil.copyfile(first.database, other)
    with contextlib.closing(sqlite3.connect(other)) as changed:
        changed.execute("UPDATE waguard_installation SET installation = 'b'")
        changed.commit()
    running, second = run(), run("other.db")
    await running.begin()
    with monkeypatch.context() as patch:
        refuse(patch, file, errno.EMFILE)
        await running.it.mark()
        with pytest.raises(UnavailableError, match="cannot be opened: Too many open files"):
            await second.begin()
        with pytest.raises(OSError, match="Too many open files"):
            installation_file.write(first.sessions, Marker(installation="b"))
    assert file.read_bytes() == before
    assert [it.name for it in first.sessions.iterdir() if it.is_file()] == [file.name]
    await second.refused()


async def test_hosts_that_mark_a_new_database_at_once_are_one_installation(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run()
    mark = first.store.installation.mark

    async def second(name: str) -> str:
        await mark("another host's")
        return await mark(name)

    monkeypatch.setattr(first.store.installation, "mark", second)
    await first.begin()
    assert first.it.marked == await first.marker() == "another host's"
    assert first.folder
    assert first.folder.installation == "another host's"


async def test_another_etcd_than_that_of_the_owners(run: Begin) -> None:
    """Two clusters with one database: who is alive in one etcd is dead in the other one."""
    first = await ours(run)
    await first.begin()
    await first.it.recognize_etcd("17")
    await first.it.recognize_etcd("17")
    other = run()
    await other.begin()
    with pytest.raises(DatabaseUnknownError) as refused:
        await other.it.recognize_etcd("18")
    assert refused.value.field == "cluster.endpoints"
    await other.it.mark()
    assert other.outages.why(KIND) == other.it.why_barred() == refused.value.message
    other.it.accept()
    await other.it.recognize_etcd("18")
    assert (other.outages.why(KIND), other.it.why_barred()) == (None, None)
    with pytest.raises(ConflictError):
        other.it.accept()
    with pytest.raises(DatabaseUnknownError):
        await first.it.recognize_etcd("17")
    first.it.accept()
    await first.it.recognize_etcd("17")
    with pytest.raises(DatabaseUnknownError):
        await other.it.recognize_etcd("18")  # what was accepted there once is not accepted again


async def test_an_etcd_that_another_host_has_accepted_too_is_accepted_once(run: Begin) -> None:
    first, others = await ours(run), (run(), run())
    await first.begin()
    await first.it.recognize_etcd("17")
    for other in others:
        await other.begin()
        with pytest.raises(DatabaseUnknownError):
            await other.it.recognize_etcd("18")
        other.it.accept()
    for other in others:
        await other.it.recognize_etcd("18")
    with pytest.raises(DatabaseUnknownError):
        await first.it.recognize_etcd("17")
    first.it.accept()
    await first.it.recognize_etcd("17")
    for other in others:
        with pytest.raises(DatabaseUnknownError):
            await other.it.recognize_etcd("18")
