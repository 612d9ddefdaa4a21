"""Issued keys that all hosts of a cluster accept: a row each, and one with the revision of all.

Who changes keys has that row locked: changes come one after the other, and whoever reads a revision has all that was
before it.

A row without a good seal is nobody's: no host accepts its key, and a host that knows the key writes what it is. But for
one that may be good for a host with another key to seal: both would write it in turns.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from loguru import logger
from sqlalchemy import Insert, Row, Update, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.cluster.shared_keys import is_seal, seal
from waguard.core.issued_keys import VERSION, IssuedKey, is_time
from waguard.core.replace import replace
from waguard.store.database import Database
from waguard.store.lease import now_of
from waguard.store.shared_models import KEY_CHANGES, SHARED_KEYS

KEPT: Final = (
    86_400.0  # s after the end of a key; no host accepts it by then, however its clock runs
)
_OWN: Final = SHARED_KEYS.c
_REVISION: Final = KEY_CHANGES.c.revision
_ROW: Final = 1


class SqlSharedKeys:
    """Fills ``ports.cluster.KeyRows``."""

    def __init__(self, database: Database, key: bytes, is_everybodys: Callable[[], bool]) -> None:
        """``key`` is what all hosts should have, ``is_everybodys`` whether no living one is known to have another."""
        self._database = database
        self._seals = key
        self._is_everybodys = is_everybodys
        self._now = now_of(database.backend)
        self._unknown: set[str] = set()

    async def revision(self) -> int:
        """See ``ports.cluster.KeyRows``."""
        async with self._database.reading() as (connection, _):
            return await connection.scalar(select(_REVISION)) or 0

    async def keys(self) -> tuple[int, Sequence[IssuedKey]]:
        """See ``ports.cluster.KeyRows``."""
        async with self._database.reading() as (connection, _):
            # before the rows: what is committed in between is read again
            revision = await connection.scalar(select(_REVISION)) or 0
            return revision, self._known(await _rows(connection))

    async def exchange(
        self, decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]]
    ) -> tuple[int, Sequence[IssuedKey]]:
        """See ``ports.cluster.KeyRows``."""
        while True:
            async with self._database.writing() as work:
                locked = select(_REVISION).where(KEY_CHANGES.c.id == _ROW).with_for_update()
                before = await work.connection.scalar(locked)
                if before is not None:
                    return await self._changed(work.connection, before, decide)
            # apart: what a duplicate locks would be in the way
            with contextlib.suppress(IntegrityError):
                async with self._database.writing() as work:
                    await work.connection.execute(insert(KEY_CHANGES).values(id=_ROW, revision=0))

    async def use(self, used: Mapping[str, float]) -> None:
        """See ``ports.cluster.KeyRows``."""
        async with self._database.writing() as work:
            for sha256, at in sorted(used.items()):
                is_earlier = or_(_OWN.used_at.is_(None), _OWN.used_at < at)
                later = update(SHARED_KEYS).where(_OWN.sha256 == sha256, is_earlier)
                await work.connection.execute(later.values(used_at=at))

    async def _changed(
        self,
        connection: AsyncConnection,
        before: int,
        decide: Callable[[Sequence[IssuedKey]], Sequence[IssuedKey]],
    ) -> tuple[int, Sequence[IssuedKey]]:
        rows = await _rows(connection)
        known, there = self._known(rows), {row.sha256: row for row in rows}
        writes = [self._write(it, there.get(it.sha256)) for it in decide(known)]
        if not any(it is not None for it in writes):
            return before, known
        for write in writes:
            if write is not None:
                await connection.execute(write)
        await connection.execute(delete(SHARED_KEYS).where(_OWN.expires_at < self._now - KEPT))
        # by the clock, so that one does not come back either when the database was put back from a copy
        revision = max(before + 1, int(self._database.wall() * 1_000_000))
        await connection.execute(update(KEY_CHANGES).values(revision=revision))
        return revision, self._known(await _rows(connection))

    def _write(self, it: IssuedKey, row: Row[Any] | None) -> Insert | Update | None:
        """What has the table know of the key; None: there is nothing to write."""
        if row is None:
            return insert(SHARED_KEYS).values(self._values(it))
        same = update(SHARED_KEYS).where(_OWN.sha256 == it.sha256)
        if self._is_sealed(row):
            if it.ended_at is None or row.ended_at is not None:
                return None
            end = {"ended_at": it.ended_at, "ended_by": it.ended_by}
            return same.values(seal=self._seal(row.record, row.version, **end), **end)
        # of a newer version it is not known here how it is sealed
        is_ours = row.version == VERSION and self._is_everybodys()
        return same.values(self._values(it)) if is_ours else None

    def _known(self, rows: Iterable[Row[Any]]) -> list[IssuedKey]:
        return [key for row in rows if (key := self._key(row))]

    def _key(self, row: Row[Any]) -> IssuedKey | None:
        """None: nobody may use it here. A newer waguard has made it, and its limits are not known; or no host of this
        cluster has."""
        why = None
        try:
            key = msgspec.json.decode(row.record, type=IssuedKey)
        except (msgspec.MsgspecError, RecursionError):
            key = None
        if key is None or row.version != VERSION or key.sha256 != row.sha256:
            why = "it is not of this version"
        elif not self._is_sealed(row):
            why = "it has no seal of a host that has the same cluster.key_file"
        if key is None or why:
            if row.id not in self._unknown:
                self._unknown.add(row.id)
                logger.warning(
                    "an issued key is unknown here", event="key_unknown", key=row.id, why=why
                )
            return None
        used_at = row.used_at if row.used_at is not None and is_time(row.used_at) else None
        return replace(key, ended_at=row.ended_at, ended_by=row.ended_by, used_at=used_at)

    def _is_sealed(self, row: Row[Any]) -> bool:
        end = {"ended_at": row.ended_at, "ended_by": row.ended_by}
        return is_seal(row.seal, self._seal(row.record, row.version, **end))

    def _seal(self, record: str, version: int, **end: Any) -> str:
        return seal(record, version=version, key=self._seals, **end)

    def _values(self, it: IssuedKey) -> dict[str, Any]:
        # ASCII alone: a column of the database may have any character set
        record = json.dumps(msgspec.to_builtins(replace(it, ended_at=None, ended_by=None)))
        end = {"ended_at": it.ended_at, "ended_by": it.ended_by}
        return {
            "sha256": it.sha256,
            "id": it.id,
            "version": VERSION,
            "record": record,
            "expires_at": it.expires_at,
            "used_at": it.used_at,
            "seal": self._seal(record, VERSION, **end),
            **end,
        }


async def _rows(connection: AsyncConnection) -> Sequence[Row[Any]]:
    return (await connection.execute(select(SHARED_KEYS).order_by(_OWN.id))).all()
