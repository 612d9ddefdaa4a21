"""What has to hold, whatever happens."""

from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.faults import HEALED_LINKS, HOST, KINDS, REFUSALS, SLOWLY, TURN
from tests.simulation.page import Page
from tests.simulation.watched import WatchedEngine
from waguard.core.blame import Blame
from waguard.core.fleet.state import FleetState, connected
from waguard.core.link import Link
from waguard.core.page_care import UNSURE_LIMIT, Kind
from waguard.core.passkey_link import WAITING
from waguard.core.row_status import ParkCause, Status
from waguard.core.session import effects as do
from waguard.core.session import page_restarts
from waguard.core.session.effects import Effect
from waguard.core.session.page_load import FIRST_PAUSE
from waguard.core.session.restart import LONGEST_PAUSE, Retries
from waguard.core.session.state import Intent, Rules, SessionState, Slot, Stage
from waguard.core.session.takeover import LIMIT, PERIOD
from waguard.core.session.views import UNPAIRED, conditions, is_adopting, link, passkey

if TYPE_CHECKING:
    from tests.simulation.world import World

ROW_LAG: Final = 2.0  # s
SILENT_PAGE, SILENT_WORKER = 32.5, 12.5  # s until the row may not say any more that it is connected
WELL: Final = 5.0  # s up: whoever ends it now needs a reason
ADOPTION: Final = 5.0  # s
LATELY: Final = 60.0  # s in which it is known that one was served
READ: Final = 100.0  # s; the daemon may have stood still for so long
_STUCK: Final = frozenset({Link.OFFLINE, Link.SYNCING, Link.PAIRING})
_PARKED_FOR: Final = {
    ParkCause.CONFLICT: frozenset({Link.CONFLICT}),
    ParkCause.BLOCKED: frozenset({Link.BLOCKED}),
    ParkCause.NEEDS_UPDATE: frozenset({Link.NEEDS_UPDATE}),
    ParkCause.QR_EXPIRED: frozenset({Link.QR_PENDING, Link.LOGGED_OUT}),
}


