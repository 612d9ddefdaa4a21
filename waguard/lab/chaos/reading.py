"""What all parties have in the end: WhatsApp's server, waguard, and the application."""

import asyncio
import base64
import contextlib
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from waguard.cli.client import ApiCallError
from waguard.config.sections import Webhook
from waguard.lab.application import Row
from waguard.lab.application.chats import Type
from waguard.lab.application.manners import body_of, contact_of
from waguard.lab.chaos.kinds_check import Act, Arrived, KindsCheck, Name, Vote
from waguard.lab.chaos.message_check import (
    Answer,
    Dropped,
    Incoming,
    MessageCheck,
    Outgoing,
    Stored,
)
from waguard.lab.chaos.rows import Watch
from waguard.lab.chaos.traffic import Traffic
from waguard.lab.chaos.world import POLL, NotInTimeError, World, stem, until

LAST_DELIVERY: Final = (
    700.0  # s without any progress: what no column holds is tried for ten minutes
)
FETCHED_WITHIN: Final = 120.0  # s for a file to be there
DEAD_LETTERS: Final = "/api/webhooks/dead"
ACTIONS: Final = frozenset({"reaction", "edit", "revoke"})
OK: Final = 200
COMING: Final = 425


class Kept(Struct, frozen=True):
    """A row of the outbox. ``text`` is what the campaign knows it by."""

    session: str
    id: str
    kind: str
    text: str
    target: str
    state: str


async def read(traffic: Traffic, watch: Watch) -> MessageCheck:
    """Everybody's, after the last message has come in and gone out, or none has for a while."""
    return await Reading(traffic).message_check(watch)


