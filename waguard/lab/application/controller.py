"""What the application does with a webhook whose signature is right: the faults of its own included.

Almost every exception of its database is caught, answered with a 200, and the message is not stored.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field
from sqlalchemy.exc import SQLAlchemyError

from waguard.lab.application import manners
from waguard.lab.application.accounts import Accounts
from waguard.lab.application.calls import Calls, Keys
from waguard.lab.application.chats import Chats
from waguard.lab.application.manners import Manners
from waguard.lab.application.records import Dropped, Records, Row, Written
from waguard.lab.application.worker import Workers

Mood = Literal["well", "slow", "failing", "torn", "lost", "installing", "read-only", "no files"]
"""torn: hangs up in the middle of its answer and has done nothing. lost: it has, and hangs up.
installing: redirects everybody. read-only: its database can be read alone. no files: none can be stored,
and PHP fails in the middle of a message that has one."""

OK: Final = 200
FAILED: Final = 500

_Data = Mapping[str, Any]


class _ReadOnlyError(SQLAlchemyError):
    """MySQL's 1290."""


class NotStoredError(Exception):
    """Something that is no exception of PHP's database, and is caught like one."""


class Controller(Struct, kw_only=True):
    """``instance``: the address that a session is called at; ``manners``: those of the moment."""

    records: Records
    accounts: Accounts
    chats: Chats
    calls: Calls
    keys: Keys
    workers: Workers
    chance: random.Random
    manners: Callable[[], Manners]
    instance: Callable[[str], str]
    mood: Mood = "well"
    urls: dict[str, str] = field(default_factory=dict)
    """``X-Instance-Url`` by session, as its rows have it in ``assigned_instance_url``."""

    async def handle(self, event: str, data: _Data, event_id: str, url: str) -> int:
        """The status of the answer; ``url``: as the instance says of itself."""
        try:
            return await self._dispatch(event, data, event_id, url)
        except NotStoredError as error:
            self._drop(event, data, event_id, str(error))
        except SQLAlchemyError as error:
            self._drop(event, data, event_id, type(error).__name__)
        return OK

    async def _dispatch(self, event: str, data: _Data, event_id: str, url: str) -> int:
        session = str(data["session_id"])
        match event:
            case "session_ready":
                await self._session_ready(session, data, url)
            case "session_error":
                self.workers.put("whatsapp-urgent", event, _no_such_status)
            case _ if event in manners.QUEUED:
                self.workers.put_others(self.manners().backlog)
                self.workers.put("whatsapp-urgent", event, lambda: self._job(event, data))
            case "message_received":
                return await self._message_received(session, data, event_id)
            case "mobile_activity_detected":
                pass  # a job pauses campaigns, which this double has not
            case "message_sent":
                await self._message_sent(session, data, event_id)
            case _ if event in manners.STATUS_EVENTS:
                self.workers.put("messaging", event, lambda: self._status(event, data, event_id))
            case _:
                raise NotStoredError("an event that it does not know")
        return OK

    # ---- sessions ----

    async def _session_ready(self, session: str, data: _Data, url: str) -> None:
        self._writes()
        if not await self.accounts.connected(session, data.get("phone_number")):
            raise NotStoredError("there is no such account, or no number")
        if url and self.urls.get(session) != url:
            await self.accounts.update(session, assigned_instance_url=url)
            self.urls[session] = url

    async def _job(self, event: str, data: _Data) -> None:
        self._writes()
        session, status = str(data["session_id"]), manners.QUEUED[event]
        self.records.written.append(Written(session, status, time.time()))
        if event == "session_disconnected":
            await self.accounts.disconnected(session)
        else:
            await self.accounts.update(session, status=status, qr_code=data.get("qr_code"))

    # ---- messages ----

    async def _message_received(self, session: str, data: _Data, event_id: str) -> int:
        message = data["message"]
        if manners.STATUS_BROADCAST in message["from"]:
            return OK  # without a row, by intention
        account = await self._account(session)
        await self._select_provider(account["workspace_id"])
        row = Row(
            session=session,
            direction="in",
            chat=_contact(str(message["from"])),
            body=message["body"] or "",
            at=time.time(),
            status="delivered",
            message_id=message["id"],
            event_id=event_id,
            media=message.get("media"),
        )
        await self._store(row, account, manners.metadata(message))
        has_file = row.media and row.media.get("data")
        return FAILED if has_file and self.mood == "no files" else OK

    async def _message_sent(self, session: str, data: _Data, event_id: str) -> None:
        if not manners.is_usable_sent(data):
            raise NotStoredError("it is flat")
        message, account = data["message"], await self._account(session)
        chat = _contact(manners.chat_of_sent(message))
        if await self.chats.find(message["id"]):
            return
        row = Row(
            session=session,
            direction="out",
            chat=chat,
            body=message.get("body") or "",
            at=time.time(),
            status="sent",
            message_id=message["id"],
            event_id=event_id,
        )
        await self._store(row, account, manners.metadata(message))

    async def store_own(self, row: Row) -> None:
        """A message that it has sent itself: the end of its transaction. Raises ``SQLAlchemyError``."""
        account = await self._account(row.session)
        kept = {"body": row.body, "nodejs_response": {"message_id": row.message_id}}
        await self._store(row, account, manners.json_encode(kept).decode())

    async def _store(self, row: Row, account: dict[str, Any], metadata: str) -> None:
        self._writes()
        if why := manners.too_long(self.manners(), row.message_id or "", metadata):
            raise NotStoredError(why)
        kind: Any = {"in": "inbound", "out": "outbound"}[row.direction]
        row.id = await self.chats.add(account, row.chat, row.message_id, kind, metadata, row.status)
        self.records.rows.append(row)

    async def _account(self, session: str) -> dict[str, Any]:
        account = await self.accounts.read(session)
        if account is None:
            raise NotStoredError("there is no such account")
        return account

    async def _select_provider(self, workspace: int) -> None:
        """One connected account of the workspace will do; without any it does not even call back."""
        why = "no account is connected"
        for session in await self.accounts.available(workspace):
            unavailable = await self._unavailable(session)
            if unavailable is None:
                return
            why = unavailable
        raise NotStoredError(why)

    async def _unavailable(self, session: str) -> str | None:
        base, timeout = self.instance(session), self.manners().call_timeout
        health = await self.calls.get(f"{base}/health", None, timeout=timeout)
        connected = health.answer.get("sessions", {}).get("connected")
        if why := manners.why_not(health.status, connected, None):
            return why
        await asyncio.sleep(self.chance.uniform(0.0, self.manners().call_back))
        url = f"{base}/api/sessions/{session}/status"
        asked = await self.calls.get(url, self.keys.sessions, timeout=timeout)
        status = str(asked.answer.get("status")) if asked.good else None
        return manners.why_not(health.status, connected, status)

    async def _status(self, event: str, data: _Data, event_id: str) -> None:
        row = await self.chats.find(str(data.get("message_id")))
        status = {"message_delivered": "delivered", "message_read": "read"}.get(
            event, str(data.get("status"))
        )
        if row is None:
            self._drop(event, data, event_id, "there is no such message yet")
        elif status not in manners.STATUSES:
            self._drop(event, data, event_id, f"the status {status} is unknown")
        else:
            self._writes()
            await self.chats.set_status(row, status)
            for known in self.records.rows:
                if known.id == row:
                    known.status = status

    def _writes(self) -> None:
        if self.mood == "read-only":
            raise _ReadOnlyError

    def _drop(self, event: str, data: _Data, event_id: str, why: str) -> None:
        message = data.get("message")
        about = message.get("id") if isinstance(message, Mapping) else data.get("message_id")
        self.records.dropped.append(
            Dropped(
                event=event,
                session=str(data["session_id"]),
                event_id=event_id,
                about=str(about or ""),
                why=why,
                at=time.time(),
            )
        )


async def _no_such_status() -> None:
    """The column is an enum, and ``error`` is not in it."""
    raise NotStoredError("data truncated for status")


def _contact(chat: str) -> str:
    phone = manners.contact_of(chat)
    if phone is None:
        raise NotStoredError(f"{chat.partition('@')[2] or 'it'} is no phone number")
    return phone
