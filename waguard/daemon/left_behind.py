"""What a host of a cluster has received of sessions that other hosts own now, and nobody has stored: it hands that to them.

One part at a time, in the order of its coming. Nothing is removed before its owner has said that it is stored; what no owner
ever takes is quarantined.
"""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from loguru import logger
from msgspec import Struct

from waguard import __version__
from waguard.api.host_calls import AnsweredError
from waguard.api.left_events import PATH
from waguard.core.cluster import left_events as left_by
from waguard.core.cluster.left_events import Answer, Failure, Left
from waguard.core.cluster.records import HostRecord, Owner
from waguard.core.messages.inbox import InboxRecord
from waguard.daemon import left_memory
from waguard.errors import UnavailableError
from waguard.host import small_file
from waguard.host.process import procfs
from waguard.host.process.children import read_records
from waguard.host.small_file import UnreadableError
from waguard.messaging.left_events import LeftEvents
from waguard.ports.clock import Clock
from waguard.profile import layout
from waguard.supervision.outages import Outages
from waguard.wire.events import Event
from waguard.wire.left_events import parts_of
from waguard.wire.worker import WorkerRecord
from waguard.worker.link.unstored import SUFFIX, UnstoredEvents, generation_of

EVERY: Final = 5.0  # s
ANSWERED_WITHIN: Final = 30.0  # s; longer than its owner waits for the database
UNTAKEN: Final = ".untaken"
_GOES_ON: Final = frozenset({Answer.STORED, Answer.REFUSED, Answer.UNUSABLE})
_NOT_TAKEN: Final = (UNTAKEN, *(f"{it}{small_file.SUFFIX}" for it in (SUFFIX, left_memory.SUFFIX)))


class Whose(Struct, frozen=True):
    """Who owns sessions now."""

    rows: Callable[[], Mapping[str, Owner] | None]
    """The owners of all sessions; None, or none: they are not known now."""
    is_ours: Callable[[str], bool]
    """Whether this host has it to run: then its next worker here reports what is left of it."""
    owner: Callable[[str], HostRecord | None]
    """The other living host that owns it; None: there is none."""


class Asking(Protocol):
    """Asks other hosts, as ``api.host_calls`` does."""

    async def own(
        self, method: str, target: str, to: str, body: object = None, *, within: float
    ) -> Any:
        """The answer. Raises ``UnavailableError``, ``AnsweredError``."""


