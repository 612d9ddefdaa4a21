"""The people and the application, who go on writing while things break."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from waguard.chaos.books import Answer, Books, Delivered, Incoming, Outgoing
from waguard.chaos.world import FRIEND, World, until
from waguard.client import ApiCallError

FRIENDS: Final = 5  # chats of a session
GAP: Final = 0.4  # s between two messages of a session, at most
TRIES: Final = 3  # of the application, which repeats what failed …
TRY_DEADLINE: Final = 30.0  # s … or took longer
TRY_AGAIN: Final = 1.0  # s
LAST_DELIVERY: Final = 120.0  # s without any progress; a circuit that opened is tried in a minute


@dataclass
class Traffic:
    """So many messages to and from the sessions in each of ``rounds``."""

    world: World
    seed: int
    incoming: int
    outgoing: int
    rounds: int
    _written: list[Incoming] = field(default_factory=list)
    _sent: list[Outgoing] = field(default_factory=list)

    async def round(self, number: int) -> None:
        """One of them, from 0 on; together they make up all messages."""
        chance = random.Random(f"{self.seed} {number}")  # noqa: S311 - to be repeated
        sessions = self.world.sessions
        coming, going = (_share(of, number, self.rounds) for of in (self.incoming, self.outgoing))
        async with asyncio.TaskGroup() as group:
            for place, session in enumerate(sessions):
                texts = [f"in {number}.{n}" for n in range(_share(coming, place, len(sessions)))]
                group.create_task(self._write(session, texts, random.Random(chance.random())))  # noqa: S311
                texts = [f"out {number}.{n}" for n in range(_share(going, place, len(sessions)))]
                group.create_task(self._send(session, texts, random.Random(chance.random())))  # noqa: S311

    async def _write(self, session: str, texts: Sequence[str], chance: random.Random) -> None:
        for text in texts:
            await asyncio.sleep(chance.random() * GAP)
            friend = str(int(FRIEND) + chance.randrange(FRIENDS))
            self._written.append(Incoming(session, f"{friend}@c.us", text))
            self.world.incoming(session, text, friend=friend)

    async def _send(self, session: str, texts: Sequence[str], chance: random.Random) -> None:
        """As the application does: one after the other, and what failed is repeated as it was."""
        for text in texts:
            await asyncio.sleep(chance.random() * GAP)
            how = chance.choice(({}, {}, {"idempotency_key": text}, {"queue": True}))
            body = how | {
                "session_id": session,
                "recipient_phone": str(int(FRIEND) + chance.randrange(FRIENDS)),
                "message": text,
                "type": "text",
            }
            self._sent.append(Outgoing(session, text, await self._answer(body)))

    async def _answer(self, body: dict[str, Any]) -> Answer:
        for left in reversed(range(TRIES)):
            try:
                told = await self.world.call(
                    "POST", "/api/messages/send", body, within=TRY_DEADLINE
                )
            except ApiCallError as error:
                if 400 <= error.answered < 500:  # noqa: PLR2004 - final, for the application
                    return "refused"
                if left:
                    await asyncio.sleep(TRY_AGAIN)
            else:
                return _told(told)
        return "none"

    async def books(self) -> Books:
        """Everybody's, after the last message has come in and gone out, or none has for a while."""
        await self._last_delivery()
        await until(self._nothing_waits, "what was accepted is sent", within=LAST_DELIVERY)
        return Books(
            incoming=tuple(self._written),
            delivered=tuple(self._delivered()),
            rows=await asyncio.to_thread(self._rows),
            daemon_ends=tuple(self.world.daemon_ends),
            outgoing=tuple(self._sent),
            server=self._server(),
            outbox=await asyncio.to_thread(self._outbox),
        )

    async def _last_delivery(self) -> None:
        wanted = {(one.session, one.text) for one in self._written}

        def all_in(_: object) -> bool | None:
            return wanted <= {(one.session, one.text) for one in self._delivered()} or None

        before = -1
        while before != len(self.world.receiver.received):
            before = len(self.world.receiver.received)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_DELIVERY):
                    await self.world.receiver.until(all_in)

    def _delivered(self) -> list[Delivered]:
        return [
            Delivered(
                session=one["data"]["session_id"],
                chat=one["data"]["message"]["from"],
                text=one["data"]["message"]["body"],
                event_id=one["event_id"],
                at=one["taken_at"],
            )
            for one in self.world.receiver.received
            if one["event"] == "message_received"
        ]

    def _rows(self) -> Counter[tuple[str, str]]:
        with self.world.database(write=False) as connection:
            found = connection.execute(
                "SELECT session_id, payload FROM waguard_inbox WHERE kind = 'message'"
            ).fetchall()
        return Counter((session, json.loads(told)["message"]["body"]) for session, told in found)

    async def _nothing_waits(self) -> bool:
        states = (await asyncio.to_thread(self._outbox)).values()
        return not {"accepted", "sending"} & set(states)

    def _outbox(self) -> dict[tuple[str, str], str]:
        """The newest of each: what never left is kept too, and its repetition is another one."""
        with self.world.database(write=False) as connection:
            found = connection.execute(
                "SELECT session_id, body, state FROM waguard_outbox ORDER BY id"
            ).fetchall()
        return {(session, json.loads(body)["text"]): state for session, body, state in found}

    def _server(self) -> Counter[tuple[str, str]]:
        """What arrived there and was not refused."""
        return Counter(
            (session, message["body"])
            for session, phone in self.world.phones.items()
            for message in self.world.standin.phone.messages(phone)
            if message["direction"] == "out" and message["ack"] >= 0
        )


def _told(answer: dict[str, Any]) -> Answer:
    if not answer["success"]:
        return "uncertain"
    return "accepted" if answer.get("status") == "accepted" else "sent"


def _share(of: int, number: int, parts: int) -> int:
    """Part ``number`` of so many equal ones, which together are all."""
    return of * (number + 1) // parts - of * number // parts