class Reading:
    """One reading of a campaign's end."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._world: World = traffic.world

    async def message_check(self, watch: Watch) -> MessageCheck:
        """See ``read``."""
        await self._last_delivery()
        await until(self._nothing_waits, "what was accepted is sent", within=LAST_DELIVERY)
        records, world, traffic = self._world.app.records, self._world, self._traffic
        outbox = await self._outbox()
        texts = {(one.session, stem(one.id)): one.text for one in outbox}
        rows = await self._rows(texts)
        server = list(self._server(texts))
        return MessageCheck(
            incoming=tuple(self._incoming()),
            stored=tuple(one for kind, one in rows if kind == "inbound"),
            sent=tuple(one for kind, one in rows if kind == "outbound"),
            dropped=tuple(
                Dropped(one.session, one.about, one.event_id, one.why)
                for one in records.dropped
                if one.event == "message_received"
            ),
            dead=frozenset((await self._listed("dead")).values()),
            uncertain=await self._listed("uncertain"),
            unheard=tuple((one.event_id, one.at) for one in records.unheard),
            inbox=Counter((session, _text(one)) for session, one in await world.inbox()),
            daemon_kills=tuple(world.daemon_kills),
            finds_stored="stored" in Webhook.__struct_fields__,
            outgoing=tuple(
                Outgoing(session, row.body, answer(row)) for session, row, _ in traffic.sent
            ),
            server=Counter((session, text) for session, text, _ in server),
            outbox={
                (one.session, one.text): one.state for one in outbox if one.kind not in ACTIONS
            },
            chats={(session, text): chat for session, text, chat in server},
            on_phone=tuple(traffic.on_phone),
            faults=traffic.rounds,
            wrong_rows=watch.spans(),
            kinds=await self._kinds(outbox),
        )

    # ---- the end of it ----

    def _incoming(self) -> list[Incoming]:
        return [
            Incoming(
                session,
                contact_of(one["id"].split("_")[1]) or one["id"].split("_")[1],
                self._shown(session, one),
                one["id"],
                sealed=one["body"] in self._world.sealed,
                unstorable=one["body"] in self._world.unstorable,
            )
            for session in self._world.sessions
            for one in self._world.written(session)
        ]

    def _shown(self, session: str, message: Mapping[str, Any]) -> str:
        """What the application is to show of it, else its id."""
        name = stem(message["id"])
        known = self._traffic.coming.get((session, name))
        return (known.text if known else message["body"]) or name

    async def _last_delivery(self) -> None:
        """Until waguard has delivered all that was written, or nothing has come for a while."""
        rows, before = self._world.app.records.rows, -1
        while before != len(rows):
            before = len(rows)
            with contextlib.suppress(NotInTimeError):
                await until(self._is_delivered, "all is delivered", within=LAST_DELIVERY)
                return

    async def _is_delivered(self) -> bool:
        """What is lost or a dead letter by now will not come."""
        try:
            ((waiting,),) = await self._world.select(
                "SELECT COUNT(*) FROM waguard_deliveries WHERE state = 'pending'"
            )
            known = () if waiting else await self._world.inbox()
        except SQLAlchemyError:
            return False
        reported = {(session, _text(one)) for session, one in known}
        return not waiting and {(one.session, one.text) for one in self._incoming()} <= reported

    async def _nothing_waits(self) -> bool:
        try:
            states = {one.state for one in await self._outbox()}
        except (SQLAlchemyError, ApiCallError):
            return False
        return not {"accepted", "sending"} & states

    # ---- messages ----

    async def _rows(self, texts: Mapping[Name, str]) -> list[tuple[Type, Stored]]:
        """The application's table; which webhook made a row, and when, it does not say itself."""
        made = {row.id: row for row in self._world.app.records.rows}
        return [
            (
                row.type,
                Stored(
                    row.session,
                    row.phone,
                    texts.get((row.session, name), body_of(row.metadata) or name),
                    made[row.id].event_id,
                    made[row.id].at,
                    row.message_id or "",
                ),
            )
            for row in await self._world.app.chats.seen()
            for name in [stem(row.message_id) if row.message_id else ""]
        ]

    async def _listed(self, state: str) -> dict[str, str]:
        """What waguard lists so: the message's id by event id."""
        found, page = dict[str, str](), f"{DEAD_LETTERS}?state={state}"
        before: int | None = 0
        while before is not None:
            answer = await self._world.call("GET", f"{page}&before={before}" if before else page)
            for one in answer["dead"]:
                if one["event"] == "message_received":
                    letter = await self._world.call("GET", f"{DEAD_LETTERS}/{one['id']}")
                    found[one["event_id"]] = letter["body"]["data"]["message"]["id"]
            before = answer["before"]
        return found

    def _server(self, texts: Mapping[Name, str]) -> Iterator[tuple[str, str, str]]:
        """Session, text and chat of what arrived there and was not refused; ``texts`` of what was changed since."""
        world = self._world
        for session, message in self._messages():
            if message["direction"] == "out" and message["ack"] >= 0:
                lids = world.standin.whatsapp.lids_of(world.phones[session])
                chat = contact_of(lids.number_of(message["to"])) or message["to"]
                yield (
                    session,
                    texts.get((session, stem(message["id"])), message.get("body", "")),
                    chat,
                )

    def _messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for session, phone in self._world.phones.items():
            for message in self._world.standin.phone.messages(phone):
                yield session, message

    async def _outbox(self) -> list[Kept]:
        """The oldest first: what never left is kept too, and its repetition is another one."""
        found = await self._world.select(
            "SELECT session_id, message_id, kind, body, state FROM waguard_outbox ORDER BY id"
        )
        return [
            _kept(session, name, kind, json.loads(body), state)
            for session, name, kind, body, state in found
        ]

    # ---- what is more than a text ----

    async def _kinds(self, outbox: Sequence[Kept]) -> KindsCheck:
        traffic = self._traffic
        arrived, with_files = self._arrived()
        files, again = await self._files(with_files)
        votes = await self._world.inbox("vote")
        owed = {(session, row.body): one.at_server for session, row, one in traffic.sent}
        acts = [one for one in outbox if one.kind in ACTIONS]
        act_ids = {one.id for one in acts}
        sessions = {phone: session for session, phone in self._world.phones.items()}
        return KindsCheck(
            coming=traffic.coming,
            arrived=arrived,
            files=files,
            again=again,
            votes=traffic.votes,
            counted=[
                Vote(poll=(session, stem(one["message_id"])), options=tuple(one["options"]))
                for session, one in votes
            ],
            reported=[
                ((data["session_id"], stem(data["message_id"])), event_id)
                for event, data, event_id in self._handled()
                if event == "poll_voted"
            ],
            going={
                (one.session, stem(one.id)): owed[one.session, one.text]
                for one in outbox
                if (one.session, one.text) in owed
            },
            at_server={
                (session, stem(message["id"])): message
                for session, message in self._messages()
                if message["direction"] == "out"
            },
            acts=[(act, answer(row)) for act, row in traffic.acts],
            outbox=[(Act(one.session, one.target, one.kind, one.text), one.state) for one in acts],
            acted=[
                Act(sessions[phone], stem(message), kind, text)
                for phone, message, kind, text in self._world.standin.whatsapp.acts
            ],
            sent_of_acts=[
                data["message_id"]
                for event, data, _ in self._handled()
                if event == "message_sent" and data.get("message_id") in act_ids
            ],
            left=self._left(),
        )

    def _handled(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Event, data and event id of each webhook that the application handled."""
        for one in self._world.app.received:
            yield one["event"], one["data"], one["event_id"]

    def _arrived(self) -> tuple[dict[Name, list[Arrived]], dict[Name, Mapping[str, Any]]]:
        """What came, and the newest of each that has a file."""
        arrived, files = defaultdict[Name, list[Arrived]](list), dict[Name, Mapping[str, Any]]()
        for event, data, _ in self._handled():
            if event != "message_received":
                continue
            message = data["message"]
            name, media = (data["session_id"], stem(message["id"])), message.get("media") or {}
            content = base64.b64decode(media.get("data") or "")
            one = Arrived(
                content=message.get("content", {}),
                people=frozenset(message.get("participants", ())),
                file=hashlib.sha256(content).hexdigest() if content else "",
            )
            arrived[name].append(one)
            if media:
                files[name] = message
        return arrived, files

    async def _files(
        self, messages: Mapping[Name, Mapping[str, Any]]
    ) -> tuple[dict[Name, str], int]:
        """The SHA-256 of each, or why it is not there; and how many had to be asked for again."""
        found, again = dict[Name, str](), 0
        for name, message in messages.items():
            status, content = await self._file(message["media"]["url"])
            if status != OK:
                again += 1
                path = f"/api/messages/{quote(message['id'], safe='')}/media"
                status, content = await self._file((await self._world.call("POST", path))["url"])
            digest = hashlib.sha256(content).hexdigest()
            found[name] = digest if status == OK else f"{status} {content[:200]!r}"
        return found, again

    async def _file(self, url: str | None) -> tuple[int | None, bytes]:
        """As soon as it is there, or will not be."""
        status, content, left = None, b"", FETCHED_WITHIN
        while url and left > 0:
            status, content = await self._world.app.file(url)
            if status not in {COMING, None}:
                break
            await asyncio.sleep(POLL)
            left -= POLL
        return status, content

    def _left(self) -> list[str]:
        """Parts of files, received ones and uploads."""
        folders = [self._world.state / name / "coming" for name in ("media", "outgoing")]
        return [str(path) for folder in folders for path in folder.rglob("*") if path.is_file()]


def answer(row: Row) -> Answer:
    """What the application got as answer in the end."""
    if not row.answers:
        return "refused"  # by itself: no account was connected
    last = row.answers[-1]
    if row.status == "failed":
        return "refused" if last is not None and last < 500 else "none"  # noqa: PLR2004 - 4xx is final
    return "uncertain" if last == 202 else "sent"  # noqa: PLR2004 - accepted


def _text(message: Mapping[str, Any]) -> str:
    return message["body"] or stem(message["id"])


def _kept(session: str, name: str, kind: str, body: Mapping[str, Any], state: str) -> Kept:
    said = body.get("content") or {}
    match kind:
        case "text":
            text = body["text"]
        case "location":
            text = said["name"]
        case "contact":
            text = said["contacts"][0]["name"]
        case "poll":
            text = said["question"]
        case "reaction" | "edit" | "revoke":
            text = said.get("text", "")
        case _:
            text = body.get("caption") or body["filename"]
    target = stem(body["target"]) if kind in ACTIONS else ""
    return Kept(session, name, kind, text, target, state)
