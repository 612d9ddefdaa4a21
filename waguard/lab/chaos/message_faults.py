"""The ways to lose or double a message, for a campaign with traffic. As ``faults.py``.

What destroys a profile is not among them: WhatsApp's own store of messages goes with it.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from waguard.lab.chaos.application_faults import APPLICATION_FAULTS, during
from waguard.lab.chaos.faults import FAULTS
from waguard.lab.chaos.harming import OUTAGE, Fault, living, unique
from waguard.lab.chaos.invariants import Harm
from waguard.lab.chaos.world import FRIEND, FRIENDS, NotInTimeError, World, stem, until
from waguard.lab.standin.refusal import Refusal

BACKLOGS: Final = (1, 98)  # jobs; with both the application's own code was measured
LATE_MESSAGES: Final = 20
LATE_GAP: Final = 0.5  # s between two of them
LINKED_WITHIN: Final = 120.0  # s
LATE: Final = 7.0  # s for the server's ack; more than a send waits for it
REPORTED_WITHIN: Final = 60.0  # s for what was written before an unlink to be in the inbox
READ_WITHIN: Final = (
    120.0  # s for what became readable to be in the inbox; a new worker may have to start
)
WAYS: Final = ("event", "silent", "stored", "again")  # as the stand-in has them
SHOWN: Final = ("event", "silent")  # of them, those that a page shows without being loaded again
_NEW_PAGE: Final = (FAULTS["kill worker"], FAULTS["kill browser"])


class Sealed(NamedTuple):
    """A message that cannot be decrypted yet, and the way in which it will be."""

    id: str
    text: str
    way: str


async def orderly_restart(world: World, session: str, _: random.Random) -> Harm:
    """``systemctl restart``, in the midst of all deliveries."""
    began = time.time()
    await world.stop_daemon()
    arrived = world.incoming(session, f"during a restart {time.monotonic_ns()}")
    await world.restart_daemon()
    return Harm(began=began, arrived=(arrived,))


async def unlink_and_scan(world: World, session: str, chance: random.Random) -> Harm:
    """The device is removed on the phone, while what it received is being delivered.

    What no browser ever had is lost with the device: nobody writes in that moment.
    """
    world.quiet.add(session)

    async def all_in() -> bool:
        return not await _missing(world, session)

    try:
        await until(all_in, "the inbox has it all", within=REPORTED_WITHIN)
    except NotInTimeError as error:
        seen = f"missing {await _missing(world, session)}, {await world.reported(session)}"
        raise NotInTimeError(f"{error.line()}: {seen}") from None
    return await FAULTS["unlink"](world, session, chance)


async def _missing(world: World, session: str) -> list[str]:
    """Texts that were written to it and are not in the inbox."""
    # by the last part of their ids: the chat's name in the middle may have changed since
    known = {stem(one["id"]) for of, one in await world.inbox() if of == session}
    return [one["body"] for one in world.written(session) if stem(one["id"]) not in known]


async def late_jobs(world: World, session: str, chance: random.Random) -> Harm:
    """What its queue writes into a row comes after ``session_ready``, behind other jobs; people write as
    soon as somebody is linked again."""
    world.app.hooks.misbehave(backlog=chance.choice(BACKLOGS))
    harm = await chance.choice((unlink_and_scan, FAULTS["kill browser"]))(world, session, chance)
    world.meanwhile.append(asyncio.create_task(_write_on(world, session, chance)))
    return harm


async def _write_on(world: World, session: str, chance: random.Random) -> None:
    for _ in range(LATE_MESSAGES):
        text, friend = unique("while jobs are late"), str(int(FRIEND) + chance.randrange(FRIENDS))

        async def wrote(text: str = text, friend: str = friend) -> bool:
            with contextlib.suppress(Refusal):
                return bool(world.incoming(session, text, friend=friend))
            return False

        await until(wrote, f"somebody may write to {session}", within=LINKED_WITHIN)
        await asyncio.sleep(LATE_GAP)


async def late_acks(world: World, session: str, _: random.Random) -> Harm:
    """WhatsApp's server answers, when nobody waits any more."""
    del session
    return await during(world, _policy(world, ack_delay=LATE))


async def no_acks(world: World, session: str, chance: random.Random) -> Harm:
    """WhatsApp never answers; what was sent it has, or has not."""
    del session
    return await during(world, _policy(world, never_answer=chance.choice(["recorded", "lost"])))


async def drop_in_mid_send(world: World, session: str, _: random.Random) -> Harm:
    """The socket goes as soon as the message has left."""
    began = time.time()
    async with _policy(world, never_answer="drop"):
        await asyncio.sleep(OUTAGE)
    del session
    return Harm(began=began)


