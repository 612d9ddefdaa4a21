"""What a host has received of sessions of other hosts goes to them, once they have stored it, and never away before."""

import base64
import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest
from loguru import logger

from tests.clocks import Clock
from tests.host.odd_files import hide, refuse
from tests.small_disk import small_disk
from tests.supervision.reports import message
from waguard import __version__
from waguard.api.host_calls import AnsweredError
from waguard.api.left_events import PATH
from waguard.core.cluster.left_events import PAUSES
from waguard.core.cluster.records import FORMAT, HostRecord, Owner
from waguard.core.messages.inbox import EventPayload, InboxRecord, Kind
from waguard.core.replace import replace
from waguard.daemon.left_behind import LeftBehind, Whose
from waguard.errors import UnavailableError
from waguard.host.process import procfs
from waguard.messaging.left_events import LeftEvents
from waguard.profile import layout
from waguard.wire.events import Event
from waguard.wire.left_events import decoded
from waguard.wire.protocol import PROTOCOL
from waguard.wire.worker import WorkerRecord
from waguard.worker.link.unstored import UnstoredEvents

EVENTS: Final = [Event(seq=it, at=1.0, body=message(it)) for it in (1, 2)]
FILE: Final = f"{layout.key('s')}.3.unstored"


def record(key: str, session: str = "s") -> InboxRecord:
    return InboxRecord(
        session_id=session,
        workspace_id=1,
        key=key,
        kind=Kind.MESSAGE,
        at=1.0,
        events=(EventPayload("message_received", {}),),
    )


def a_host(name: str, version: str = __version__) -> HostRecord:
    return HostRecord(
        format=FORMAT,
        host=name,
        incarnation=f"i-{name}",
        number=1,
        alive=True,
        address=f"http://{name}",
        version=version,
        room=1,
        owned=1,
        drain=False,
    )


@dataclass
class World:
    """This host, and what it sees and asks of the others."""

    workers: Path
    memory: LeftEvents = field(default_factory=LeftEvents)
    clock: Clock = field(default_factory=Clock)
    owners: dict[str, HostRecord | None] = field(default_factory=lambda: {"s": a_host("b")})
    """Of all sessions; None: nobody has it."""
    ours: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    known: bool = True
    """Whether the owners are known."""
    answers: dict[str, int | None] = field(default_factory=dict)
    """Of hosts that do not say 200: their status, None: nothing comes."""
    stored: dict[str, list[str]] = field(default_factory=dict)
    """By host, the ids of what it has stored; each once."""
    asked: list[tuple[str, str, int | None]] = field(default_factory=list)
    """Hosts that were asked, the session, and its generation."""
    meanwhile: Callable[[], object] = lambda: None
    """Called while a host is asked."""
    why: str | None = None
    lost_answers: int = 0
    """So many of the next answers are lost after the commit."""

    def __post_init__(self) -> None:
        outages: Any = SimpleNamespace(update=self.update, why=lambda _: self.why)
        whose = Whose(self.rows, self.is_ours, self.owner)
        self.it = LeftBehind(self.workers, self.memory, whose, self, lambda: outages, self.clock)

    def rows(self) -> dict[str, Owner] | None:
        rows = {
            it: Owner(session=it, host="h", incarnation="i", epoch=1, deleted=it in self.deleted)
            for it in self.owners
        }
        return rows if self.known else None

    def is_ours(self, session: str) -> bool:
        return session in self.ours

    def owner(self, session: str) -> HostRecord | None:
        return None if session in self.ours else self.owners.get(session)

    # ---- Asking ----

    async def own(
        self, method: str, target: str, to: str, body: object = None, *, within: float
    ) -> Any:
        assert (method, target) == ("POST", PATH)
        assert isinstance(body, bytes)
        asked = json.loads(body)
        host = to.removeprefix("http://")
        self.asked.append((host, asked["session"], asked["generation"]))
        self.meanwhile()
        status = self.answers.get(host, 200)
        if status is None:
            raise UnavailableError("it cannot be reached")
        if status != 200:
            raise AnsweredError("it does not want it", status)
        left = decoded(base64.b64decode(asked["content"]))
        ids = [str(getattr(it.body, "id", "")) for it in left.events]
        stored = self.stored.setdefault(host, [])
        stored += [it for it in (*ids, *(one.key for one in left.records)) if it not in stored]
        if self.lost_answers:
            self.lost_answers -= 1
            raise UnavailableError("it was cut off")
        return {"success": True}

    # ---- Outages ----

    def update(self, kind: str, why: str | None) -> None:
        assert kind == "events_left_behind"
        self.why = why

    # ---- what tests do ----

    async def tick(self, *, later: float = 0.0) -> None:
        self.clock.live(later)
        await self.it.tick()

    def leave(self, session: str = "s", generation: int = 3, events: Any = EVENTS) -> Path:
        """What a worker of the session has kept."""
        key = layout.key(session)
        UnstoredEvents(self.workers / f"{key}.json", generation).write(events)
        return self.workers / f"{key}.{generation}.unstored"

    def files(self) -> list[str]:
        return sorted(it.name for it in self.workers.iterdir())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ALL: Final = [it.body.id for it in EVENTS if hasattr(it.body, "id")]


