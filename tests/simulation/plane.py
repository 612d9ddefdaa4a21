"""Sends and their acks, memory: what the message plane and the watchdog say of a session."""

from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.page import Page
from waguard.core.fleet.ack_watch import Late
from waguard.core.fleet.facts import AcksSeen, Measured
from waguard.core.page_care import Kind
from waguard.core.session.facts import Noticed

if TYPE_CHECKING:
    from tests.simulation.world import World

MEMORY_LIMIT: Final = 900 << 20
_ACK_LIMIT, _SENDS_APART, _TICK = 60.0, 45.0, 10.0  # s
_MEASURED = 15.0  # s


class Plane:
    """Of all sessions."""

    def __init__(self, world: "World") -> None:
        self._world = world

    # ---- acks ----

    def go_deaf(self, page: Page) -> None:
        """From now on no ack comes."""
        if page.up_since is None or page.deaf_since is not None:
            return
        page.deaf_since, page.deaf_worker = self._world.t, page.number
        self._watch(page, page.deaf_since)

    def _watch(self, page: Page, since: float) -> None:
        world = self._world
        if world.frozen_at is not None:  # the daemon itself counts, and does not now
            world.after(1.0, partial(self._watch, page, since))
            return
        everywhere = world.active["acks_everywhere"] > 0
        if not page.exists:
            page.deaf_since = None
        if page.deaf_since != since:
            return
        replaced = page.number != page.deaf_worker  # or its acks come by themselves
        if replaced and not everywhere and page.up_since is not None:
            page.deaf_since = None
            world.post(page.name, Noticed(kind=Kind.ACKS_IN_VAIN, message=None))
            world.post(page.name, AcksSeen(acked_at=world.t))
            world.after(1.0, partial(world.post, page.name, AcksSeen()))
            world.checks.healed(page)
            return
        if page.up_since is not None:
            world.post(page.name, self._seen(page, since, replaced=replaced))
        world.after(_TICK, partial(self._watch, page, since))

    def _seen(self, page: Page, since: float, *, replaced: bool) -> AcksSeen:
        world = self._world
        waited = world.t - max(since, page.up_since or world.t, world.network_since)
        count = 1 + int((waited - _ACK_LIMIT) / _SENDS_APART) if waited > _ACK_LIMIT else 0
        late = Late(min(count, 20), waited) if count else None
        if replaced and late:
            why = "WhatsApp has acknowledged no send since the worker was replaced for that"
            world.post(page.name, Noticed(kind=Kind.ACKS_IN_VAIN, message=why))
        return AcksSeen(
            late=late,
            curable=None if replaced else late,
            overdue=late is not None and not replaced,
            in_vain=replaced and late is not None,
            on_trial=replaced and late is None,
            busy=world.draw("busy", page.name, int(world.t)) < 0.1,
        )

    def acks_come(self) -> None:
        """Nothing is missing any more, anywhere: within some seconds each has its acks."""
        world = self._world
        for page in world.pages.values():
            if page.deaf_since is not None:
                page.deaf_worker = 0  # nobody has to be replaced for it
                late = 5.0 * world.draw("acks", page.name, int(world.t))
                world.after(late, partial(self._watch, page, page.deaf_since))

    def others_send(self) -> None:
        """Somebody gets acks: it is not WhatsApp's doing."""
        world = self._world
        for page in world.pages.values():
            sends = world.draw("sender", page.name) < 0.4 and world.draw("now", int(world.t)) < 0.5
            if sends and page.up_since is not None and page.deaf_since is None:
                world.post(page.name, AcksSeen(acked_at=world.t))

    def idle(self, page: Page) -> float | None:
        """Seconds without a message; None: a call is under way."""
        chance = self._world.draw("idle", page.name, int(self._world.t))
        return None if chance < 0.05 else 300.0 * chance

    # ---- memory ----

    def grow(self, page: Page) -> None:
        """It uses more than it may."""
        if page.alive and not page.big:
            page.big = True
            self._measure(page)

    def _measure(self, page: Page) -> None:
        world, name = self._world, page.name
        if world.frozen_at is not None:
            world.after(1.0, partial(self._measure, page))
            return
        if not page.exists:
            page.big = False
        memory = MEMORY_LIMIT // 2
        if page.big:
            far = world.draw("far", name, page.number) < 0.2
            memory = MEMORY_LIMIT * 2 if far else MEMORY_LIMIT * 5 // 4
        if page.alive and page.up_since is not None:
            world.post(name, Measured(memory=memory, idle=self.idle(page)))
            if not page.big:
                world.checks.healed(page)
                return
        if page.big or not page.alive or page.up_since is None:
            world.after(_MEASURED, partial(self._measure, page))

    def shrink(self, page: Page) -> None:
        """The account needs less again: what a replacement could not cure is over."""
        state = self._world.state(page)
        if state and Kind.MEMORY_IN_VAIN in state.care.found:
            page.big = False
