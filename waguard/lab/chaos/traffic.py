"""The people and the application, who go on writing while things break."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from waguard.cli.client import ApiCallError
from waguard.config.sections import Webhook
from waguard.lab.application import Row
from waguard.lab.application.chats import Type
from waguard.lab.application.manners import body_of, contact_of
from waguard.lab.chaos.message_check import (
    Answer,
    Dropped,
    Incoming,
    MessageCheck,
    Outgoing,
    Stored,
)
from waguard.lab.chaos.rows import Watch
from waguard.lab.chaos.world import FRIEND, FRIENDS, NotInTimeError, World, until
from waguard.lab.standin.refusal import Refusal

GAP: Final = 0.4  # s between two messages of a session, at most
# s without any progress: what no column holds is tried for ten minutes, with pauses of up to six
LAST_DELIVERY: Final = 400.0
LINKED_WITHIN: Final = 300.0  # s in which an unlinked session is scanned
DEAD_LETTERS: Final = "/api/webhooks/dead"


@dataclass
class Traffic:
    """So many messages to and from the sessions, and from their phones, in ``rounds``."""

    world: World
    seed: int
    incoming: int
    outgoing: int
    written_on_phone: int
    rounds: int
    _sent: list[tuple[str, Row]] = field(default_factory=list)
    _on_phone: list[tuple[str, str]] = field(default_factory=list)

    async def round(self, number: int) -> None:
        """One of them, from 0 on; together they make up all messages."""
        chance = random.Random(f"{self.seed} {number}")  # noqa: S311 - to be repeated
        sessions = self.world.sessions
        coming, going, written = (
            _share(of, number, self.rounds)
            for of in (self.incoming, self.outgoing, self.written_on_phone)
        )
        work = []
        for place, session in enumerate(sessions):
            texts = [f"in {number}.{n}" for n in range(_share(coming, place, len(sessions)))]
            work.append(self._write(session, texts, random.Random(chance.random())))  # noqa: S311
            texts = [f"out {number}.{n}" for n in range(_share(going, place, len(sessions)))]
            work.append(self._send(session, texts, random.Random(chance.random())))  # noqa: S311
            texts = [f"phone {number}.{n}" for n in range(_share(written, place, len(sessions)))]
            work.append(self._write_on_phone(session, texts, random.Random(chance.random())))  # noqa: S311
        try:
            async with asyncio.TaskGroup() as group:
                for one in work:
                    group.create_task(one)
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _write(self, session: str, texts: Sequence[str], chance: random.Random) -> None:
        for text in texts:
            await asyncio.sleep(chance.random() * GAP)
            friend = str(int(FRIEND) + chance.randrange(FRIENDS))
            write = partial(self._wrote, session, text, friend)
            await until(write, f"somebody may write to {session}", within=LINKED_WITHIN)

    async def _wrote(self, session: str, text: str, friend: str) -> bool:
        """Not while no browser is linked: what is written then is the phone's alone."""
        if session in self.world.quiet:
            return False
        with contextlib.suppress(Refusal):
            self.world.incoming(session, text, friend=friend)
            return True
        return False

    async def _write_on_phone(
        self, session: str, texts: Sequence[str], chance: random.Random
    ) -> None:
        for text in texts:
            await asyncio.sleep(chance.random() * GAP)
            friend = str(int(FRIEND) + chance.randrange(FRIENDS))
            write = partial(self._wrote_on_phone, session, text, friend)
            await until(write, f"{session} is linked", within=LINKED_WITHIN)

    async def _wrote_on_phone(self, session: str, text: str, friend: str) -> bool:
        if session in self.world.quiet:
            return False
        with contextlib.suppress(Refusal):
            self.world.write_on_phone(session, text, friend=friend)
            self._on_phone.append((session, text))
            return True
        return False

    async def _send(self, session: str, texts: Sequence[str], chance: random.Random) -> None:
        """As the application does: one after the other, and what failed is repeated as it was."""
        for text in texts:
            await asyncio.sleep(chance.random() * GAP)
            how = chance.choice(({}, {}, {"idempotency_key": text}, {"queue": True}))
            friend = str(int(FRIEND) + chance.randrange(FRIENDS))
            row = await self.world.app.send(session, friend, text, **how)
            self._sent.append((session, row))

    async def message_check(self, watch: Watch) -> MessageCheck:
        """Everybody's, after the last message has come in and gone out, or none has for a while."""
        await self._last_delivery()
        await until(self._nothing_waits, "what was accepted is sent", within=LAST_DELIVERY)
        records, world = self.world.app.records, self.world
        rows = await self._rows()
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
            inbox=Counter((session, one["body"]) for session, one in await world.inbox()),
            daemon_kills=tuple(world.daemon_kills),
            finds_stored="stored" in Webhook.__struct_fields__,
            outgoing=tuple(
                Outgoing(session, row.body, _answer(row)) for session, row in self._sent
            ),
            server=self._server(),
            outbox=await self._outbox(),
            chats=self._chats(),
            on_phone=tuple(self._on_phone),
            faults=self.rounds,
            wrong_rows=watch.spans(),
        )

    def _incoming(self) -> list[Incoming]:
        return [
            Incoming(
                session,
                contact_of(one["from"]) or one["from"],
                one["body"],
                one["id"],
                sealed=one["body"] in self.world.sealed,
                unstorable=one["body"] in self.world.unstorable,
            )
            for session in self.world.sessions
            for one in self.world.written(session)
        ]

    async def _last_delivery(self) -> None:
        """Until waguard has delivered all that was written, or nothing has come for a while."""
        rows, before = self.world.app.records.rows, -1
        while before != len(rows):
            before = len(rows)
            with contextlib.suppress(NotInTimeError):
                await until(self._is_delivered, "all is delivered", within=LAST_DELIVERY)
                return

    async def _is_delivered(self) -> bool:
        """What is lost or a dead letter by now will not come."""
        try:
            ((waiting,),) = await self.world.select(
                "SELECT COUNT(*) FROM waguard_deliveries WHERE state = 'pending'"
            )
            known = () if waiting else await self.world.inbox()
        except SQLAlchemyError:
            return False
        reported = {(session, one["body"]) for session, one in known}
        return not waiting and {(one.session, one.text) for one in self._incoming()} <= reported

    async def _rows(self) -> list[tuple[Type, Stored]]:
        """The application's table; which webhook made a row, and when, it does not say itself."""
        made = {row.id: row for row in self.world.app.records.rows}
        return [
            (
                row.type,
                Stored(
                    row.session,
                    row.phone,
                    body_of(row.metadata),
                    made[row.id].event_id,
                    made[row.id].at,
                    row.message_id or "",
                ),
            )
            for row in await self.world.app.chats.seen()
        ]

    async def _listed(self, state: str) -> dict[str, str]:
        """What waguard lists so: the message's id by event id."""
        found, page = dict[str, str](), f"{DEAD_LETTERS}?state={state}"
        before: int | None = 0
        while before is not None:
            answer = await self.world.call("GET", f"{page}&before={before}" if before else page)
            for one in answer["dead"]:
                if one["event"] == "message_received":
                    letter = await self.world.call("GET", f"{DEAD_LETTERS}/{one['id']}")
                    found[one["event_id"]] = letter["body"]["data"]["message"]["id"]
            before = answer["before"]
        return found

    def _chats(self) -> dict[tuple[str, str], str]:
        """The chats of what the sessions and their phones wrote, and was not refused."""
        world = self.world
        return {
            (session, message["body"]): contact_of(
                world.standin.whatsapp.lids_of(phone).number_of(message["to"])
            )
            or message["to"]
            for session, phone in world.phones.items()
            for message in world.standin.phone.messages(phone)
            if message["direction"] == "out" and message["ack"] >= 0
        }

    async def _nothing_waits(self) -> bool:
        try:
            states = (await self._outbox()).values()
        except (SQLAlchemyError, ApiCallError):
            return False
        return not {"accepted", "sending"} & set(states)

    async def _outbox(self) -> dict[tuple[str, str], str]:
        """The newest of each: what never left is kept too, and its repetition is another one."""
        found = await self.world.select(
            "SELECT session_id, body, state FROM waguard_outbox ORDER BY id"
        )
        return {(session, json.loads(body)["text"]): state for session, body, state in found}

    def _server(self) -> Counter[tuple[str, str]]:
        """What arrived there and was not refused."""
        return Counter(
            (session, message["body"])
            for session, phone in self.world.phones.items()
            for message in self.world.standin.phone.messages(phone)
            if message["direction"] == "out" and message["ack"] >= 0
        )


def _answer(row: Row) -> Answer:
    """What the application got as answer in the end."""
    if not row.answers:
        return "refused"  # by itself: no account was connected
    last = row.answers[-1]
    if row.status == "failed":
        return "refused" if last is not None and last < 500 else "none"  # noqa: PLR2004 - 4xx is final
    return "uncertain" if last == 202 else "sent"  # noqa: PLR2004 - accepted


def _share(of: int, number: int, parts: int) -> int:
    """Part ``number`` of so many equal ones, which together are all."""
    return of * (number + 1) // parts - of * number // parts