async def test_a_file_goes_to_the_owner_and_then_away(world: World) -> None:
    world.leave()
    await world.tick()
    assert world.stored == {"b": ALL}
    assert world.asked == [("b", "s", 3)]
    assert world.files() == []
    assert world.why is None, "nothing has lasted"
    await world.tick()
    assert len(world.asked) == 1


async def test_what_is_in_memory_goes_there_too(world: World) -> None:
    world.memory.keep([record("a"), record("b")])
    world.meanwhile = lambda: world.memory.keep([record("c")]) if not world.stored else None
    await world.tick()
    assert world.stored == {"b": ["a", "b"]}
    assert [it.key for it in world.memory.of("s")] == ["c"], "it came while that was on its way"
    await world.tick()
    assert world.stored == {"b": ["a", "b", "c"]}
    assert not world.memory.counts()


@pytest.mark.parametrize("status", [None, 503, 507, 401, 404, 409, 500])
async def test_an_owner_that_does_not_store_it_is_asked_again(
    world: World, status: int | None
) -> None:
    world.answers["b"] = status
    world.leave()
    world.memory.keep([record("a")])
    await world.tick()
    await world.tick()
    assert len(world.asked) == 1, "not at once"
    assert "being handed to b: it " in str(world.why)
    for pause in PAUSES:
        await world.tick(later=pause)
    assert len(world.asked) == 1 + len(PAUSES)
    assert world.files() == [FILE]
    assert world.memory.counts() == {"s": 1}
    del world.answers["b"]
    await world.tick(later=PAUSES[-1])
    assert world.stored == {"b": [*ALL, "a"]}
    assert (world.files(), world.why) == ([], None)


async def test_a_lost_answer_is_asked_for_again(world: World) -> None:
    """The owner may have stored it: then it is none of its news."""
    world.leave()
    world.lost_answers = 1
    await world.tick()
    assert world.stored == {"b": ALL}
    assert world.files() == [FILE], "nobody has said that it is stored"
    await world.tick(later=PAUSES[0])
    assert world.stored == {"b": ALL}
    assert world.files() == []


async def test_a_file_that_cannot_be_removed_is_handed_again_and_holds_up_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.owners["t"] = a_host("c")
    world.leave()
    other, remove = world.leave("t"), Path.unlink

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        assert missing_ok
        if path.name == FILE:
            raise OSError(errno.EIO, "the disk has an error")
        remove(path)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", unlink)
        await world.tick()
    assert world.files() == [FILE]
    assert not other.exists()
    await world.tick(later=PAUSES[0])
    assert world.stored == {"b": ALL, "c": ALL}
    assert world.files() == []


