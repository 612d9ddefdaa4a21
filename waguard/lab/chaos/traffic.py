"""The people and the application, who go on writing while things break."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct, field
from sqlalchemy.exc import SQLAlchemyError

from waguard.core.replace import replace
from waguard.errors import WaguardError
from waguard.lab.application import Row
from waguard.lab.chaos import kinds
from waguard.lab.chaos.kinds import Coming, Going
from waguard.lab.chaos.kinds_check import Act, Name, Vote
from waguard.lab.chaos.world import FRIEND, FRIENDS, NotInTimeError, World, stem, until
from waguard.lab.standin.refusal import Refusal

GAP: Final = 0.4  # s between two messages of a session, at most
LINKED_WITHIN: Final = 300.0  # s in which an unlinked session is scanned
COUNTED_WITHIN: Final = 60.0  # s for a vote to be in the inbox, where its page stays
IN_GROUP: Final = 0.15  # of what people write
HALF: Final = 0.5
RECENT: Final = 8  # messages of a session that may be changed
CHOICES: Final[Sequence[dict[str, Any]]] = ({}, {"queue": True}, {"async": True}, {"async": True})
FIELDS: Final = {"reaction": "reaction", "edit": "message"}


class Traffic(Struct):
    """So many messages to and from the sessions, and from their phones, in ``rounds``."""

    world: World
    seed: int
    incoming: int
    outgoing: int
    written_on_phone: int
    changed: int
    rounds: int
    coming: dict[Name, Coming] = field(default_factory=dict)
    """What people wrote."""
    votes: list[Vote] = field(default_factory=list)
    sent: list[tuple[str, Row, Going]] = field(default_factory=list)
    acts: list[tuple[Act, Row]] = field(default_factory=list)
    on_phone: list[tuple[str, str]] = field(default_factory=list)
    _gathered: set[str] = field(default_factory=set)

    async def round(self, number: int) -> None:
        """One of them, from 0 on; together they make up all messages."""
        chance = random.Random(f"{self.seed} {number}")  # noqa: S311 - to be repeated
        sessions = self.world.sessions
        coming, going, written, changed = (
            _share(of, number, self.rounds)
            for of in (self.incoming, self.outgoing, self.written_on_phone, self.changed)
        )
        work = []
        for place, session in enumerate(sessions):
            texts = [f"in {number}.{n}" for n in range(_share(coming, place, len(sessions)))]
            work.append(self._write(session, texts, random.Random(chance.random())))  # noqa: S311
            texts = [f"out {number}.{n}" for n in range(_share(going, place, len(sessions)))]
            work.append(self._send(session, texts, random.Random(chance.random())))  # noqa: S311
            texts = [f"phone {number}.{n}" for n in range(_share(written, place, len(sessions)))]
            work.append(self._write_on_phone(session, texts, random.Random(chance.random())))  # noqa: S311
            texts = [f"{number}.{n}" for n in range(_share(changed, place, len(sessions)))]
            work.append(self._change(session, texts, random.Random(chance.random())))  # noqa: S311
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
            one = kinds.coming(kinds.drawn(chance, kinds.COMING), text, chance)
            if chance.random() < IN_GROUP:
                one = replace(one, people=_people())
            write = partial(self._wrote, session, one, friend)
            name = await until(write, f"somebody may write to {session}", within=LINKED_WITHIN)
            if one.kind == "poll":
                await self._vote(name, friend, chance.randrange(len(kinds.OPTIONS)))

    async def _wrote(self, session: str, one: Coming, friend: str) -> Name | None:
        """Not while no browser is linked: what is written then is the phone's alone."""
        if session in self.world.quiet:
            return None
        phone, number = self.world.standin.phone, self.world.phones[session]
        where = {"from_": friend}
        with contextlib.suppress(Refusal):
            if one.people:
                if session not in self._gathered:
                    phone.group(group_of(session), sorted(_people()), phone=number)
                    self._gathered.add(session)
                where = {"from_": group_of(session), "author": friend}
            made = phone.incoming(phone=number, **where, **one.fields)
            self.coming[session, stem(made["id"])] = one
            return session, stem(made["id"])
        return None

    async def _vote(self, poll: Name, friend: str, option: int) -> None:
        """Votes of the time in which no page was there are not reported: a page is there, and stays or not."""
        session, message = poll
        phone = self.world.phones[session]
        pages = await until(
            partial(self._voted, poll, friend, option),
            f"somebody may vote in {session}",
            within=LINKED_WITHIN,
        )
        vote = Vote(poll=poll, options=(kinds.OPTIONS[option],))

        async def counted_or_gone() -> bool:
            if self._pages(phone) != pages:
                return True
            with contextlib.suppress(SQLAlchemyError):
                votes = await self.world.inbox("vote")
                return any(stem(one["message_id"]) == message for _, one in votes)
            return False

        with contextlib.suppress(NotInTimeError):
            await until(counted_or_gone, "the vote is counted", within=COUNTED_WITHIN)
        self.votes.append(replace(vote, watched=self._pages(phone) == pages))

    async def _voted(self, poll: Name, friend: str, option: int) -> list[object] | None:
        """The pages that were there."""
        session, message = poll
        phone = self.world.phones[session]
        if session in self.world.quiet:
            return None
        with contextlib.suppress(Refusal, WaguardError):
            before = self._pages(phone)
            is_connected = (await self.world.reported(session)).link == "connected"
            if is_connected and before and all(before) and self._pages(phone) == before:
                self.world.standin.phone.vote(message, [option], from_=friend, phone=phone)
                return before
        return None

    def _pages(self, phone: str) -> list[object]:
        devices = self.world.standin.whatsapp.devices[phone]
        return [device.page for device in devices if device.is_linked]

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
            self.on_phone.append((session, text))
            return True
        return False

    async def _send(self, session: str, texts: Sequence[str], chance: random.Random) -> None:
        """As the application does: one after the other, and what failed is repeated as it was."""
        for text in texts:
            await asyncio.sleep(chance.random() * GAP)
            how = chance.choice(({}, {}, {"idempotency_key": text}, {"queue": True}))
            friend = str(int(FRIEND) + chance.randrange(FRIENDS))
            one = kinds.going(kinds.drawn(chance, kinds.GOING), friend, text, chance)
            if one.upload:
                await self.world.app.upload(session, one.upload, "application/pdf")
            row = await self.world.app.send_as(
                one.path, session, friend, text, {**one.fields, **how}
            )
            self.sent.append((session, row, one))

    async def _change(self, session: str, names: Sequence[str], chance: random.Random) -> None:
        """As a program that asks nobody whether the session can: on what went out or came in of late."""
        for name in names:
            await asyncio.sleep(chance.random() * GAP)
            kinds_of_it = kinds.drawn(chance, kinds.ACTING)
            ours = [
                row.message_id
                for of, row, one in self.sent
                if of == session and row.message_id and one.path == "send"
            ]
            theirs = [row.message_id for row in self.world.app.records.of(session, "in")]
            known = theirs if set(kinds_of_it) == {"reaction"} and chance.random() < HALF else ours
            if target := chance.choice(known[-RECENT:] or [None]):
                await self._act(session, target, kinds_of_it, name, chance)

    async def _act(
        self,
        session: str,
        target: str,
        kinds_of_it: Sequence[str],
        name: str,
        chance: random.Random,
    ) -> None:
        """One behind the other, on the same message; a message is deleted once."""
        for place, kind in enumerate(kinds_of_it):
            said = "" if kind == "revoke" else f"{kind} {place} of {name}"
            act = Act(session, stem(target), kind, said)
            if act in {one for one, _ in self.acts}:
                return
            given = {FIELDS[kind]: said} if kind in FIELDS else {}
            row = await self.world.app.act(session, target, kind, **given, **chance.choice(CHOICES))
            self.acts.append((act, row))


def group_of(session: str) -> str:
    """The group that its people are in."""
    return f"120363000000{int(session.removeprefix('s')):02}@g.us"


def _people() -> frozenset[str]:
    return frozenset(f"{int(FRIEND) + place}@c.us" for place in range(FRIENDS))


def _share(of: int, number: int, parts: int) -> int:
    """Part ``number`` of so many equal ones, which together are all."""
    return of * (number + 1) // parts - of * number // parts
