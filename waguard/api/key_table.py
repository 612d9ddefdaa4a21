"""The keys that waguard issues, as the running daemon knows them: found by their SHA-256, ended at once.

The daemon alone writes their file. A new key is on the disk before anybody has it; a revoked one is refused before
that is on the disk.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Container,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Final

from loguru import logger

from waguard.api.key_streams import KeyStreams
from waguard.core import issued_keys
from waguard.core.issued_keys import MOST, IssuedKey, Wanted, Workspaces
from waguard.core.keys import Caller
from waguard.core.replace import replace
from waguard.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    WaguardError,
)
from waguard.host.memory import key_memory
from waguard.host.small_file import UnreadableError
from waguard.ports.clock import Clock

SAVED_EVERY: Final = 60.0  # s; what is known of the last use may be so old in the file
UNREADABLE_RETRY: Final = 60.0  # s
_ID_BYTES: Final = 4
_SECRET_BYTES: Final = 32


class IssuedKeys:
    """All calls are of the event loop; those that are not awaited do not block, but for ``load``."""

    def __init__(self, path: Path, clock: Clock, *, most: int = MOST) -> None:
        """Knows none before ``load``. ``most`` may be valid at a time."""
        self._most = most
        self._file = _KeyFile(path)
        self._clock = clock
        self._keys: dict[str, IssuedKey] = {}
        self._valid: dict[str, str] = {}
        """SHA-256 → id."""
        self._ends: dict[str, float] = {}
        """Monotonic seconds at which a key ends, by id."""
        self._streams = KeyStreams()
        self._writing = asyncio.Lock()
        self._changed = False
        self._writes = True
        self.share: Callable[[IssuedKey], Awaitable[None]] | None = None
        """Has all hosts accept a new key, where there are several; nobody gets one where it raises ``WaguardError``. They are
        not notified: see ``KeySharing.announce``."""
        self.unreadable: str | None = None
        """What is wrong with the file: nothing is written, and what was read before goes on."""

    def load(self) -> None:
        """Read the file, at the start and at each reload."""
        try:
            read = self._file.read()
        except UnreadableError as error:
            self.unreadable = f"{self._file.path}: {error}"
            return
        self.unreadable = None
        # of what all hosts share the file may lack some: it was written when that was possible last
        found = (issued_keys.completed if self.share else issued_keys.merged)(self._keys, read)
        self._replace(found)
        self._changed = list(found.values()) != list(read)

    def adopt(self, found: Mapping[str, IssuedKey]) -> None:
        """From now on these are known, by id, and no others, but for those that ended long ago. ``save`` writes them."""
        kept = issued_keys.worth_keeping(found.values(), now=self._clock.wall())
        if (new := {it.id: it for it in kept}) != self._keys:
            self._replace(new)
            self._changed = True

    @property
    def known(self) -> Mapping[str, IssuedKey]:
        """All of them, by id; those that have expired are marked so."""
        self._tidy()
        return self._keys

    def _replace(self, found: Mapping[str, IssuedKey]) -> None:
        before, self._keys, self._valid = set(self._valid.values()), {}, {}
        for key in found.values():
            self._install(key)
        for key_id in before.difference(self._valid.values()):
            self._streams.end(key_id)

    def _install(self, key: IssuedKey) -> None:
        self._keys[key.id] = key
        if key.ended_at is not None:
            return
        self._valid[key.sha256] = key.id
        if key.expires_at is not None:
            end = self._clock.monotonic() + key.expires_at - self._clock.wall()
            # at a reload the one that is known is earlier where the wall clock was set back
            self._ends[key.id] = min(end, self._ends.get(key.id, end))

    # ---- who it is ----

    def find(self, text: str) -> Caller | None:
        """Who shows this text; None: it is no valid key."""
        if not issued_keys.is_key(text):
            return None
        digest = issued_keys.digest(text)
        key = self._keys.get(self._valid.get(digest, ""))
        if key is None or not hmac.compare_digest(key.sha256, digest) or self._has_ended(key):
            return None
        return key.caller

    def accepts(self, caller: Caller) -> bool:
        """Whether the caller's key is still valid; one that is not issued always is."""
        key = self._keys.get(caller.key) if caller.key else None
        return caller.key is None or (key is not None and not self._has_ended(key))

    def record_use(self, caller: Caller) -> None:
        """In memory; ``save`` writes it."""
        if caller.key and (key := self._keys.get(caller.key)):
            self._keys[key.id] = replace(key, used_at=self._clock.wall())
            self._changed = True

    @contextlib.asynccontextmanager
    async def lasting(self, caller: Caller) -> AsyncIterator[None]:
        """End the body with ``TimeoutError`` when the caller's key ends."""
        if caller.key is None:
            yield
            return
        left = self._left(self._keys[caller.key]) if self.accepts(caller) else 0.0
        async with self._streams.lasting(caller.key, left):
            yield

    # ---- what an administrator asks ----

    def governed(self, caller: Caller, workspaces: Workspaces) -> list[IssuedKey]:
        """The keys that the caller may see, the newest first. Raises ``ConflictError`` where the file is unreadable."""
        _require_readable(self.unreadable)
        self._tidy()
        found = [it for it in self._keys.values() if issued_keys.governs(caller, it, workspaces)]
        return sorted(found, key=lambda it: it.created_at, reverse=True)

    async def create(
        self, maker: Caller, wanted: Wanted, workspaces: Workspaces
    ) -> tuple[str, IssuedKey]:
        """The key itself, which is nowhere else, and what is known of it. Raises ``WaguardError``."""
        async with self._writing:
            if self._file.others_wrote:  # what was taken out by hand must not come back
                self.load()
            _require_readable(self.unreadable)
            self._tidy()
            maker, now = self._current(maker), self._clock.wall()
            why = issued_keys.excess(maker, wanted, now=now, workspaces=workspaces)
            if why:
                raise ForbiddenError(
                    f"a new key may not exceed your own: it would have {why}",
                    remedy="ask for less, or use a key that may do more",
                )
            require_free(
                self._keys.values(), wanted.name, for_page=wanted.for_page, most=self._most
            )
            key_id = _new_id(self._keys)
            text = issued_keys.text_of(key_id, secrets.token_urlsafe(_SECRET_BYTES))
            key = issued_keys.issue(maker, wanted, key_id=key_id, text=text, now=now)
            self._changed = True  # who is cancelled leaves a key in the file that nobody has
            await self._write({**self._keys, key_id: key})
            if self.share and self.accepts(maker):
                try:
                    await self.share(key)
                except WaguardError:  # nobody gets the key
                    with contextlib.suppress(UnavailableError):
                        await self._write(self._keys)
                    raise
            if not self.accepts(maker):  # it has ended meanwhile, and makes no more
                if key_id in self._keys:  # other hosts have it
                    self.end(self._keys[key_id], by=maker.name)
                await self._write(self._keys)
            self._current(maker)
            if wanted.for_page:
                for old in issued_keys.excess_pages(self._keys, maker):
                    self.end(old, by=maker.name)
            self._install(key)
        logger.info(
            "API key created", event="key_created", key=key.id, name=key.name, by=maker.name
        )
        return text, key

    async def keep_end(self, key: IssuedKey) -> list[IssuedKey]:
        """Have the file know that the key was revoked. The valid ones that it has made: these stay. Raises
        ``UnavailableError``."""
        async with self._writing:
            if self._file.others_wrote:  # what was taken out by hand must not come back
                self.load()
            try:
                await self._write(self._keys)
            except WaguardError as error:
                raise UnavailableError(
                    f"the key is refused from now on, and a restart would accept it again: {error.message}",
                    remedy="repair what is wrong, and revoke it again",
                ) from None
        return [it for it in self._keys.values() if it.made_with == key.id and it.ended_at is None]

    def _current(self, caller: Caller) -> Caller:
        """With the end that its key has now. Raises ``UnauthorizedError`` where it has ended."""
        if caller.key is None:
            return caller
        if not self.accepts(caller):
            raise UnauthorizedError("the key has ended", remedy="use another one")
        return self._keys[caller.key].caller

    # ---- how it ends ----

    def _left(self, key: IssuedKey) -> float | None:
        by_monotonic = self._ends.get(key.id, 0.0) - self._clock.monotonic()
        return issued_keys.left(key, now=self._clock.wall(), by_monotonic=by_monotonic)

    def _has_ended(self, key: IssuedKey) -> bool:
        if key.ended_at is not None:
            return True
        left = self._left(key)
        if left is None or left > 0:
            return False
        self.end(key, by=None)
        return True

    def end(self, key: IssuedKey, *, by: str | None) -> IssuedKey:
        """End a known key in memory; one that has ended stays as it is. ``by`` None: it has expired."""
        if key.ended_at is not None:
            return key
        ended = replace(key, ended_at=self._clock.wall(), ended_by=by)
        self._keys[key.id] = ended
        self._valid.pop(key.sha256, None)
        self._changed = True
        self._streams.end(key.id)
        if by:
            logger.info("API key revoked", event="key_revoked", key=key.id, name=key.name, by=by)
        else:
            logger.info("API key expired", event="key_expired", key=key.id, name=key.name)
        return ended

    def _tidy(self) -> None:
        """End those that have expired, and forget those that ended long ago."""
        now = self._clock.wall()
        for key in [self._keys[it] for it in self._valid.values()]:
            left = self._left(key)
            if self._has_ended(key) or left is None:
                continue
            earlier = issued_keys.corrected(key, now=now, left=left)
            self._changed = self._changed or earlier != key
            self._keys[key.id] = earlier
        kept = issued_keys.worth_keeping(self._keys.values(), now=now)
        self._changed = self._changed or len(kept) < len(self._keys)
        self._keys = {it.id: it for it in kept}

    # ---- its file ----

    async def _write(self, keys: Mapping[str, IssuedKey]) -> None:
        """Raises ``UnavailableError``."""
        if self.unreadable:
            raise UnavailableError(self.unreadable)
        await self._file.write(keys)
        self._writes = True

    async def save(self) -> None:
        """Each minute, and at the end. What cannot be written is logged once, and written the next time."""
        self._tidy()
        if not self._changed or self.unreadable:
            return
        async with self._writing:
            if self._file.others_wrote:  # what was taken out by hand must not come back
                self.load()
            if self.unreadable:
                return
            self._changed = False
            try:
                await self._write(self._keys)
            except WaguardError as error:
                self._changed = True
                if self._writes:
                    logger.warning(
                        "the file of keys cannot be written",
                        event="state_not_written",
                        why=error.line(),
                    )
                self._writes = False