@pytest.mark.parametrize("other", ["b", "c"])
async def test_a_file_that_cannot_be_read_now_holds_up_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    world.owners["t"] = a_host(other)
    path = world.leave()
    world.leave(generation=4, events=[Event(seq=1, at=2.0, body=message(4))])
    world.leave("t", events=[Event(seq=1, at=2.0, body=message(9))])
    world.memory.keep([record("a")])
    said: list[str] = []
    sink = logger.add(said.append, format="{extra[event]} {extra[file]}", level="ERROR")
    with monkeypatch.context() as refused:
        refuse(refused, path, errno.EACCES)
        for pause in (0.0, *PAUSES):
            await world.tick(later=pause)
    logger.remove(sink)
    stored = [it for one in world.stored.values() for it in one]
    assert sorted(stored) == ["a", "false_49170@c.us_4", "false_49170@c.us_9"]
    assert world.files() == [FILE]
    assert f"those in {FILE} below `workers`" in str(world.why)
    assert "not all of that can be read" in str(world.why)
    assert said == [f"file_unreadable {path}\n"]
    await world.tick(later=PAUSES[-1])
    assert world.stored["b"][-2:] == ALL
    assert (world.files(), world.why) == ([], None)


async def test_a_file_of_no_worker_holds_up_nothing_else(world: World) -> None:
    world.owners["t"] = a_host("b")
    odd = world.workers / f"{layout.key('s')}.x.unstored"
    odd.write_bytes(b"")
    world.leave()
    world.leave("t")
    world.memory.keep([record("a")])
    await world.tick()
    assert [session for _, session, _ in world.asked] == ["s", "s", "t"]
    assert world.files() == [odd.name]
    await world.tick()
    assert odd.name in str(world.why)


async def test_a_file_whose_state_cannot_be_read_holds_up_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.owners["t"] = a_host("c")
    path = world.leave()
    world.leave("t")
    with monkeypatch.context() as hidden:
        hide(hidden, path, errno.EIO)
        await world.tick()
    assert world.stored == {"c": ALL}
    await world.tick(later=PAUSES[0])
    assert world.stored == {"c": ALL, "b": ALL}


