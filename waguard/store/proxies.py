"""Which sessions have proxies of their own: ``waguard_proxies``. Their files are on the hosts."""

from sqlalchemy import insert, select, update

from waguard.core.proxy import Recorded
from waguard.store.database import Database
from waguard.store.models import PROXIES


class SqlProxies:
    """Fills ``ports.proxies.ProxyStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recorded(self) -> dict[str, Recorded]:
        async with self._database.reading() as (connection, _):
            found = await connection.execute(select(PROXIES))
            return {
                it.session_id: Recorded(mark=it.mark, at=it.at, sealed=it.sealed) for it in found
            }

    async def record(self, session: str, it: Recorded) -> None:
        new = {"mark": it.mark, "at": it.at, "sealed": it.sealed}
        same = PROXIES.c.session_id == session
        async with self._database.writing() as work:
            await work.own(session)
            # MariaDB does not count a row that stays as it is
            if await work.connection.scalar(select(PROXIES.c.mark).where(same)) is None:
                await work.connection.execute(insert(PROXIES).values(session_id=session, **new))
            else:
                await work.connection.execute(update(PROXIES).where(same).values(new))
