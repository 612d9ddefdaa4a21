"""An engine of hosts' leases in memory, with the bad manners of a real one: writes that are lost, late or take place
unheard, a connection that hangs, a watch that stalls or breaks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from waguard.core.cluster.records import Found, HostRecord
from waguard.core.replace import replace
from waguard.errors import EngineUnavailableError

DEADLINE: Final = 1.0  # s; the adapters' own


@dataclass
class Engine:
    """What all hosts see. Revisions are of the whole, as in etcd."""

    records: dict[str, Found] = field(default_factory=dict)
    revision: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    writes: int = 0

    async def write(self, record: HostRecord, revision: int) -> int | None:
        """Compare and set."""
        found = self.records.get(record.host)
        if (found.revision if found else 0) != revision:
            return None
        self.revision += 1
        self.writes += 1
        self.records[record.host] = Found(record, self.revision)
        async with self.news:
            self.news.notify_all()
        return self.revision

    async def delete(self, host: str, revision: int) -> bool:
        """Compare and delete."""
        found = self.records.get(host)
        if found is None or found.revision != revision:
            return False
        self.revision += 1
        del self.records[host]
        async with self.news:
            self.news.notify_all()
        return True

    async def declare_dead(self, host: str) -> None:
        """As another host does."""
        found = self.records[host]
        assert await self.write(replace(found.record, alive=False), found.revision)

    def of(self, host: str) -> HostRecord:
        """The record of a host that has one."""
        return self.records[host].record


@dataclass
class EngineLine:
    """``ports.cluster.HostLeases`` as one host reaches it. Faults hold until they are changed; ``next_puts`` has one for
    each of the next writes."""

    engine: Engine
    cut: bool = False
    """Nothing arrives, and nobody says so: each call ends with its deadline."""
    refused: bool = False
    """The port is closed: each call fails at once."""
    stale: bool = False
    """The watch reports nothing, and is not broken."""
    unlisted: bool = False
    """What is of all hosts fails at once; the own lease can be read and written."""
    next_puts: list[str] = field(default_factory=list)
    """``lost``, ``unheard`` (it takes place, the answer is lost), or seconds after which it takes place, answered then
    or past the deadline."""
    watches: int = 0
    """How often a watch was begun."""
    late: set[asyncio.Task[int | None]] = field(default_factory=set)
    closed: bool = False

    async def read(self, host: str) -> Found | None:
        await self._connect()
        return self.engine.records.get(host)

    async def hosts(self) -> Sequence[Found]:
        await self._connect()
        self._require_list()
        return list(self.engine.records.values())

    async def put(self, record: HostRecord, revision: int) -> int | None:
        await self._connect()
        match self.next_puts.pop(0) if self.next_puts else "":
            case "":
                return await self.engine.write(record, revision)
            case "lost":
                await self._unanswered()
            case "unheard":
                await self.engine.write(record, revision)
                await self._unanswered()
            case seconds:
                task = asyncio.create_task(self._late(record, revision, float(seconds)))
                self.late.add(task)
                task.add_done_callback(self.late.discard)
                done, _ = await asyncio.wait([task], timeout=DEADLINE)
                if done:
                    return task.result()
        raise EngineUnavailableError("no answer within 1 s")

    async def delete(self, host: str, revision: int) -> bool:
        await self._connect()
        return await self.engine.delete(host, revision)

    async def changes(self) -> AsyncIterator[Sequence[Found]]:
        self.watches += 1
        await self._connect()
        self._require_list()
        yield list(self.engine.records.values())
        while True:
            async with self.engine.news:
                await self.engine.news.wait()
            if self.cut or self.refused:
                raise EngineUnavailableError("the watch was cut off")
            if not self.stale:
                yield list(self.engine.records.values())

    async def close(self) -> None:
        self.closed = True

    async def break_watch(self) -> None:
        """Its connection is reset; the next one works."""
        self.refused = True
        async with self.engine.news:
            self.engine.news.notify_all()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.refused = False

    def _require_list(self) -> None:
        if self.unlisted:
            raise EngineUnavailableError("it answers nothing about all hosts")

    async def _late(self, record: HostRecord, revision: int, seconds: float) -> int | None:
        await asyncio.sleep(seconds)
        return await self.engine.write(record, revision)

    async def _connect(self) -> None:
        await asyncio.sleep(0.01)
        if self.refused:
            raise EngineUnavailableError("connection refused")
        if self.cut:
            await self._unanswered()

    async def _unanswered(self) -> None:
        await asyncio.sleep(DEADLINE)
        raise EngineUnavailableError("no answer within 1 s")