async def test_a_folder_that_cannot_be_read_now_holds_up_nothing_in_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answers["b"] = 503
    world.leave()
    for _ in range(2):
        await world.tick()
    assert FILE in str(world.why)
    world.owners["t"] = a_host("c")
    world.memory.keep([record("a", "t")])

    def scandir(_: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as refused:
        refused.setattr(os, "scandir", scandir)
        await world.tick()
    assert world.stored == {"c": ["a"]}
    assert FILE in str(world.why), "it has not gone away"


async def test_an_owner_that_dies_in_between_is_followed_by_the_next(world: World) -> None:
    world.leave()
    world.answers["b"] = None
    await world.tick()
    world.owners["s"] = None
    await world.tick()
    assert "which wait until a host owns it" in str(world.why)
    world.owners["s"] = a_host("c")
    await world.tick()
    assert world.stored == {"c": ALL}
    assert world.files() == []


async def test_a_session_that_comes_back_meanwhile_has_a_worker_that_reports_it(
    world: World,
) -> None:
    world.leave()
    world.meanwhile = lambda: world.ours.add("s")
    await world.tick()
    assert world.files() == [FILE], "its worker may be about to read it"
    await world.tick(later=PAUSES[0])
    assert len(world.asked) == 1
    assert world.why is None


async def test_what_a_worker_has_left_meanwhile_is_not_removed(world: World) -> None:
    later = [Event(seq=1, at=2.0, body=message(9))]
    world.leave()
    world.meanwhile = lambda: world.leave(events=later) if not world.stored else None
    await world.tick()
    assert world.files() == [FILE]
    await world.tick()
    assert world.stored == {"b": [*ALL, "false_49170@c.us_9"]}
    assert world.files() == []


async def test_a_worker_that_ends_may_still_write(world: World) -> None:
    world.leave()
    pid = os.getpid()
    path = world.workers / f"{layout.key('s')}.json"
    living = WorkerRecord(
        protocol=PROTOCOL,
        pid=pid,
        start_time=procfs.start_time(pid) or 0,
        boot_id=procfs.boot_id(),
        instance="i",
        session="s",
        generation=3,
        profile="p",
        socket="s",
    )
    path.write_bytes(msgspec.json.encode(living))
    world.owners["t"] = a_host("b")
    world.leave("t")
    for _ in range(2):
        await world.tick()
    assert [session for _, session, _ in world.asked] == ["t"], "of the others it is asked"
    assert "its worker here has not ended" in str(world.why)
    path.write_bytes(msgspec.json.encode(replace_start(living)))
    await world.tick(later=PAUSES[0])
    assert [session for _, session, _ in world.asked] == ["t", "s"]


async def test_a_worker_of_which_nothing_can_be_read_now_may_live(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.leave()
    world.memory.keep([record("a", "t")])
    world.owners["t"] = a_host("c")
    it = WorkerRecord(
        protocol=PROTOCOL,
        pid=1,
        start_time=1,
        boot_id=procfs.boot_id(),
        instance="i",
        session="s",
        generation=3,
        profile="p",
        socket="s",
    )
    (world.workers / f"{layout.key('s')}.json").write_bytes(msgspec.json.encode(it))

    def living(_: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as lacking:
        lacking.setattr(procfs, "living", living)
        await world.tick()
    assert world.stored == {"c": ["a"]}
    assert world.files() == [f"{layout.key('s')}.3.unstored", f"{layout.key('s')}.json"]
    await world.tick(later=PAUSES[0])
    assert world.stored["b"] == ALL


def replace_start(it: WorkerRecord) -> WorkerRecord:
    return msgspec.structs.replace(it, start_time=1)


async def test_what_the_owner_never_takes_is_quarantined(world: World) -> None:
    world.answers["b"] = 422
    world.leave()
    content = (world.workers / FILE).read_bytes()
    world.memory.keep([record("a")])
    await world.tick()
    one, two = world.files()
    assert (world.workers / one).read_bytes() == content
    assert one.startswith(f"{FILE}.")
    assert b"message_received" in (world.workers / two).read_bytes()
    assert not world.memory.counts()
    assert f"no host takes are kept in {one}, {two}" in str(world.why)
    world.leave()
    await world.tick()
    assert len(world.files()) == 3, "none takes the place of another one"


async def test_who_runs_another_version_may_read_it_later(world: World) -> None:
    world.owners["s"] = replace(a_host("b"), version="0.0.1")
    world.answers["b"] = 400
    world.leave()
    await world.tick()
    await world.tick()
    assert world.files() == [FILE]
    assert "runs a version of waguard that does not take them" in str(world.why)
    world.owners["s"] = a_host("b")
    await world.tick(later=PAUSES[-1])
    assert world.files() != [FILE], "of this version it never will"


async def test_what_cannot_be_read_is_quarantined(world: World) -> None:
    (world.workers / FILE).write_bytes(b"\xc1")
    await world.tick()
    assert not world.asked
    assert world.files() == [f"{FILE}.unreadable"]
    assert f"{FILE}.unreadable" in str(world.why)
    (world.workers / f"{FILE}.unreadable").unlink()
    await world.tick()
    assert world.why is None


async def test_what_is_of_no_session_stays(world: World) -> None:
    """On one host alone nobody reads it either."""
    world.leave("gone")
    world.leave("deleted")
    world.owners["deleted"] = None
    world.deleted.add("deleted")
    for _ in range(2):
        await world.tick()
    assert len(world.files()) == 2
    assert "whose session is not there any more: they stay there" in str(world.why)
    assert not world.asked


async def test_what_a_lost_lease_left_behind_is_shown_for_its_day(world: World) -> None:
    """The keeper of the lease has begun that condition, and ends it."""
    lost = world.why = "the waguard on beta lost its lease"
    await world.tick()
    world.answers["b"] = 503
    world.leave()
    for _ in range(2):
        await world.tick()
    assert world.why == lost
    world.why = None  # its day is over
    await world.tick()
    assert "being handed to b" in str(world.why)
    world.answers.clear()
    await world.tick(later=sum(PAUSES))
    assert world.why is None


async def test_what_is_in_memory_of_a_deleted_session_is_quarantined(world: World) -> None:
    """Its events would be left until a restart, which forgets them."""
    world.memory.keep([record("a", "gone"), record("b", "deleted"), record("c", "new")])
    world.owners["deleted"] = None
    world.deleted.add("deleted")
    world.ours.add("new")  # and not read yet
    await world.tick()
    assert world.memory.counts()["gone"] == 1, "it may be a moment between two rows"
    await world.tick()
    [file] = world.files()
    assert file.startswith(f"{layout.key('gone')}.memory.")
    kept = msgspec.msgpack.decode((world.workers / file).read_bytes(), type=list[InboxRecord])
    assert kept == [record("a", "gone")]
    assert world.memory.counts() == {"deleted": 1, "new": 1}
    assert "events that no host takes are kept in" in str(world.why)
    assert not world.asked


async def test_a_session_that_is_in_the_next_reading_again_keeps_its_events(world: World) -> None:
    world.memory.keep([record("a", "x")])
    for owner in (None, a_host("b"), None):
        world.owners = {"s": a_host("b"), **({"x": owner} if owner else {})}
        world.answers["b"] = 503
        await world.tick()
    assert world.memory.counts() == {"x": 1}
    assert world.files() == []


async def test_while_the_owners_are_not_known_nothing_is_handed(world: World) -> None:
    world.leave()
    world.known = False
    await world.tick()
    assert (world.asked, world.why) == ([], None)


async def test_what_this_host_owns_is_its_workers_to_report(world: World) -> None:
    world.ours.add("s")
    world.leave()
    world.memory.keep([record("a")])
    for _ in range(2):
        await world.tick()
    assert (world.asked, world.why) == ([], None)
    assert world.files() == [FILE]


async def test_no_session_waits_for_anothers_owner(world: World) -> None:
    for session, host in (("a", "b"), ("b", "b"), ("c", "c")):
        world.owners[session] = a_host(host)
        world.leave(session)
    world.answers["b"] = None
    await world.tick()
    assert [(host, session) for host, session, _ in world.asked] == [("b", "a"), ("c", "c")]


async def test_a_large_one_goes_in_parts_and_none_goes_alone(world: World) -> None:
    """Where a later part is not taken, all of it is handed again."""
    many = [Event(seq=it, at=1.0, body=message(it)) for it in range(1, 1_201)]
    world.leave(events=many)

    def refuse_the_third() -> None:
        world.answers["b"] = 503 if len(world.asked) == 3 else 200

    world.meanwhile = refuse_the_third
    await world.tick()
    assert len(world.stored["b"]) == 1_000
    assert world.files() == [FILE]
    await world.tick(later=PAUSES[0])
    assert len(world.stored["b"]) == 1_200
    assert len(world.asked) == 6
    assert world.files() == []


async def test_one_that_is_refused_keeps_none_of_the_others_from_its_owner(world: World) -> None:
    many = [Event(seq=it, at=1.0, body=message(it)) for it in range(1, 1_201)]
    world.leave(events=many)

    def refuse_the_second() -> None:
        world.answers["b"] = 422 if len(world.asked) == 2 else 200

    world.meanwhile = refuse_the_second
    await world.tick()
    assert len(world.stored["b"]) == 700
    [found] = world.files()
    assert found.endswith(".untaken")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    with small_disk(tmp_path / "disk", 64 << 10) as mounted:
        yield mounted


async def test_a_full_disk_loses_nothing(disk: Path) -> None:
    world = World(disk)
    world.leave()
    world.memory.keep([record("a")])
    filler = disk / "filler"
    filler.write_bytes(bytes((64 << 10) - 3 * 4096))
    with filler.open("ab") as file:
        while True:
            try:
                os.write(file.fileno(), bytes(4096))
            except OSError:
                break
    world.answers["b"] = 422
    await world.tick()
    assert world.memory.counts() == {"s": 1}, "there is no room to quarantine it"
    await world.tick()
    assert "1 in memory" in str(world.why)
    del world.answers["b"]
    await world.tick(later=PAUSES[-1])
    assert world.stored == {"b": ["a"]}
    assert not world.memory.counts()