class Checks:
    """Raise ``Violation``."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._read_at = float("-inf")
        self._scheduled_at = self._served_at = self._refused_at = float("-inf")
        self._served_by = float("-inf")
        """Until then it may still be unknown that WhatsApp serves its page again."""

    # ---- after each step ----

    def session(self, page: Page, state: SessionState | None) -> None:
        """Conditions explain why it is not healthy."""
        if state is not None and state.left:
            page.paired = False  # a daemon that stood still learns of a logout after the page
        if state is None or state.intent is Intent.DOWN or state.left or not state.begun:
            return
        planned = state.replacement
        if planned and planned.stuck is None and (page.deaf_since is not None or page.big):
            page.excused = (
                True  # it was unhealthy when that was decided, and a slot may be long in coming
            )
        up = state.status.status is Status.CONNECTED
        if not up and not is_adopting(state) and not conditions(state):
            self._world.fail(f"{page.name} is {state.status.status}, and no condition says why")
        page.paired |= link(state) is Link.CONNECTED
        degraded = any(it.degrades for it in conditions(state))
        if page.paired and link(state) in UNPAIRED and not is_adopting(state) and not degraded:
            self._world.fail(f"{page.name} is not linked any more, and nothing is degraded")

    def fleet(self, engine: WatchedEngine, before: FleetState) -> None:
        """Slots and the breaker."""
        after = engine.fleet
        if after.starting is not before.starting or after.waiting is not before.waiting:
            engine.check_slots()
        opening = before.breaker.opening
        for name in after.starting - before.starting if opening else ():
            now, state = after.breaker.opening, engine.sessions.get(name)
            asked = state is not None and (state.asked or state.replacement is not None)
            asked = asked or self._world.pages[name].asked or name in after.whatsapp.asking
            if now and name != now.canary and not asked:
                self._world.fail(f"{name} is started while the breaker is open")
        self._release(before, after)
        if after.slow is not None and after.slow != before.slow:
            slow = [it.session for it in engine.sessions.values() if it.retries.running]
            if len(slow) > 1:
                self._world.fail(f"{slow} spent their restarts, and are tried at once")

    def host_read(self, engine: WatchedEngine) -> None:
        """Once for all, and only while somebody waits for what it says."""
        fleet, now = engine.fleet, self._world.t
        if (
            self._read_at <= now < self._read_at + 0.999
            and self._world.daemon_since < self._read_at
        ):
            self._world.fail(f"the host is read again after {now - self._read_at:.2f} s")
        self._read_at = now
        waits = fleet.waiting or fleet.outages or fleet.broken or fleet.breaker.opening
        if not waits and len(connected(fleet)) == len(engine.sessions) and not fleet.acks:
            self._world.fail("the host is read, and nobody waits for that")

    def effect(self, page: Page, effect: Effect) -> None:  # noqa: C901 - a table of effects
        """Whether it may be done."""
        match effect:
            case do.RequestSlot(asked=asked):
                page.asked = asked
            case do.Spawn():
                self._spawn(page)
                self._start_under_refusal(page)
            case do.Terminate(worker) if worker == page.number:
                self._terminate(page)
            case do.Kill(worker) if worker == page.number:
                self._kill(page)
            case do.TakeOver():
                now = self._world.t
                page.takeovers = [at for at in page.takeovers if at > now - PERIOD] + [now]
                if len(page.takeovers) > LIMIT and not page.excused:
                    self._world.fail(f"{page.name} is taken over {len(page.takeovers)} times")
            case do.Reload():
                self._reload(page)
            case do.Record("parked", _, _, reason):
                self._parked(page, ParkCause(reason or ""))
            case do.Record("restart", evidence=found) if found.get("blame") == Blame.SESSION:
                self._delay(page, found["delay"])
            case do.Publish() | do.WriteStatus() | do.Record("status"):
                self._quiet(page, effect)
            case _:
                pass

    def _delay(self, page: Page, delay: float) -> None:
        """Full jitter, and no more."""
        if (state := self._world.state(page)) is None:
            return
        policy, before = state.rules.restart, len(state.counted) - 1
        if state.failure and state.failure.reason == page_restarts.REASON:
            before = policy.intensity  # each load of its page counts
        most = min(policy.max_delay, policy.base_delay * 2.0 ** (before - 1)) if before else 0.0
        if not 0.0 <= delay <= most:
            self._world.fail(
                f"{page.name} is restarted after {delay:.1f} s, at most {most:.1f} are due"
            )

    def _release(self, before: FleetState, after: FleetState) -> None:
        """Others ask only after one was served."""
        was, now = before.whatsapp, after.whatsapp
        if was.why is None and now.why:
            self._refused_at = self._world.t
        if was.release is None and now.release and self._served_at < self._refused_at - LATELY:
            self._world.fail(f"{now.release.left} are to ask, and nobody was served")

    def asked(self, page: Page) -> None:
        """It asked WhatsApp for its page."""
        page.retry_at = self._world.t + page.retry_after if page.refused else 0.0
        if not page.refused:
            self._served_at = self._world.t

    def _start_under_refusal(self, page: Page) -> None:
        world, state = self._world, self._world.state(page)
        # who restarts the session that asks for all needs no slot for it: it has one
        asked = page.asked or (state is not None and state.asked)
        if world.engine and world.engine.fleet.whatsapp.why and not asked:
            self._scheduled(page)

    def _scheduled(self, page: Page) -> None:
        """One session tries for all at growing intervals; when one was served the others try."""
        world, now = self._world, self._world.t
        release = world.engine is not None and world.engine.fleet.whatsapp.release is not None
        if not release and now - self._served_at > LATELY:
            apart = now - self._scheduled_at
            if apart < FIRST_PAUSE and world.daemon_since <= self._scheduled_at:
                world.fail(f"{page.name} asks WhatsApp {apart:.1f} s after another did")
            for other in world.pages.values():
                if self._knows_refusal(other) and now < other.retry_at:
                    early = other.retry_at - now
                    world.fail(f"{page.name} asks {early:.1f} s before Retry-After of {other.name}")
        self._scheduled_at = now

    def _knows_refusal(self, page: Page) -> bool:
        state = self._world.state(page)
        worker = state.worker if state else None
        return bool(page.alive and page.refused and worker and worker.refusals == page.refusals)

    def _reload(self, page: Page) -> None:
        up = page.up_since is not None and self._world.t - page.up_since > WELL
        state = self._world.state(page)
        if state and state.worker and state.worker.refused:
            self._scheduled(page)
            return
        linking = state and passkey(state)
        if linking and linking.stage in WAITING:
            self._world.fail(f"{page.name} is reloaded while its passkey is {linking.stage}")
        offered = state and state.worker and state.worker.update_since is not None
        if up and not offered:
            self._world.fail(f"{page.name}: a healthy page is reloaded")
        self._blame_network(page)

    def _blame_network(self, page: Page) -> None:
        """Many that lose WhatsApp at once are not unhealthy, each for itself."""
        world = self._world
        lost = world.network_lost
        if not world.active["network_unsure"] or not 120.0 < world.t - lost < UNSURE_LIMIT:
            return
        if page.down_since < lost or world.suffers("phone_off", page.name) or page.excused:
            return
        pages = [it for it in world.pages.values() if it.ready]
        offline = [it for it in pages if world.workers.link(it) is Link.OFFLINE]
        together = sum(0.0 <= it.down_since - lost <= 8.0 for it in offline)
        if len(offline) == len(pages) and together > 2 and together > 0.75 * len(offline):
            world.fail(
                f"{page.name} is taken for unhealthy, and {together} lost the network at once"
            )

    def _spawn(self, page: Page) -> None:
        state = self._world.state(page)
        if state and not state.asked and self._world.t < state.not_before - 1e-6:
            early = state.not_before - self._world.t
            self._world.fail(f"{page.name} starts {early:.1f} s before its time")

    def _terminate(self, page: Page) -> None:
        """No healthy worker is replaced; and a page is reloaded before its worker is replaced."""
        world, state = self._world, self._world.state(page)
        if state is None:
            return
        page.planned = state.worker is not None and state.worker.planned
        # up between two loads of itself, and seen late: a daemon that stood still sees them together
        loops = any(world.suffers(it, page.name) for it in ("page_spins", "page_reloads"))
        unhealthy = page.hung or page.stopped or page.mute or page.old or page.big or loops
        excused = page.excused or unhealthy or page.deaf_since is not None or not page.exists
        if excused or state.intent is not Intent.UP or state.left:
            return
        if page.up_since is not None and world.t - page.up_since > WELL:
            world.fail(f"{page.name}: a healthy worker is ended ({state.failure})")
        if page.planned:
            self._blame_network(page)
        if page.planned and state.slot is not Slot.HELD:
            world.fail(f"{page.name}: its worker is ended before the next one has a start slot")
        linked = page.ready and world.workers.link(page) in _STUCK
        if linked and page.planned and not page.reloaded:
            world.fail(f"{page.name}: its worker is replaced, and its page was not reloaded")
        if linked and page.refused:
            world.fail(f"{page.name}: WhatsApp refuses it, and its worker is replaced")

    def _kill(self, page: Page) -> None:
        """The browser of whoever closes has the whole grace to write the profile."""
        world, since = self._world, page.closes_since
        if since is not None and world.t - since < Rules().stop_grace - 0.01:
            world.fail(f"{page.name}: a worker is killed {world.t - since:.1f} s after it closes")

    def _parked(self, page: Page, cause: ParkCause) -> None:
        world, state = self._world, self._world.state(page)
        if cause is ParkCause.RESTART_BUDGET:
            if state and (state.intent is not Intent.UP or not state.retries.at):
                world.fail(f"{page.name} spent its restarts, and is not tried again")
            if state and state.retries.at and state.retries.at > world.t + 1.2 * LONGEST_PAUSE:
                world.fail(f"{page.name} is tried again only after {state.retries.at - world.t} s")
            return
        known = _PARKED_FOR.get(cause, frozenset())
        lately = page.before[0] if world.t - page.before[1] < READ else page.account
        if known.isdisjoint({page.account, lately}) and not page.excused:
            world.fail(f"{page.name} is parked ({cause}), which only a person can end")

    def _quiet(self, page: Page, effect: Effect) -> None:
        if page.quiet_until is None:
            return
        if self._world.t <= page.quiet_until and page.up_since is not None:
            self._world.fail(f"{page.name} was adopted as it was, and then: {effect}")
        page.quiet_until = None

    # ---- the row ----

    def reported(self, page: Page, link: Link) -> None:
        """The daemon heard that it is not connected."""
        world = self._world
        if link in {Link.CONNECTED, Link.UNKNOWN} or world.engine is None:
            return
        if page.up_since is None and world.frozen_at is None:
            world.after(ROW_LAG, partial(self._row, page, world.t))

    def silent(self, page: Page) -> None:
        """Only missing answers show that it is not connected."""
        world = self._world
        seconds = SILENT_WORKER if page.stopped else SILENT_PAGE
        world.after(seconds, partial(self._silent_row, page, world.t))

    def _silent_row(self, page: Page, since: float) -> None:
        # else it went on, and what it says of its link counts; or it is silent once more, which is another check
        if (page.hung or page.stopped) and page.answered <= since:
            self._row(page, since)

    def _row(self, page: Page, since: float) -> None:
        world = self._world
        watched = max(world.daemon_since, world.database_since) <= since
        if not watched or world.engine is None or world.frozen_at is not None:
            return
        if not world.rows.used() or not page.exists or page.up_since is not None:
            return
        if world.state(page) is None or page.down_since > since:
            return  # it was up meanwhile
        if page.row.status is Status.CONNECTED:
            ago = world.t - since
            world.fail(
                f"{page.name}: the row says connected, {ago:.1f} s after it was known not to be"
            )

    # ---- adoption ----

    def adopted(self, page: Page) -> None:
        """A new daemon found it as it was: nothing is to be said."""
        same = page.row.status is Status.CONNECTED and page.up_since is not None
        well = same and page.phone and not (page.old or page.big or page.deaf_since)
        page.quiet_until = self._world.t + ADOPTION if well else None

    # ---- liveness ----

    def came_up(self, page: Page) -> None:
        """It is connected."""
        self._world.after(HEALED_LINKS + 1.0, partial(self._long_up, page, self._world.t))
        self.healed(page)

    def _long_up(self, page: Page, since: float) -> None:
        if page.up_since == since:
            page.reloaded = False

    def healed(self, page: Page) -> None:
        """Its last trouble may be over."""
        if page.trouble and self._is_well(page):
            end, kind = page.trouble
            page.trouble = None
            self._world.healed[kind].append(self._world.t - end)

    def _is_well(self, page: Page) -> bool:
        return page.up_since is not None and not (page.old or page.deaf_since or page.big)

    def over(self, page: Page, kind: str) -> None:
        """A cause has gone: from now on time runs."""
        world = self._world
        if kind in REFUSALS:
            self._served_by = max(self._served_by, world.t + KINDS[kind].bound)
        if page.trouble and KINDS[page.trouble[1]].bound > KINDS[kind].bound:
            kind = page.trouble[1]  # it goes on, and this one held its cure up
        page.trouble = trouble = (world.t, kind)
        if not page.exists or not page.desired:
            return
        bound = KINDS[kind].bound
        world.after(bound, partial(self._well, page, trouble, bound))
        self.healed(page)

    def afflicted(self, page: Page) -> bool:
        """Whether some cause goes on."""
        for key, count in self._world.active.items():
            kind, _, name = key.partition(":")
            if count and KINDS[kind].afflicts and (kind in HOST or name == page.name):
                return True
        return False

    def _well(self, page: Page, trouble: tuple[float, str], patience: float) -> None:
        world, state = self._world, self._world.state(page)
        if page.trouble != trouble or self.afflicted(page) or not page.desired:
            return  # a later cause has its own check
        if world.engine is None or not page.exists or page.account is not Link.CONNECTED:
            return
        if world.stopping:
            return  # its end is another cause
        if self._is_well(page) and state and state.status.status is Status.CONNECTED:
            return
        since, kind = trouble
        schedule, bound = world.engine.fleet.whatsapp, KINDS[kind].bound
        # a start waits until WhatsApp was asked again, and its time begins then
        again = (self._served_by if schedule.why else schedule.asked_last) + bound
        if world.t < min(again, self._served_by + bound):
            world.later(again, partial(self._well, page, trouble, again - since))
            return
        if state and page.big and Kind.MEMORY_IN_VAIN in state.care.found:
            return
        waits = sum(it.retries != Retries() for it in world.engine.sessions.values())
        slowly = state is not None and state.retries != Retries()
        advised = state is not None and Kind.LINK_STUCK in state.care.found
        longer = KINDS[kind].bound + SLOWLY + TURN * waits if slowly or advised else patience
        if patience < KINDS[kind].bound + SLOWLY and longer > patience:
            world.later(since + longer, partial(self._well, page, trouble, longer))
            return
        why = (
            "; ".join(f"{it.type}: {it.message}" for it in conditions(state))
            if state
            else "the daemon does not know it"
        )
        worker = state.worker if state else None
        stage = worker.stage if worker else Stage.ENDING
        world.fail(
            f"{page.name} is not healthy {world.t - since:.0f} s after {kind} ended"
            f" ({why or 'its state says that it is healthy'}; {stage if worker else 'no worker'})"
        )

    def at_the_end(self) -> None:
        """All that should be up is, and every row says what is so."""
        world = self._world
        if world.engine is None:
            world.fail("no daemon runs at the end")
            return
        for page in world.pages.values():
            state = world.state(page)
            if page.exists and state and page.row.status is not state.status.status:
                world.fail(f"{page.name}: the row says {page.row.status}, it is {state.status}")
