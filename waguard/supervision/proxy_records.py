"""Sessions' own proxies as the database knows them, so that no other host starts a session without its proxy.

Theory of operation. The proxy lies in a file of this host. The database has the file's mark, and where hosts share
credentials also the proxy, sealed. The holder of the lease, in a cluster the session's owner, alone writes there, always before it writes the file: so where
both differ, the database has the newer one. Without a key, such a session waits for a person; so does one whose file is
the newer one, because the database came back from a copy. A write without an answer may be committed: until the database
says what the file has, it is not known what it says.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.core.proxy import Proxy, Recorded, mark_of
from waguard.errors import ConfigError, NotOwnedError, WaguardError
from waguard.host.memory import proxies
from waguard.host.memory.proxies import ProxyUnreadableError
from waguard.host.small_file import UnreadableError
from waguard.ports.proxies import ProxyStore

AHEAD: Final = (
    120.0  # s of a file after what the database says: how long a write lasts, and two clocks
)
UNKNOWN: Final = "unknown"
"""The mark of a file that could not be read when it was first recorded: no file has it."""


class ProxyRecords:
    """``state``: the folder; ``key``: by which hosts share credentials, None where hosts share no credentials."""

    def __init__(
        self,
        state: Callable[[], Path],
        store: ProxyStore,
        key: bytes | None = None,
    ) -> None:
        self._state = state
        self._store = store
        self._key = key
        self._recorded: dict[str, Recorded] = {}
        self._unanswered: set[str] = set()
        """Sessions of which the database may say anything else than ``_recorded``."""
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self, sessions: Collection[str] | None = None) -> None:
        """Read what the database says of these sessions (None: all), have their proxies here, and record files that it does
        not know. Raises ``DatabaseUnavailableError``."""
        found = await self._store.recorded()
        here = set[str]()
        with contextlib.suppress(OSError):  # each start says so
            here = {path.stem for path in await asyncio.to_thread(proxies.files, self._state())}
        if sessions is None:
            self._recorded = dict(found)
            self._unanswered.clear()
        else:
            for session in sessions:
                self.forget(session)
            self._recorded |= {name: it for name, it in found.items() if name in sessions}
        known = here.union(self._recorded)
        for session in sorted(known if sessions is None else known.intersection(sessions)):
            async with self.changing(session):
                if new := await asyncio.to_thread(self._unpublished, session):
                    await self._record(session, new)
            with contextlib.suppress(ProxyUnreadableError):  # its start says so
                await self.have_newest(session)

    def forget(self, session: str) -> None:
        """Keep nothing of what the database says of it: another host changes it."""
        self._recorded.pop(session, None)
        self._unanswered.discard(session)

    def changing(self, session: str) -> asyncio.Lock:
        """Held by whoever changes the file, or what is recorded of it."""
        return self._changing[session]

    def read(self, session: str) -> Proxy | None:
        """None: it has none. Raises ``ProxyUnreadableError`` also where this host does not have what the database names."""
        found, it = proxies.read(self._state(), session), self._recorded.get(session)
        if it is not None and it.mark != mark_of(found):
            path = proxies.path_of(self._state(), session)
            what = "another one" if found else "none"
            raise ProxyUnreadableError(
                f"its proxy was set or removed elsewhere, and this host has {what} in {path}",
                value=str(path),
            )
        return found

    def mark(self, session: str) -> str:
        """That of its proxy, "" where it has none. Raises ``ProxyUnreadableError`` where nobody knows."""
        it = self._recorded.get(session)
        if it and it.mark == UNKNOWN:
            raise ProxyUnreadableError("nobody has read its proxy so far", value=session)
        return it.mark if it else mark_of(proxies.read(self._state(), session))

    def is_published(self, session: str) -> bool:
        """Whether the database says anything of it, or may."""
        return session in self._recorded or session in self._unanswered

    async def have_newest(self, session: str) -> None:
        """Have the file as the database says, where the proxy came with it. Raises ``ProxyUnreadableError``."""
        if not self._may_lack(session):
            return  # without a suspension: sessions are spawned in the order in which they got their places
        async with self.changing(session):
            with contextlib.suppress(WaguardError):  # what the file has goes on
                await self.confirm(session)
            it = self._recorded.get(session)
            if it and it.mark == UNKNOWN:
                with contextlib.suppress(WaguardError):  # its start says so
                    if new := await asyncio.to_thread(self._unpublished, session):
                        await self._record(session, new)
            await asyncio.to_thread(self._lay_down, session)

    async def publish(self, session: str, proxy: Proxy | None) -> None:
        """Have the database say that this is its proxy, before the file is written. Raises ``DatabaseUnavailableError``."""
        await self._record(session, await asyncio.to_thread(self._sealed, session, proxy))

    async def publish_again(self, session: str) -> None:
        """Have the database say what the file still has, for it could not be written. Never raises a ``WaguardError``."""
        with contextlib.suppress(WaguardError):
            await self._publish_file(session)

    async def confirm(self, session: str) -> None:
        """Where a write had no answer, have the database say what the file has, unless that cannot be read; ``changing``
        is held. Raises ``DatabaseUnavailableError``."""
        if session in self._unanswered:
            with contextlib.suppress(ProxyUnreadableError):
                await self._publish_file(session)

    async def confirm_all(self) -> None:
        """See ``confirm``; each by itself. One that another host has now is its to say."""
        for session in sorted(self._unanswered):
            try:
                async with self.changing(session):
                    await self.confirm(session)
            except NotOwnedError:
                self.forget(session)
            except WaguardError as error:
                log = logger.bind(session=session)
                log.debug("a proxy's mark is not confirmed; trying again", why=error.line())

    async def _publish_file(self, session: str) -> None:
        await self.publish(session, await asyncio.to_thread(proxies.read, self._state(), session))

    async def _record(self, session: str, it: Recorded) -> None:
        self._unanswered.add(session)
        await self._store.record(session, it)
        self._recorded[session] = it
        self._unanswered.discard(session)

    def _may_lack(self, session: str) -> bool:
        """Whether its file may not be as the database says, or is being changed."""
        it = self._recorded.get(session)
        if self.changing(session).locked() or session in self._unanswered:
            return True
        return it is not None and (
            it.mark == UNKNOWN or (it.sealed is not None and self._key is not None)
        )

    def _unpublished(self, session: str) -> Recorded | None:
        """What the database lacks: the file's mark, or its content for other hosts under today's key."""
        it = self._recorded.get(session)
        try:
            found = proxies.read(self._state(), session)
        except ProxyUnreadableError:
            return None if it else Recorded(mark=UNKNOWN, at=time.time())
        if it is None or (it.mark == UNKNOWN and found):
            return self._sealed(session, found)
        if self._key is None or it.mark != mark_of(found):
            return None
        with contextlib.suppress(UnreadableError):
            self._opened(self._key, session, it)
            return None
        return self._sealed(session, found)

    def _lay_down(self, session: str) -> None:
        it, state = self._recorded.get(session), self._state()
        if it is None or it.sealed is None or self._key is None:
            return
        with contextlib.suppress(ProxyUnreadableError):
            if it.mark == mark_of(proxies.read(state, session)):
                return
        path = proxies.path_of(state, session)
        try:
            self._bring(self._key, session, it, path)
        except (UnreadableError, ConfigError, OSError) as error:
            raise ProxyUnreadableError(
                f"its proxy cannot be brought from the database to {path}: {error}",
                value=str(path),
            ) from None
        logger.warning(
            "a session's proxy is as another host has set it",
            event="proxy_laid_down",
            session=session,
        )

    def _bring(self, key: bytes, session: str, it: Recorded, path: Path) -> None:
        if path.exists() and path.stat().st_mtime > it.at + AHEAD:
            raise UnreadableError("the file is newer")
        proxies.write(self._state(), session, self._opened(key, session, it))

    def _sealed(self, session: str, proxy: Proxy | None) -> Recorded:
        mark, now = mark_of(proxy), time.time()
        if self._key is None:
            return Recorded(mark=mark, at=now)
        from waguard.host.files.sealing import seal  # noqa: PLC0415 - few have a standby

        content = proxies.encode(session, proxy) if proxy else b""
        return Recorded(mark=mark, at=now, sealed=seal(self._key, content, _about(session, mark)))

    def _opened(self, key: bytes, session: str, it: Recorded) -> Proxy | None:
        """What was sealed. Raises ``UnreadableError``."""
        from waguard.host.files.sealing import unseal  # noqa: PLC0415 - few have a standby

        content = unseal(key, it.sealed or b"", _about(session, it.mark))
        return proxies.decode(content, session) if it.mark else None


def _about(session: str, mark: str) -> bytes:
    """What a sealed proxy is bound to; credentials are bound to other words."""
    return f"proxy\n{session}\n{mark}".encode()