class _KeyFile:
    """``key_memory`` of one daemon, and whether the file is still as it was read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: object = None

    def read(self) -> Sequence[IssuedKey]:
        """Raises ``UnreadableError``."""
        self._state = key_memory.state(self.path)
        return key_memory.read(self.path)

    @property
    def others_wrote(self) -> bool:
        """Whether the file is another one. Where it is gone there is nothing to read: a reload says that it was meant."""
        state = key_memory.state(self.path)
        return state is not None and state != self._state

    async def write(self, keys: Mapping[str, IssuedKey]) -> None:
        """Raises ``UnavailableError``."""
        content = tuple(keys.values())
        writing = asyncio.create_task(asyncio.to_thread(key_memory.write, self.path, content))
        try:
            # two threads never write it: whoever is cancelled has the lock until this one has ended
            try:
                await asyncio.shield(writing)
            finally:
                await asyncio.wait({writing})
                self._state = key_memory.state(self.path)
        except (OSError, WaguardError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UnavailableError(f"{self.path} cannot be written: {why}") from None


def _require_readable(unreadable: str | None) -> None:
    if unreadable:
        raise ConflictError(
            f"the keys are unknown: {unreadable}",
            remedy="put back a copy of the file, or move it away, then `systemctl reload waguard`",
        )


def require_free(keys: Iterable[IssuedKey], name: str, *, for_page: bool, most: int = MOST) -> None:
    """Raise ``ConflictError`` where a key of this name, or one more, may not be."""
    valid = [it for it in keys if it.ended_at is None]
    if name in {it.name for it in valid}:
        raise ConflictError(
            "there is a key of this name", field="name", remedy="use another one, or revoke it"
        )
    if not for_page and sum(not it.for_page for it in valid) >= most:
        raise ConflictError(
            f"there are {most} valid keys", field="name", remedy="revoke those that nobody uses"
        )


def refuse(issued: IssuedKeys, caller: Caller, key_id: str, workspaces: Workspaces) -> IssuedKey:
    """Revoke a key in memory: nobody has to wait for the disk. Raises ``NotFoundError``."""
    key = issued.known.get(key_id)
    if key is None or not issued_keys.governs(caller, key, workspaces):
        raise NotFoundError("no such key", field="id", remedy="see `waguard keys list`")
    return issued.end(key, by=caller.name)


def _new_id(known: Container[str]) -> str:
    while True:
        key_id = secrets.token_hex(_ID_BYTES)
        if key_id not in known and not key_id.isdecimal():  # the log shortens numbers
            return key_id


def require_known(keys: IssuedKeys, texts: Iterable[str]) -> None:
    """Raise ``UnavailableError`` where one of these may be a valid key, and the file that says so cannot be read.

    What is wrong with it is no stranger's business: the condition has that.
    """
    if keys.unreadable and any(issued_keys.is_key(one) for one in texts):
        raise UnavailableError(
            "issued keys cannot be checked",
            field="api_key",
            remedy="repeat it; the condition keys_unreadable says what to do",
            retry_after=UNREADABLE_RETRY,
        )
