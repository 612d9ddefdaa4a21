"""Issued keys that all hosts accept: a table of the database has them, each host reads it, and is notified of a change at once.

Only in a cluster. While the database is away, what is known stays valid, and what is revoked is refused: here at once, by every
other host as it is notified; the table has it when the database is back, for the host's own file keeps it until then.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from loguru import logger

from waguard.api.host_calls import HostCalls
from waguard.api.key_table import IssuedKeys, require_free
from waguard.core.cluster import shared_keys
from waguard.core.issued_keys import IssuedKey
from waguard.core.replace import replace
from waguard.errors import DatabaseUnavailableError, UnavailableError, WaguardError
from waguard.ports.cluster import KeyRows

READ_EVERY: Final = 2.0  # s; the revision, one row
READ_WHOLE_EVERY: Final = 30  # of those: all keys, and when they were last used
NOTIFIED_WITHIN: Final = 3.0  # s that another host has to answer
WRITTEN_WITHIN: Final = 3.0  # s that a reply waits for the table
DATABASE: Final = "the database"
"""Stands for the table among the hosts that do not know of a revocation yet; no host has a name with a space."""
NOTICE: Final = "/api/cluster/keys"
RETRY_AFTER: Final = 5.0  # s


class SharedKeys:
    """``issued`` are this host's; all calls are of the event loop."""

    def __init__(
        self,
        issued: IssuedKeys,
        rows: KeyRows,
        calls: HostCalls,
        *,
        every: float = READ_EVERY,
        notified_within: float = NOTIFIED_WITHIN,
        written_within: float = WRITTEN_WITHIN,
    ) -> None:
        self._issued = issued
        self._rows = rows
        self._calls = calls
        self._every = every
        self._notified_within = notified_within
        self._written_within = written_within
        self._turn = asyncio.Lock()
        self._seen: int | None = None
        """The revision that was read last."""
        self._beats = 0
        self._is_due = True
        """Whether the table or the file may lack what is known here."""
        issued.share = self._publish

    async def run(self) -> None:
        """Return never."""
        while True:
            try:
                await self.beat()
            except WaguardError as error:
                logger.debug("keys are not read", why=error.message)
            except Exception as error:  # noqa: BLE001 - a revoked key must not stay valid here for it
                logger.opt(exception=error).critical("a bug in waguard", event="bug", call="keys")
            await asyncio.sleep(self._every)

    async def beat(self) -> None:
        """Read what changed, and write what was not written. Raises ``DatabaseUnavailableError``."""
        whole = self._beats % READ_WHOLE_EVERY == 0
        if whole or self._is_due or await self._rows.revision() != self._seen:
            await self.read()
        self._beats += 1

    async def read(self) -> None:
        """Have memory and table know the same. Raises ``DatabaseUnavailableError``."""
        await self._read()
        await self._issued.save()

    async def learn(self) -> None:
        """See ``KeySharing``. Raises ``DatabaseUnavailableError``."""
        await self._read()
        self._is_due = True

    async def _read(self) -> None:
        if self._issued.unreadable:  # it may have revoked what the table has as valid
            return
        async with self._turn:
            self._is_due = False  # what becomes known meanwhile is written by the next one
            try:
                await self._exchange()
            except BaseException:
                self._is_due = True
                raise

    async def _exchange(self) -> None:
        self._seen, rows = await self._rows.keys()
        self._learn(rows)
        if shared_keys.unsent(rows, self._issued.known.values()):
            self._seen, rows = await self._rows.exchange(self._missing)
            self._learn(rows)
        if used := shared_keys.used(rows, self._issued.known.values()):
            await self._rows.use(used)

    async def spread(self, key: IssuedKey) -> list[str]:
        """See ``KeySharing``."""
        self._is_due = True
        said = {"sha256": key.sha256, "by": key.ended_by}
        silent, is_written = await asyncio.gather(
            self._notify(self._calls.living(lapsed=True), said), self._is_written()
        )
        return silent if is_written else [*silent, DATABASE]

    async def announce(self) -> None:
        """See ``KeySharing``."""
        self._is_due = True  # the table may lack a page's key
        await self._notify(self._calls.living(), {})

    def end(self, sha256: str, by: str) -> None:
        """Another host has revoked it."""
        self._is_due = True
        for key in [it for it in self._issued.known.values() if it.sha256 == sha256]:
            self._issued.end(key, by=by)

    async def _is_written(self) -> bool:
        """Whether the table has what is known here. Else its own file keeps that, and each beat tries to write it."""
        try:
            async with asyncio.timeout(self._written_within):
                await self._read()
        except (DatabaseUnavailableError, TimeoutError):
            return False
        return True

    async def _publish(self, key: IssuedKey) -> None:
        """Raises ``ConflictError``, ``UnavailableError``. A page's key does without the database."""
        may_be_there = False

        def with_it(rows: Sequence[IssuedKey]) -> Sequence[IssuedKey]:
            nonlocal may_be_there
            self._learn(rows)
            if any(row.id == key.id for row in rows):
                raise UnavailableError("the id of the key is taken", retry_after=RETRY_AFTER)
            require_free(self._issued.known.values(), key.name, for_page=key.for_page)
            may_be_there = True
            return [*self._missing(rows), key]

        try:
            async with self._turn:
                self._seen, rows = await self._rows.exchange(with_it)
                self._learn(rows)
        except asyncio.CancelledError:
            if may_be_there:
                self._withdraw(key)
            raise
        except DatabaseUnavailableError as error:
            if key.for_page:
                return  # who looks at it wants to know what is wrong: it is this host's until then
            if may_be_there:
                self._withdraw(key)
            raise UnavailableError(
                f"no key is made while the database is away, where all hosts find it: {error.message}",
                remedy="repeat it; keys that are known stay valid",
                retry_after=RETRY_AFTER,
            ) from None

    def _withdraw(self, key: IssuedKey) -> None:
        """The table may have a key that nobody gets: the next one who writes to it revokes that."""
        ended = replace(key, ended_at=key.created_at, ended_by=key.created_by)
        self._issued.adopt({**self._issued.known, key.id: ended})
        self._is_due = True

    async def _notify(self, hosts: Mapping[str, str], body: Mapping[str, str | None]) -> list[str]:
        """The hosts that did not answer."""
        answers = await asyncio.gather(
            *(
                self._calls.own("POST", NOTICE, to, body, within=self._notified_within)
                for to in hosts.values()
            ),
            return_exceptions=True,
        )
        failed = [name for name, it in zip(hosts, answers, strict=True) if _is_failure(it)]
        return sorted(failed)

    def _missing(self, rows: Sequence[IssuedKey]) -> Sequence[IssuedKey]:
        return shared_keys.unsent(rows, self._issued.known.values())

    def _learn(self, rows: Sequence[IssuedKey]) -> None:
        self._issued.adopt(shared_keys.learned(self._issued.known, rows))


def _is_failure(answer: object) -> bool:
    if isinstance(answer, BaseException) and not isinstance(answer, WaguardError):
        raise answer
    return isinstance(answer, WaguardError)