async def migrate_chats(world: World, session: str, chance: random.Random) -> Harm:
    """WhatsApp gives half of its chats a LID, or another one; of some the page learns late whose."""
    began, kept, phone = time.time(), await living(world), world.phones[session]
    hidden = list[str]()
    for place in chance.sample(range(FRIENDS), FRIENDS // 2 + 1):
        number, known = str(int(FRIEND) + place), chance.random() < 0.5  # noqa: PLR2004 - half
        lid = f"7{chance.randrange(10**13):013}"
        world.standin.phone.migrate(number, lid, phone=phone, known=known)
        hidden += [] if known else [number]
    await asyncio.sleep(OUTAGE)
    for number in hidden:
        world.standin.phone.reveal(number, phone=phone)
    return Harm(began=began, kept=kept)


async def undecryptable_messages(world: World, session: str, chance: random.Random) -> Harm:
    """ "Waiting for this message": one becomes readable in each way. Half the time waguard remembers
    them before, and finds what its page comes to show; then the page is loaded again, or something dies.
    """
    sealed = list[Sealed]()
    for way in chance.sample(WAYS, len(WAYS)):
        friend, text = str(int(FRIEND) + chance.randrange(FRIENDS)), unique(f"sealed, {way}")
        sealed.append(Sealed(world.seal(session, text, friend=friend), text, way))

    async def remembered() -> bool:
        view = await world.call("GET", f"/api/sessions/{session}/status")
        return bool(view["undecryptable"]["count"] >= len(sealed))

    if chance.random() < 0.5:  # noqa: PLR2004 - half
        await until(remembered, f"{session} remembers them", within=REPORTED_WITHIN)
        shown = [one for one in sealed if one.way in SHOWN]
        await _decrypt(world, session, shown)
        await _are_reported(world, session, shown)
        await _decrypt(world, session, [one for one in sealed if one.way not in SHOWN])
    else:
        await _decrypt(world, session, sealed)
    harm = await chance.choice((_reload, orderly_restart, *_NEW_PAGE))(world, session, chance)
    world.meanwhile.append(asyncio.create_task(_are_reported(world, session, sealed)))
    return harm


async def _decrypt(world: World, session: str, sealed: Sequence[Sealed]) -> None:
    phone = world.phones[session]
    for one in sealed:
        world.standin.phone.decrypt(one.id, one.way, phone=phone)

    async def decrypted() -> bool:
        """But for what is left to the page that is loaded next."""
        waiting = [s for it in world.standin.whatsapp.linked(phone) for s in it.queue.values()]
        return not any(s["type"] == "decrypted" and s["way"] != "again" for s in waiting)

    await until(decrypted, "its page has decrypted them", within=REPORTED_WITHIN)


async def _reload(world: World, session: str, _: random.Random) -> Harm:
    began, kept = time.time(), await living(world)
    world.standin.phone.reload(world.phones[session])
    return Harm(began=began, kept=kept)


async def _are_reported(world: World, session: str, sealed: Sequence[Sealed]) -> None:
    missing = [one.text for one in sealed]

    async def all_in() -> bool:
        known = {message["body"] for of, message in await world.inbox() if of == session}
        missing[:] = [text for text in missing if text not in known]
        return not missing

    try:
        await until(all_in, "what became readable is in the inbox", within=READ_WITHIN)
    except NotInTimeError as error:
        raise NotInTimeError(f"{error.line()}: missing {missing}") from None


@asynccontextmanager
async def _policy(world: World, **changes: object) -> AsyncIterator[None]:
    world.standin.policy.update(changes)
    try:
        yield
    finally:
        world.standin.policy.update({"never_answer": "", "ack_delay": 0.0})


_OF_ALL: Final = (
    "kill daemon",
    "hang daemon",
    "kill worker",
    "hang worker",
    "kill browser",
    "hang browser",
    "kill renderer",
    "hang renderer",
    "suspend",
    "lock database",
    "lose database",
    "fill disk",
    "drop socket",
    "slow modules",
)
MESSAGE_FAULTS: Final[Mapping[str, Fault]] = {name: FAULTS[name] for name in _OF_ALL} | {
    fault.__name__.replace("_", " "): fault
    for fault in (
        orderly_restart,
        unlink_and_scan,
        late_jobs,
        late_acks,
        no_acks,
        drop_in_mid_send,
        migrate_chats,
        undecryptable_messages,
        *APPLICATION_FAULTS,
    )
}
"""By name, in words."""
