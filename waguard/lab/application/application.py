"""The application as a whole: what its people do in its pages, and what it does by itself."""

import asyncio
import contextlib
import random
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from waguard.lab.application.accounts import Accounts
from waguard.lab.application.calls import Calls, Keys, Reply
from waguard.lab.application.chats import Chats
from waguard.lab.application.controller import Controller, NotStoredError
from waguard.lab.application.hooks import Hooks
from waguard.lab.application.manners import CONNECTED, Manners, contact_of
from waguard.lab.application.records import Records, Row
from waguard.lab.application.worker import Workers

ID_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_RANDOM: Final = 8

T = TypeVar("T")


class NoSuchRowError(LookupError):
    """A session whose row is gone, or was never there."""


class Application:
    """An async context manager. ``base`` is the address of the instance that it was configured for;
    ``seed`` decides all that it draws."""

    def __init__(
        self,
        database: str,
        base: str,
        *,
        secret: bytes,
        keys: Keys | None = None,
        manners: Manners | None = None,
        workspace: int = 1,
        seed: int = 0,
    ) -> None:
        self.database = database
        self.base = base
        self.keys = keys or Keys()
        self.workspace = workspace
        self.accounts = Accounts(database)
        self.chats = Chats(database)
        self.records = Records()
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._calls = Calls()
        self.hooks = Hooks(secret=secret, manners=manners or Manners(), records=self.records)
        self.workers = Workers(lambda: self.manners, self._chance, self._job_failed)
        self.hooks.controller = self.controller = Controller(
            records=self.records,
            accounts=self.accounts,
            chats=self.chats,
            calls=self._calls,
            keys=self.keys,
            workers=self.workers,
            chance=self._chance,
            manners=lambda: self.manners,
            instance=self.instance,
        )
        self._stack = AsyncExitStack()

    def _job_failed(self, name: str, error: Exception) -> None:
        self.records.failures.append(f"{name}: {type(error).__name__}")

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._calls)
        self.workers.start()
        self._stack.push_async_callback(self.workers.stop)
        await self._stack.enter_async_context(self.hooks)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # ---- what it sees ----

    @property
    def manners(self) -> Manners:
        """Those of the moment."""
        return self.hooks.manners

    @property
    def url(self) -> str:
        """Where it takes webhooks."""
        return self.hooks.url

    @property
    def received(self) -> Sequence[dict[str, Any]]:
        """What it handled; see ``Hooks``."""
        return self.hooks.received

    async def until(self, find: Callable[[Sequence[dict[str, Any]]], T | None]) -> T:
        """See ``Hooks``."""
        return await self.hooks.until(find)

    async def wait_for(self, event: str, session: str, *, after: int = 0) -> dict[str, Any]:
        """The data of the first such webhook among those handled since ``after``."""

        def find(received: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
            fitting = (d["data"] for d in received[after:] if d["event"] == event)
            return next((data for data in fitting if data["session_id"] == session), None)

        return await self.until(find)

    async def row(self, session: str) -> dict[str, Any]:
        """Raises ``NoSuchRowError``."""
        found = await self.accounts.read(session)
        if found is None:
            raise NoSuchRowError(session)
        return found

    def instance(self, session: str) -> str:
        """Where a session is called: as the instance said of itself, else as it is configured."""
        return self.controller.urls.get(session, self.base)

    def environment(self, state: Path) -> dict[str, str]:
        """Settings of a daemon that serves it; its keys and its secret are written to ``state``."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_file, secret_file = state / "api-key", state / "webhook-secret"
        for path, content in (
            (key_file, f"{self.keys.sessions}\n{self.keys.messages}\n".encode()),
            (secret_file, self.hooks.secret),
        ):
            path.touch(mode=0o600)
            path.write_bytes(content)
        return {
            "WAGUARD_API__KEY_FILE": str(key_file),
            "WAGUARD_API__KEYLESS_LOOPBACK": "true",
            "WAGUARD_WEBHOOK__URL": self.url,
            "WAGUARD_WEBHOOK__SECRET_FILE": str(secret_file),
            "WAGUARD_SEND__ALLOW_PRIVATE": "true",  # its files lie on this machine
        }

    # ---- its pages ----

    async def connect(
        self, session: str | None = None, *, workspace: int | None = None
    ) -> tuple[str, Reply]:
        """Make a row, ask for the session; its id and the answer. ``workspace``: another one."""
        workspace = self.workspace if workspace is None else workspace
        if session is None:
            drawn = "".join(self._chance.choices(ID_CHARACTERS, k=ID_RANDOM))
            session = f"webjs_{workspace}_{int(time.time())}_{drawn}"
        await self.accounts.insert(
            session,
            uuid=str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)),
            workspace_id=workspace,
            provider_type="webjs",
            status="qr_scanning",
            created_by=1,
        )
        row = await self.row(session)
        fields = {
            "session_id": session,
            "workspace_id": workspace,
            "account_id": row["id"],
            "priority": "normal",
        }
        url = f"{self.base}/api/sessions"
        return session, await self._session("POST", url, fields)

    async def disconnect(self, session: str) -> Reply:
        """The button “disconnect”."""
        reply = await self._session("DELETE", self._of(session), {})
        if reply.good:
            await self.accounts.disconnected(session)
        return reply

    async def reconnect(self, session: str) -> Reply:
        """The button “reconnect”: a number that is connected is disconnected first."""
        if (await self.row(session))["status"] == "connected":
            await self._session("DELETE", self._of(session), {})
        return await self._session("POST", f"{self._of(session)}/reconnect", {})

    async def remove(self, session: str) -> Reply:
        """The button “delete”: its row is soft-deleted, whatever the instance answers."""
        reply = await self._session("DELETE", self._of(session), {})
        await self.accounts.delete(session)
        return reply

    async def logout(self, session: str) -> Reply:
        """Without a key, and with PHP's empty array."""
        url = f"{self.instance(session)}/sessions/{session}/logout"
        timeout = self.manners.call_timeout
        return await self._calls.change("POST", url, {}, None, timeout=timeout)

    async def status(self, session: str, *, with_key: bool = True) -> Reply:
        """What its pages show; anything but a 2xx makes the row ``disconnected``."""
        base = self._of(session) if with_key else f"{self.instance(session)}/sessions/{session}"
        key = self.keys.sessions if with_key else None
        timeout = self.manners.call_timeout
        reply = await self._calls.get(f"{base}/status", key, timeout=timeout)
        if not reply.good:
            await self.accounts.disconnected(session)
        return reply

    async def sessions(self) -> Reply:
        """All that the instance has."""
        url, timeout = f"{self.base}/api/sessions", self.manners.call_timeout
        return await self._calls.get(url, self.keys.sessions, timeout=timeout)

    async def put_metadata(self, session: str, updates: Mapping[str, Any]) -> Reply:
        """Some of it."""
        return await self._session("PUT", f"{self._of(session)}/metadata", {"updates": updates})

    async def metadata(self, session: str) -> Reply:
        """All of it."""
        url, timeout = f"{self._of(session)}/metadata", self.manners.call_timeout
        return await self._calls.get(url, self.keys.sessions, timeout=timeout)

    # ---- messages ----

    async def send(self, session: str, to: str, text: str, **more: Any) -> Row:
        """A text; ``to`` a number, or a group's bare id. ``more``: fields it never sends itself."""
        fields = {"recipient_phone": to, "message": text, "type": "text", **more}
        return await self._send("send", session, to, text, fields)

    async def send_media(self, session: str, to: str, caption: str, **media: Any) -> Row:
        """A file, by ``media_url`` or what else the API takes."""
        fields = {"recipient_phone": to, "caption": caption, **media}
        return await self._send("send-media", session, to, caption, fields)

    async def send_as(
        self, path: str, session: str, to: str, text: str, fields: Mapping[str, Any]
    ) -> Row:
        """What it does not send itself; ``path``: the last part of the route. ``text`` is for its row."""
        return await self._send(path, session, to, text, fields)

    async def act(self, session: str, message_id: str, kind: str, **fields: Any) -> Row:
        """React to a message, edit or delete it, as a program beside it does: that asks nobody whether the
        session can, and makes no row in its table."""
        text, path = f"{kind} of {message_id}", f"{message_id}/{kind}"
        return await self._send(path, session, "", text, fields, is_its_own=False)

    async def upload(self, session: str, content: bytes, mimetype: str) -> Reply:
        """A file to send; what failed is tried again."""
        url = f"{self.instance(session)}/api/media"
        for left in reversed(range(self.manners.tries)):
            reply = await self._calls.upload(
                url, content, mimetype, self.keys.messages, timeout=self.manners.send_timeout
            )
            if reply.good or _is_final(reply) or not left:
                break
            await asyncio.sleep(self.manners.again)
        return reply

    async def file(self, url: str) -> tuple[int | None, bytes]:
        """A received file by its address: the status of the answer, and its body."""
        return await self._calls.file(url, self.keys.messages, timeout=self.manners.send_timeout)

    async def _send(
        self,
        path: str,
        session: str,
        to: str,
        text: str,
        fields: Mapping[str, Any],
        *,
        is_its_own: bool = True,
    ) -> Row:
        row = Row(
            session=session,
            direction="out",
            chat=contact_of(to) or to,
            body=text,
            at=time.time(),
            status="failed",
            source="send",
        )
        request = {"session_id": session, **fields}
        if is_its_own:
            account = await self._primary(session)
            if account is None:
                row.error = "no account is connected"
                return row
            request["workspace_id"] = account["workspace_id"]
        for left in reversed(range(self.manners.tries)):
            reply = await self._calls.change(
                "POST",
                f"{self.instance(session)}/api/messages/{path}",
                request,
                self.keys.messages,
                timeout=self.manners.send_timeout,
            )
            row.answers.append(reply.status)
            row.error = reply.answer.get("error")
            if reply.good:
                row.message_id, row.status = reply.answer.get("message_id"), "sent"
                if is_its_own:
                    await self._commit(row)
            if reply.good or _is_final(reply):
                return row
            if left:
                await asyncio.sleep(self.manners.again)
        return row

    async def _primary(self, session: str) -> dict[str, Any] | None:
        with contextlib.suppress(SQLAlchemyError):
            account = await self.accounts.read(session)
            if account and account["status"] == CONNECTED:
                return account
        return None

    async def _commit(self, row: Row) -> None:
        """The transaction that it has sent in; where it fails the message has left all the same."""
        await asyncio.sleep(self._chance.uniform(0.0, self.manners.commit))
        try:
            await self.controller.store_own(row)
        except (SQLAlchemyError, NotStoredError) as error:
            row.status, row.error = "failed", type(error).__name__

    # ---- calls ----

    def _of(self, session: str) -> str:
        return f"{self.instance(session)}/api/sessions/{session}"

    async def _session(self, method: str, url: str, fields: Mapping[str, Any]) -> Reply:
        timeout = self.manners.call_timeout
        return await self._calls.change(method, url, fields, self.keys.sessions, timeout=timeout)


def _is_final(reply: Reply) -> bool:
    """Whether an answer that is no 2xx is not tried again."""
    return reply.status is not None and reply.status < 500  # noqa: PLR2004 - the client's own fault
