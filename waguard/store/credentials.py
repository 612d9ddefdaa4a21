"""Credentials for another host: ``waguard_credentials`` has what was shipped of each session, beside it the parts."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.shipping import Claim, Note, Part
from waguard.store.database import Database
from waguard.store.models import CREDENTIAL_PARTS, CREDENTIALS

_OWN: Final = CREDENTIALS.c
_PART: Final = CREDENTIAL_PARTS.c
_AT_ONCE: Final = 500  # ids in one statement


class SqlCredentials:
    """Fills ``ports.credentials.CredentialStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def shipped(self) -> set[str]:
        async with self._database.reading() as (connection, _):
            query = select(_OWN.session_id).where(_OWN.files.is_not(None))
            return set((await connection.scalars(query)).all())

    async def claim(self, session: str) -> Claim | None:
        async with self._database.reading() as (connection, _):
            query = select(CREDENTIALS).where(_OWN.session_id == session)
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        return Claim(
            note=Note(row.host, row.epoch),
            pairing=row.pairing,
            sealed=row.files,
            sealed_epoch=row.files_epoch,
            shipped_at=row.shipped_at,
            orderly=row.orderly,
        )

    async def files(self, session: str) -> set[str]:
        async with self._database.reading() as (connection, _):
            query = select(_PART.file).where(_PART.session_id == session).distinct()
            return set((await connection.scalars(query)).all())

    async def parts(self, session: str, file: str, count: int) -> Sequence[Part]:
        async with self._database.reading() as (connection, _):
            same = (_PART.session_id == session, _PART.file == file, _PART.part < count)
            query = select(CREDENTIAL_PARTS).where(*same).order_by(_PART.part)
            return [
                Part(file=row.file, number=row.part, epoch=row.epoch, sealed=row.bytes)
                for row in await connection.execute(query)
            ]

    async def put(self, session: str, parts: Sequence[Part]) -> None:
        async with self._database.writing() as work:
            await work.own(session)
            await _put(work.connection, session, parts)

    async def commit(
        self, session: str, claim: Claim, parts: Sequence[Part] = (), gone: Collection[str] = ()
    ) -> None:
        new = {
            "host": claim.note.host,
            "epoch": claim.note.epoch,
            "pairing": claim.pairing,
            "files": claim.sealed,
            "files_epoch": claim.sealed_epoch,
            "shipped_at": claim.shipped_at,
            "orderly": claim.orderly,
        }
        async with self._database.writing() as work:
            await work.own(session)
            connection = work.connection
            await _put(connection, session, parts)
            same = _OWN.session_id == session
            known = select(_OWN.session_id).where(
                same
            )  # MariaDB does not count a row that stays as it is
            if await connection.scalar(known) is None:
                await connection.execute(insert(CREDENTIALS).values(session_id=session, **new))
            else:
                await connection.execute(update(CREDENTIALS).where(same).values(new))
            ids = sorted(gone)
            for at in range(0, len(ids), _AT_ONCE):
                some = _PART.file.in_(ids[at : at + _AT_ONCE])
                await connection.execute(
                    delete(CREDENTIAL_PARTS).where(_PART.session_id == session, some)
                )


async def _put(connection: AsyncConnection, session: str, parts: Sequence[Part]) -> None:
    """What an attempt that was cut off left there is replaced."""
    first: dict[str, int] = {}
    for part in parts:
        first[part.file] = min(part.number, first.get(part.file, part.number))
    for file, number in first.items():
        same = (_PART.session_id == session, _PART.file == file, _PART.part >= number)
        await connection.execute(delete(CREDENTIAL_PARTS).where(*same))
    for part in parts:  # one by one: a server takes 1 MB in one statement at least
        row = {"file": part.file, "part": part.number, "epoch": part.epoch, "bytes": part.sealed}
        await connection.execute(insert(CREDENTIAL_PARTS).values(session_id=session, **row))