class LeftBehind:
    """Call ``tick`` each ``EVERY``. ``workers``: where workers leave files of what nobody has stored; ``memory``: what the
    inbox was refused."""

    def __init__(
        self,
        workers: Path,
        memory: LeftEvents,
        whose: Whose,
        calls: Asking,
        outages: Callable[[], Outages],
        clock: Clock,
    ) -> None:
        self._workers = workers
        self._memory = memory
        self._whose = whose
        self._calls = calls
        self._outages = outages
        self._clock = clock
        self._failures: dict[str, Failure] = {}
        """By session, the last attempt that failed."""
        self._before: set[str | None] = set()
        """Sessions of which something was left at the last tick, too."""
        self._shows = False
        """Whether the condition is this one's."""
        self._without_row: set[str] = set()
        """Sessions with something in memory that were in no row at the last tick."""
        self._unread: dict[str, str] = {}
        """Files that cannot be read now, and why."""
        self._there: list[str] = []
        """The names of all files, as they were read last."""
        self._living: set[str] = set()
        """The keys of workers that live: one that ends may still write its file."""

    async def tick(self) -> None:
        """Hand over what is due, and renew the condition: of what was there at the last tick, too."""
        rows = self._whose.rows()
        if not rows:  # they are not read yet, or this host may not ask now
            return
        self._quarantine_deleted(rows)
        silent: set[str] = set()  # no other session waits for an owner that does not answer
        names = self._names()
        if left := self._left(names):
            self._living = await asyncio.to_thread(_living, self._workers)
            for it in left:
                await self._hand_over(it, silent)
            names = self._names()
            left = self._left(names)
        self._unread = {it: why for it, why in self._unread.items() if it in names}
        lasting = [it for it in left if it.session in self._before]
        self._before = {it.session for it in left}
        self._failures = {it: one for it, one in self._failures.items() if it in self._before}
        self._show(
            left_by.left_behind_words(lasting, [it for it in names if it.endswith(_NOT_TAKEN)])
        )

    def _show(self, words: str | None) -> None:
        """But what the keeper of the lease shows of the last holder: it ends that after a day."""
        outages, kind = self._outages(), "events_left_behind"
        if self._shows or outages.why(kind) is None:
            outages.update(kind, words)
            self._shows = words is not None

    # ---- what there is ----

    def _names(self) -> list[str]:
        """All files there: hundreds of workers have two each."""
        try:
            with os.scandir(self._workers) as there:
                self._there = [it.name for it in there]
        except FileNotFoundError:
            self._there = []
        except OSError as error:  # what was there still counts
            logger.debug("a folder cannot be read now", folder=str(self._workers), why=str(error))
        return self._there

    def _left(self, there: Iterable[str]) -> list[Left]:
        """By session; what its next worker here reports is left out."""
        counts, unstored = self._memory.counts(), [it for it in there if it.endswith(SUFFIX)]
        if not counts and not unstored:  # as nearly always: no digest of thousands of names
            return []
        rows = self._whose.rows() or {}
        names = {layout.key(name): name for name, it in rows.items() if not it.deleted}
        files: dict[str | None, list[str]] = {}
        for file in unstored:
            files.setdefault(names.get(file.partition(".")[0]), []).append(file)
        found = {name for name in (*counts, *files) if name and not self._whose.is_ours(name)}
        left = [self._of(name, counts.get(name, 0), files.get(name, ())) for name in sorted(found)]
        if unknown := files.get(None):
            left.append(Left(session=None, files=tuple(sorted(unknown))))
        return left

    def _of(self, session: str, count: int, files: Iterable[str]) -> Left:
        owner = self._whose.owner(session)
        return Left(
            session=session,
            count=count,
            files=tuple(sorted(files)),
            owner=owner.host if owner else None,
            failure=self._failures.get(session),
        )

    # ---- handing over ----

    async def _hand_over(self, it: Left, silent: set[str]) -> None:
        session = it.session
        owner = self._whose.owner(session) if session else None
        if session is None or owner is None or owner.host in silent:
            return
        now = self._clock.monotonic()
        if not left_by.is_due(it.failure, owner.host, now):
            return
        answer = await self._hand_all(session, it.files, owner)
        if answer is Answer.STORED:
            self._failures.pop(session, None)
            return
        if answer is Answer.AWAY:
            silent.add(owner.host)
        after = left_by.failed(it.failure, owner.host, answer, self._clock.monotonic())
        self._failures[session] = after

    async def _hand_all(self, session: str, files: Iterable[str], owner: HostRecord) -> Answer:
        """``STORED``: nothing is left to hand over. What cannot be used here holds up none of the rest."""
        answers = [Answer.STORED]
        for file in files:
            answers.append(await self._hand_file(session, file, owner))
            if answers[-1] not in _GOES_ON:
                return answers[-1]
        if records := self._memory.of(session):
            answers.append(await self._hand_memory(session, records, owner))
            if answers[-1] not in _GOES_ON:
                return answers[-1]
        return Answer.UNUSABLE if Answer.UNUSABLE in answers else Answer.STORED

    async def _hand_file(self, session: str, name: str, owner: HostRecord) -> Answer:
        path = self._workers / name
        key, generation = name.partition(".")[0], generation_of(path)
        if key in self._living:
            return Answer.RUNS
        if generation is None:
            self._report_unread(name, "no worker gives a file such a name")
            return Answer.UNUSABLE
        try:
            seen = _identity(path)
            file = UnstoredEvents(self._workers / f"{key}.json", generation)
            events = await asyncio.to_thread(file.read)  # what is damaged is quarantined
            self._unread.pop(name, None)
            answer = await self._hand(session, generation, owner, events=events)
            if answer not in {Answer.STORED, Answer.REFUSED}:
                return answer
            # a session that came back has a worker, which may have left a newer one
            if seen is None or _identity(path) != seen or self._whose.is_ours(session):
                return answer
        except (OSError, UnreadableError) as error:
            self._report_unread(name, str(error))
            return Answer.UNUSABLE
        if answer is Answer.REFUSED:
            quarantined = path.with_name(f"{name}.{seen[0]}{UNTAKEN}")
            if not self._quarantine(session, owner.host, lambda: path.rename(quarantined)):
                return Answer.UNUSABLE
        else:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # it is handed again, and is no news
                logger.error(
                    "not removed", event="file_not_moved", file=str(path), why=error.strerror
                )
                return Answer.UNUSABLE
            self._report(session, owner, len(events))
        return answer

    async def _hand_memory(
        self, session: str, records: Sequence[InboxRecord], owner: HostRecord
    ) -> Answer:
        answer = await self._hand(session, None, owner, records=records)
        if answer is Answer.REFUSED and not self._quarantine_memory(session, records, owner.host):
            return Answer.UNUSABLE
        if answer is Answer.STORED:
            self._memory.remove(session, records)
            self._report(session, owner, len(records))
        return answer

    async def _hand(
        self,
        session: str,
        generation: int | None,
        owner: HostRecord,
        *,
        events: Sequence[Event] = (),
        records: Sequence[InboxRecord] = (),
    ) -> Answer:
        """What the owner made of all of them. One part that is refused keeps none of the others from it."""
        refused = False
        parts = parts_of(events, records)
        while part := await asyncio.to_thread(next, parts, None):
            answer = await self._ask(session, generation, part, owner)
            if answer is Answer.REFUSED:
                refused = True
            elif answer is not Answer.STORED:
                return answer
        return Answer.REFUSED if refused else Answer.STORED

    async def _ask(
        self, session: str, generation: int | None, part: bytes, owner: HostRecord
    ) -> Answer:
        body = await asyncio.to_thread(_body, session, generation, part)
        status: int | None
        try:
            await self._calls.own("POST", PATH, owner.address, body, within=ANSWERED_WITHIN)
            status = 200
        except AnsweredError as error:
            status = error.answer
        except UnavailableError as error:
            logger.debug("no answer of another host", to=owner.address, why=error.message)
            status = None
        return left_by.answer_of(status, same_version=owner.version == __version__)

    # ---- what becomes of it ----

    def _quarantine_deleted(self, rows: Mapping[str, Owner]) -> None:
        """What is in memory of sessions that nobody will own any more: a restart would forget it."""
        counts = self._memory.counts()
        gone = {it for it in counts.keys() - rows.keys() if not self._whose.is_ours(it)}
        for session in gone & self._without_row:
            self._quarantine_memory(session, self._memory.of(session), None)
        self._without_row = gone

    def _quarantine_memory(
        self, session: str, records: Sequence[InboxRecord], owner: str | None
    ) -> bool:
        name = f"{layout.key(session)}.memory.{self._clock.wall():.0f}{UNTAKEN}"
        if not self._quarantine(session, owner, lambda: _write_new(self._workers / name, records)):
            return False
        self._memory.remove(session, records)
        return True

    def _quarantine(self, session: str, owner: str | None, do: Callable[[], object]) -> bool:
        try:
            do()
        except OSError as error:
            logger.error(
                "not quarantined", event="file_not_moved", file=session, why=error.strerror
            )
            return False
        logger.error(
            "no host takes what was received of this session here: it is quarantined",
            event="left_events_untaken",
            session=session,
            owner=owner,
        )
        return True

    def _report_unread(self, name: str, why: str) -> None:
        if self._unread.get(name) != why:  # it is tried again and again
            self._unread[name] = why
            logger.error(
                "a file of events cannot be read now; it is tried again",
                event="file_unreadable",
                file=str(self._workers / name),
                why=why,
            )

    def _report(self, session: str, owner: HostRecord, count: int) -> None:
        logger.info(
            "what was received here is stored by another host",
            event="left_events_handed",
            session=session,
            owner=owner.host,
            count=count,
        )


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What another file of this name does not have; None: there is none."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None


def _living(workers: Path) -> set[str]:
    return {path.stem for path, it in read_records(workers) if _may_live(it)}


def _may_live(it: WorkerRecord) -> bool:
    try:
        return procfs.is_same(it.pid, it.start_time, it.boot_id)
    except OSError:  # this host may lack the descriptor to read it
        return True


def _body(session: str, generation: int | None, part: bytes) -> bytes:
    content = base64.b64encode(part).decode()
    return json.dumps({"session": session, "generation": generation, "content": content}).encode()


def _write_new(path: Path, records: Iterable[InboxRecord]) -> None:
    with path.open("xb") as file:
        file.write(msgspec.msgpack.encode(list(records)))
