"""Reactions, edits, revocations: once begun never repeated, the newest counts, and none is a message."""

import asyncio
from typing import Any

from tests.messaging.outbox_ends import ended, result
from tests.messaging.outbox_world import CHAT, World
from waguard.core.messages.send_states import State
from waguard.errors import RefusedError, UnavailableError
from waguard.messaging.outbox.commands import action, content
from waguard.messaging.outbox.pending_sends import PendingSend
from waguard.ports.outcomes import Acked, NotSent, Refused, Uncertain
from waguard.wire.calls import SendContent

TARGET = f"true_{CHAT}_3EB0AA"


def act(world: World, kind: str, target: str = TARGET, text: str = "", **how: Any) -> PendingSend:
    return world.accept(action(CHAT, kind, target, {"text": text}), **how)


def sent(world: World) -> list[tuple[str, str]]:
    """Kind and text of all that the worker was asked for."""
    calls = [call for call in world.sessions.sends() if isinstance(call, SendContent)]
    return [(call.kind, call.content["text"]) for call in calls]


async def test_an_action_is_done_once_and_makes_no_message(world: World) -> None:
    for pending in (act(world, "reaction", text="👍"), act(world, "edit", text="new")):
        await result(world, pending)
        world.outbox.answered(pending)
        assert (await world.row(pending)).state is State.SENT
    assert sent(world) == [("reaction", "👍"), ("edit", "new")]
    place = world.accept(content(CHAT, "location", {"latitude": 1.0, "longitude": 2.0}))
    await result(world, place)
    world.outbox.answered(place)
    await world.row(place)
    assert [event for event, *_ in world.published] == ["message_sent"], "only the place is one"
    message = world.published[0][-1]["message"]
    shown = (message["type"], message["body"], message["has_media"])
    assert shown == ("location", "https://maps.google.com/?q=1.0,2.0", False)
    await world.stop()
    await world.start()  # nothing is reported late
    assert await world.store.outbox.unreported(since=0.0) == []


async def test_a_newer_one_cancels_those_not_yet_begun_on_its_target(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    other = f"true_{CHAT}_3EB0BB"
    reaction = act(world, "reaction", text="👍", later=True)
    edits = [act(world, "edit", text=text, later=True) for text in ("a", "b")]
    kept = act(world, "edit", other, "c", later=True)
    for pending in (reaction, *edits, kept):
        await asyncio.shield(pending.stored)
    assert await ended(world, edits[0]) is State.CANCELLED
    last = act(world, "edit", TARGET.replace("@c.us", "@lid"), "d", later=True)
    assert await ended(world, edits[1]) is State.CANCELLED, "the chat's other name"
    assert (await world.row(reaction)).state is State.ACCEPTED, "an edit leaves reactions alone"
    await world.kill()
    await world.start()
    gone = act(world, "revoke", text="", later=True)
    for pending in (reaction, last):
        assert await ended(world, pending) is State.CANCELLED, "also what an earlier run accepted"
    world.sessions.connect()
    for pending in (kept, gone):
        assert await ended(world, pending) is State.SENT
    assert sent(world) == [("edit", "c"), ("revoke", "")]


async def test_what_may_still_fail_or_is_for_later_cancels_nothing(world: World) -> None:
    world.sessions.connect(UnavailableError("not yet"))
    awaited, queued = act(world, "edit", text="a"), act(world, "edit", text="b", later=True)
    scheduled = act(world, "edit", text="c", send_at=world.clock.wall() + 60)
    direct = act(world, "edit", text="d")
    for pending in (awaited, queued, scheduled, direct):
        await asyncio.shield(pending.stored)
    world.sessions.connect()
    for pending in (awaited, direct):
        assert isinstance(await result(world, pending), Acked)
        world.outbox.answered(pending)
    assert await ended(world, queued) is State.SENT
    assert sent(world) == [("edit", "a"), ("edit", "b"), ("edit", "d")]
    assert (await world.row(scheduled)).state is State.ACCEPTED


async def test_what_gets_no_answer_is_uncertain_and_neither_repeated_nor_searched(
    world: World,
) -> None:
    world.sessions.outcomes.extend([Uncertain("no answer"), NotSent(UnavailableError("not now"))])
    lost = act(world, "reaction", text="x")
    assert isinstance(await world.outbox.result(lost), Uncertain)
    assert isinstance(await world.outbox.result(act(world, "revoke")), NotSent)
    world.outbox.answered(lost)
    assert (await world.row(lost)).state is State.UNCERTAIN
    world.sessions.free.clear()
    begun = act(world, "edit", text="y")
    await asyncio.shield(begun.stored)
    await world.kill()
    world.sessions.free.set()
    world.sessions.calls.clear()
    await world.start()
    assert await ended(world, begun) is State.UNCERTAIN, "who crashed does not know"
    assert world.sessions.calls == []
    assert world.published == []


async def test_a_refusal_of_a_queued_one_is_no_failed_message(world: World) -> None:
    world.sessions.outcomes.append(Refused(RefusedError("the message is deleted already")))
    pending = act(world, "revoke", later=True)
    assert await ended(world, pending) is State.REFUSED
    assert world.published == []
    assert await world.store.outbox.unreported(since=0.0) == []
