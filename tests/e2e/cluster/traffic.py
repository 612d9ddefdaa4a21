"""Programs that send and people who write all the while, and what has become of each message."""

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.e2e.cluster.trial import PATIENT, Trial
from tests.waiting import wait_until

ANSWERED_WITHIN: Final = 15.0  # s; then the program asks another host
PAUSE: Final = 0.3  # s between two messages of one program
RECIPIENTS: Final = 6  # of a bulk
PEOPLE: Final = 5
ENDED: Final = frozenset({"sent", "delivered", "read", "uncertain", "failed"})
MAYBE: Final = frozenset({"uncertain"})


def person(number: int) -> str:
    """Somebody's number."""
    return f"62811809{number % PEOPLE:03}"


def phone_of(session: str) -> str:
    """The number that a session of a trial is paired with."""
    return f"62811800{int(session.removeprefix('s')):03}"


@dataclass
class Traffic:
    """Single sends and bulks with keys by all hosts in turn, repeated until one answers, and messages to each session."""

    trial: Trial
    asked: dict[str, str] = field(default_factory=dict)
    """The session of each text that a host has taken."""
    acked: set[str] = field(default_factory=set)
    """The texts whose reply was 200."""
    written: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What people wrote, in order, by session."""
    answers: Counter[str] = field(default_factory=Counter)
    """Of all hosts: statuses, or why there was none."""
    _over: bool = False

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Inside. At the end each program waits for its last answer."""
        programs = [
            asyncio.create_task(program(session))
            for session in self.trial.sessions
            for program in (self._sends, self._bulks, self._people)
        ]
        try:
            await self._has_passed(1)
            yield
            self._over = True
            await asyncio.gather(*programs)
        finally:
            for it in programs:
                it.cancel()
            await asyncio.gather(*programs, return_exceptions=True)

    async def more(self) -> None:
        """Wait until each program has done some more."""
        await self._has_passed(3)

    async def _has_passed(self, count: int) -> None:
        was = {it: len(self.written[it]) for it in self.trial.sessions}
        taken = Counter(self.asked.values())

        def has() -> bool:
            now = Counter(self.asked.values())
            return all(
                len(self.written[it]) >= was[it] + count and now[it] >= taken[it] + count
                for it in self.trial.sessions
            )

        await wait_until(has, "all programs go on", deadline=PATIENT)

    # ---- programs ----

    async def _sends(self, session: str) -> None:
        for number in itertools.count():
            if self._over:
                return
            said = f"one {number} of {session}"
            body = {
                "session_id": session,
                "recipient_phone": person(number),
                "message": said,
                "type": "text",
                "idempotency_key": said,
            }
            if await self._ask("/api/messages/send", body, number) == 200:
                self.acked.add(said)
            self.asked[said] = session
            await asyncio.sleep(PAUSE)

    async def _bulks(self, session: str) -> None:
        for number in itertools.count():
            if self._over:
                return
            said = [f"bulk {number}.{place} of {session}" for place in range(RECIPIENTS)]
            recipients = [
                {"recipient_phone": person(place), "message": it} for place, it in enumerate(said)
            ]
            body = {"session_id": session, "recipients": recipients, "idempotency_key": said[0]}
            await self._ask("/api/messages/bulk-send", body, number)
            self.asked |= dict.fromkeys(said, session)
            await asyncio.sleep(RECIPIENTS * PAUSE)

    async def _people(self, session: str) -> None:
        phone = self.trial.world.standin.phone
        for number in itertools.count():
            if self._over:
                return
            said = f"in {number} to {session}"
            phone.incoming(phone=phone_of(session), from_=person(number), body=said)
            self.written[session].append(said)
            await asyncio.sleep(PAUSE)

    async def _ask(self, path: str, body: dict[str, Any], number: int) -> int:
        """The same request to one host after the other, until one takes it."""
        hosts = self.trial.hosts
        for turn in itertools.count(number):
            host = hosts[turn % len(hosts)]
            try:
                async with asyncio.timeout(ANSWERED_WITHIN):
                    code, answer = await host.call("POST", path, body)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.answers[type(error).__name__] += 1
                continue
            self.answers[f"{path.rpartition('/')[2]} {code}"] += 1
            if code in {200, 202}:
                return code
            assert code == 503, answer
            await asyncio.sleep(PAUSE)
        raise AssertionError

    # ---- what has become of it ----

    async def has_ended(self) -> None:
        """Wait until no message waits, and no webhook."""
        trial = self.trial

        async def nothing_waits() -> bool:
            some = await trial.query(
                "SELECT id FROM waguard_outbox WHERE state IN ('accepted', 'sending')"
                " UNION SELECT id FROM waguard_deliveries WHERE state = 'pending'"
            )
            return not some

        await trial.hosts[-1].until(nothing_waits, deadline=PATIENT)

    async def check_sends(self) -> Counter[str]:
        """Each text is one message, which went once, or perhaps once where nobody can know, or never where it failed; the
        count of each state."""
        states: dict[str, list[str]] = defaultdict(list)
        for state, body in await self.trial.query("SELECT state, body FROM waguard_outbox"):
            states[json.loads(bytes(body) if not isinstance(body, str) else body)["text"]].append(
                str(state)
            )
        assert states.keys() >= self.asked.keys(), "what a host took is kept"
        went = self._went()
        assert went.keys() <= states.keys()
        ends: Counter[str] = Counter()
        for said, known in states.items():
            # one that failed was never sent: a repetition is a second chance, and another message
            going = [it for it in known if it != "failed"]
            assert len(going) <= 1, f"{said} is two messages: {known}"
            state = going[0] if going else "failed"
            ends[state] += 1
            assert state in ENDED, (said, state)
            sent = went[said]
            assert sent <= 1, f"{said} went {sent} times"
            assert state in MAYBE or sent == (state != "failed"), (
                f"{said}: {state}, went {sent} times"
            )
        assert all(went[said] == 1 for said in self.acked)
        return ends

    def _went(self) -> Counter[str]:
        """By text: how often WhatsApp's server got it as a message of its own, by the stand-in."""
        standin = self.trial.world.standin
        return Counter(
            it["body"]
            for session in self.trial.sessions
            for it in standin.phone.messages(phone_of(session))
            if it["direction"] == "out"
        )

    def lost(self) -> Mapping[str, list[str]]:
        """What people wrote and no webhook had, by session, in order."""
        arrived = {
            it["data"]["message"]["body"]
            for it in self.trial.world.receiver.received
            if it["event"] == "message_received"
        }
        return {
            session: missing
            for session, said in self.written.items()
            if (missing := [it for it in said if it not in arrived])
        }

    def repeated(self) -> int:
        """How many webhooks came again. Each that did had the id that it had before."""
        ids: dict[tuple[str, ...], list[str]] = defaultdict(list)
        receiver = self.trial.world.receiver
        for it, event_id in zip(receiver.received, receiver.event_ids, strict=True):
            if (named := _named(it)) is not None:
                ids[named].append(event_id)
        for named, known in ids.items():
            assert len(set(known)) == 1, f"{named} has several ids: {known}"
        return sum(len(known) - 1 for known in ids.values())


def _named(delivery: dict[str, Any]) -> tuple[str, ...] | None:
    """What a webhook is about, where it may be there only once."""
    event, data = delivery["event"], delivery["data"]
    match event:
        case "message_received" | "message_sent":
            return event, data["message"]["id"]
        case "message_status_updated":
            return event, data["message_id"], data["status"]
        case _:
            return None
