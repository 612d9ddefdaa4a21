"""Workers and their pages: how they start, what they report, how they end."""

from functools import partial
from typing import TYPE_CHECKING, Final, Literal, cast

from tests.simulation.faults import CODES_OF_A_LACK, LACKS
from tests.simulation.host import read_evidence
from tests.simulation.page import Page
from waguard.core.blame import Blame, Failure
from waguard.core.host.evidence import host_failure
from waguard.core.link import Link
from waguard.core.passkey_link import PasskeyLink
from waguard.core.session.facts import (
    Beat,
    Exited,
    Reported,
    Spawned,
    SpawnFailed,
    SpecChanged,
    Stopped,
    Unanswered,
)
from waguard.core.session.state import Stage

if TYPE_CHECKING:
    from tests.simulation.world import World

ALWAYS: Final = float("inf")
Phase = Literal["launching", "loading", "settling", "ready", "closing"]
_WITHOUT_NETWORK: Final = frozenset({Link.UNKNOWN, Link.BLOCKED, Link.NEEDS_UPDATE})
_CODES: Final = 6
_SCREEN: Final = frozenset({Link.QR_PENDING, Link.LOGGED_OUT})


class Workers:
    """Of all sessions."""

    def __init__(self, world: "World") -> None:
        self._world = world

    # ---- its start ----

    def start(self, page: Page, worker: int, *, waits: bool) -> None:
        """End what the last one left, then spawn."""
        world = self._world
        if page.alive:
            world.fail(f"{page.name}: worker {worker} is started beside worker {page.number}")
        sweep = 0.3 if page.leftover else 0.0
        page.number = worker
        world.after(0.05 + sweep, partial(self._spawn, page, worker, waits=waits))

    def _spawn(self, page: Page, worker: int, *, waits: bool) -> None:
        world = self._world
        if world.engine is None or page.number != worker or page.alive:
            return  # the daemon died over it
        for kind, reason in (
            ("folder", "sessions_folder_missing"),
            ("spawn_refused", "spawn_refused"),
        ):
            if world.suffers(kind, page.name):
                failure = Failure(Blame.HOST, reason, reason)
                world.post(page.name, SpawnFailed(worker=worker, failure=failure))
                return
        page.alive, page.leftover = True, False
        page.ready = page.hung = page.stopped = page.planned = page.ending = page.old = False
        page.late = page.mute = page.refused = page.offered = page.covered = page.stale_codes = (
            False
        )
        page.excused = page.adopted = page.unrecoverable = False
        page.closes_since = None
        page.waits = waits
        page.stuck, page.warm, page.reported = None, None, ()
        page.phase, page.loads, page.refusals, page.scripts_ended = "launching", 0, 0, 0
        page.big = page.big and world.suffers("memory", page.name)
        if page.account is Link.PASSKEY_REQUIRED:
            page.account = Link.QR_PENDING
        world.post(page.name, Spawned(worker=worker))
        if waits or world.draw("early", page.name, worker) < 0.3:
            self.report(page, worker)
        if not waits:
            self._start_chromium(page, worker)
        if world.dense:
            self._beat(page, worker)

    def start_browser(self, page: Page, worker: int) -> None:
        """It has its slot, unless it was started with another spec than holds now; a request that comes again changes
        nothing."""
        if not self.lives(page, worker) or not page.waits:
            return
        if page.adopted or self._world.draw("spec", page.name, worker) < 0.1:
            # behind what is done now, as the mailbox has it
            changed = SpecChanged(worker=worker)
            self._world.after(0.0, partial(self._world.post, page.name, changed))
            return
        page.waits = False
        self._start_chromium(page, worker)

    def _start_chromium(self, page: Page, worker: int) -> None:
        boot = 0.4 + self._world.draw("boot", page.name, worker)
        self._world.after(boot, partial(self._boot, page, worker))

    def lives(self, page: Page, worker: int) -> bool:
        """Whether this one still does."""
        return page.alive and page.number == worker

    def _boot(self, page: Page, worker: int) -> None:
        """Chromium is there."""
        world, name = self._world, page.name
        if not self.lives(page, worker) or page.stopped or page.ending:
            return
        for kind, code in (
            ("profile_held", 16),
            ("executable", 20),
            ("unusable", 20),
            ("crash_loop", 13),
            ("fleet_crash", 10),
        ):
            if world.suffers(kind, name):
                self.die(page, worker, code)
                return
        if any(world.active[kind] for kind in LACKS):
            hangs = 30.0 if world.active["hanging"] else 0.0
            world.after(hangs, partial(self.die, page, worker, self.code_of_a_lack(page)))
            return
        page.phase = "loading"
        self.report(page, worker)
        if world.suffers("never_ready", name):
            return
        slow = 25.0 if world.active["whatsapp_hang"] else 0.0
        load = 0.5 + slow + world.draw("load", name, worker)
        if world.draw("settle", name, worker) < 0.5:
            world.after(load * 0.6, partial(self._finish_load, page, worker))
        world.after(load, partial(self._loaded, page, worker))

    def _finish_load(self, page: Page, worker: int) -> None:
        if self.lives(page, worker) and not page.ready and not page.ending:
            page.phase = "settling"
            self.report(page, worker)

    def _loaded(self, page: Page, worker: int) -> None:
        world = self._world
        if not self.lives(page, worker) or page.stopped or page.ending:
            return
        if world.suffers("never_ready", page.name):
            return
        page.phase, page.ready, page.answered = "ready", True, world.t
        self._ask_whatsapp(page, worker)
        self._warm(page, worker)
        self.show_codes(page)
        self.refresh(page)
        self.report(page, worker)

    def _warm(self, page: Page, worker: int) -> None:
        """A page says for some seconds that it does not know, or that it synchronizes."""
        world, chance = self._world, self._world.draw("warm", page.name, worker, page.loads)
        syncs = chance < 0.5 and page.account is Link.CONNECTED
        page.warm = Link.UNKNOWN if chance < 0.3 else Link.SYNCING if syncs else None
        if page.warm:
            seconds = 0.3 + 5.0 * world.draw("warmth", page.name, worker, page.loads)
            world.after(seconds, partial(self._cool, page, worker, page.loads))

    def _cool(self, page: Page, worker: int, loads: int) -> None:
        if self.lives(page, worker) and page.loads == loads:
            page.warm = None
            self.refresh(page)

    # ---- WhatsApp's answer ----

    def _refuses(self, page: Page) -> tuple[str, float] | None:
        world = self._world
        if world.active["whatsapp_429"]:
            return "WhatsApp answers with HTTP status 429", 1_200.0
        if world.active["whatsapp_500"] or world.suffers("refused_one", page.name):
            return "WhatsApp answers with HTTP status 500", 0.0
        if world.active["whatsapp_hang"]:
            return "WhatsApp does not answer: no page arrives", 0.0
        return None

    def _ask_whatsapp(self, page: Page, worker: int) -> None:
        """Load the page; only the daemon says when it asks again."""
        world = self._world
        if not self.lives(page, worker) or page.ending:
            return
        answer = self._refuses(page)
        page.refused = answer is not None
        if answer is None:
            page.refusals, page.details = 0, None
        else:
            page.refusals, page.details = page.refusals + 1, answer[0]
        page.retry_after = answer[1] if answer else 0.0
        world.checks.asked(page)
        self.refresh(page)

    # ---- what it says ----

    def link(self, page: Page) -> Link:
        """As its page sees it."""
        world = self._world
        if not page.ready or page.mute:
            return Link.UNKNOWN
        if page.refused:
            return Link.OFFLINE
        link = page.warm or page.stuck or page.account
        away = world.active["network"] or world.active["network_unsure"]
        if away or world.suffers("phone_off", page.name):
            return link if link in _WITHOUT_NETWORK else Link.OFFLINE
        return link

    def _shown(self, page: Page) -> tuple[object, ...]:
        link = self.link(page)
        return (page.ready, link, page.code, page.codes_left, page.refusals, page.offered,
                page.covered, page.loads, page.details, page.passkey, page.passkey_ends)  # fmt: skip

    def _know(self, page: Page) -> None:
        """What is true."""
        world = self._world
        up = page.alive and not page.hung and not page.stopped and self.link(page) is Link.CONNECTED
        if up and page.up_since is None:
            page.up_since = world.t
            world.checks.came_up(page)
        elif not up and page.up_since is not None:
            page.up_since, page.down_since = None, world.t

    def refresh(self, page: Page) -> None:
        """What it shows may have changed."""
        world = self._world
        self._know(page)
        if page.alive and page.ready and self._shown(page) != page.reported:
            page.reported = self._shown(page)
            delay = 0.1 + world.draw("seen", page.name, int(world.t * 10))
            world.after(delay, partial(self.report, page, page.number))

    def report(self, page: Page, worker: int) -> None:
        """Its whole state."""
        world = self._world
        if not self.lives(page, worker) or page.stopped:
            return
        if page.hung and not page.adopted and page.phase != "closing":
            return  # nothing is read of a page that does not answer
        self._know(page)
        page.reported = self._shown(page)
        link = self.link(page)
        left = page.passkey_ends - world.t if link is Link.PASSKEY_REQUIRED else 0.0
        code = f"code {page.code}" if link is Link.QR_PENDING else None
        world.post(
            page.name,
            Reported(
                worker=worker,
                at=world.t if world.dense else ALWAYS,
                phase=cast("Phase", page.phase),
                link=link,
                waits=page.waits,
                phone="49" if link in {Link.CONNECTED, Link.SYNCING} else None,
                code=code,
                codes_ended=link is Link.QR_PENDING and page.codes_left <= 0,
                loads=page.loads,
                scripts_ended=page.scripts_ended,
                details=page.details
                if link in {Link.OFFLINE, Link.BLOCKED, Link.NEEDS_UPDATE}
                else None,
                socket=str(link),
                update_offered=page.offered,
                covered=page.covered,
                passkey=PasskeyLink(stage=page.passkey, until=world.wall + left)
                if link is Link.PASSKEY_REQUIRED
                else None,
                passkey_left=left,
                refused=page.refused,
                refusals=page.refusals,
                retry_after=page.retry_after,
            ),
        )
        world.checks.reported(page, link)

    def show_codes(self, page: Page) -> None:
        """A new one each 20 s, the first lives for 60."""
        page.codes_left, page.code = _CODES, page.code + 1
        key = (page.number, page.loads, page.code)
        self._world.after(60.0, partial(self._next_code, page, key))

    def _next_code(self, page: Page, key: tuple[int, int, int]) -> None:
        if not page.alive or page.ending or key[:2] != (page.number, page.loads):
            return
        if self.link(page) not in _SCREEN or page.stale_codes or key[2] != page.code:
            return
        page.codes_left -= 1
        page.code += 1
        self.refresh(page)
        if page.codes_left > 0:
            again = (page.number, page.loads, page.code)
            self._world.after(20.0, partial(self._next_code, page, again))

    # ---- beats ----

    def _beat(self, page: Page, worker: int) -> None:
        """Dense: each second."""
        world = self._world
        if not self.lives(page, worker):
            return
        if not page.hung and not page.stopped:
            page.answered = world.t
        if not page.stopped:
            world.beat(page, page.answered if page.ready and not page.hung else None)
        world.after(1.0, partial(self._beat, page, worker))

    def beat_on(self, page: Page) -> None:
        """Sparse: it lives until a fault."""
        world = self._world
        if world.dense or not page.alive or page.stopped or world.engine is None:
            return
        state = world.state(page)
        if state and state.worker and state.worker.stage is Stage.ADOPTING:
            return  # not greeted yet
        page_at = page.answered if page.hung else ALWAYS
        world.post(page.name, Beat(worker=page.number, at=ALWAYS, page_at=page_at))

    def fall_silent(self, page: Page) -> None:
        """Its page, or all of it, is silent from now on."""
        world = self._world
        page.answered = world.t
        self.refresh(page)
        world.checks.silent(page)
        if not world.dense and world.engine and world.frozen_at is None and world.state(page):
            heard = world.t if page.stopped else ALWAYS
            world.engine.last_beat(page.name, heard_at=heard, page_at=world.t)
            world.arm(page)
        if page.stopped and world.frozen_at is not None:
            page.excused = True  # the daemon may hear of it when it goes on again
        if page.stopped and not page.adopted and not page.late:
            world.after(0.5, partial(world.post, page.name, Stopped(worker=page.number)))
        elif not page.stopped:
            world.after(4.0, partial(self._help, page, page.number))

    def _help(self, page: Page, worker: int) -> None:
        """Its script is ended, without effect."""
        world = self._world
        if self.lives(page, worker) and page.hung and not page.stopped:
            page.unrecoverable = True
            at = world.t if world.dense else ALWAYS
            world.post(page.name, Beat(worker=worker, at=at, unrecoverable=True))

    def hear_again(self, page: Page) -> None:
        """It is still open."""
        page.hung = page.stopped = page.late = page.unrecoverable = False
        page.reported = ()
        if page.to_reload is not None:
            worker, page.to_reload = page.to_reload, None
            self.reload(page, worker)
        if self._world.dense and page.alive:  # the heartbeat that was due meanwhile
            page.answered = self._world.t
            self._world.beat(page, page.answered if page.ready else None)
        self.beat_on(page)
        self.refresh(page)

    def greet(self, page: Page) -> None:
        """Adopted by a new daemon."""
        world = self._world
        page.adopted = True
        delay = 0.1 + world.draw("greet", page.name, int(world.t)) / 2
        world.after(delay, partial(self._answer, page, page.number, world.daemon_since))

    def _answer(self, page: Page, worker: int, daemon: float) -> None:
        world = self._world
        if daemon != world.daemon_since and world.frozen_at is None and world.engine is None:
            return
        if not self.lives(page, worker) or page.stopped:
            return
        page.reported = self._shown(page)
        self.report(page, worker)
        if page.hung and not world.dense and world.engine and world.frozen_at is None:
            world.engine.last_beat(page.name, heard_at=ALWAYS, page_at=world.t)
            world.arm(page)

    # ---- its end ----

    def reload(self, page: Page, worker: int) -> None:
        """Its page is reloaded."""
        world = self._world
        if not self.lives(page, worker) or page.ending:
            return
        if page.stopped:  # the call waits on its line
            page.to_reload = worker
            return
        page.reloaded = True
        page.loads += 1
        if not page.stuck_for_worker:
            page.stuck = None
        if page.offered and world.draw("updated", page.name, page.loads, worker) < 0.6:
            page.offered = False
        if page.account is Link.PASSKEY_REQUIRED:
            page.account = Link.QR_PENDING
        page.covered = False
        self._ask_whatsapp(page, worker)
        self._warm(page, worker)
        self.show_codes(page)
        self.refresh(page)

    def reload_itself(self, kind: str, page: Page) -> None:
        """As long as ``kind`` goes on: by itself, or because its script spins and is ended."""
        world = self._world
        if not world.suffers(kind, page.name):
            return
        used = page.alive and page.ready and self.link(page) is Link.CONNECTED
        if used and not (page.hung or page.stopped or page.ending or world.active["network"]):
            page.loads += 1
            page.scripts_ended += kind == "page_spins"
            page.warm = Link.UNKNOWN
            self.refresh(page)
            world.after(1.5, partial(self._cool, page, page.number, page.loads))
        again = 16.0 if kind == "page_spins" else 5.0
        world.after(again, partial(self.reload_itself, kind, page))

    def code_of_a_lack(self, page: Page) -> int:
        """Whoever gives up first says how; the host says why."""
        chance = self._world.draw("lack", page.name, int(self._world.t))
        return CODES_OF_A_LACK[int(chance * len(CODES_OF_A_LACK))]

    def terminate(self, page: Page, worker: int) -> None:
        """It closes its browser, if it can."""
        world = self._world
        if not self.lives(page, worker) or page.ending:
            return
        page.ending = True
        if world.draw("ignores", page.name, worker) < 0.05:
            return
        page.phase = "closing"
        if page.stopped:
            return
        page.closes_since = world.t
        world.after(0.05, partial(self.report, page, worker))
        slow = 4.0 if page.hung else 10.0 if world.draw("flush", page.name, worker) < 0.05 else 0.0
        seconds = 0.2 + world.draw("end", page.name, worker) + slow
        world.after(seconds, partial(self.die, page, worker, 0))

    def check_answer(self, page: Page, worker: int) -> None:
        """What it does instead of an answer."""
        world = self._world
        if self.lives(page, worker) and (page.late or not page.stopped):
            rests = world.draw("rests", page.name, worker, int(world.t)) < 0.5
            ran = 2.0 * world.draw("ran", page.name, worker, int(world.t))
            if page.late:  # a loop that hangs rests, and who waits for the host does not
                rests, ran = world.suffers("worker_hang", page.name), 0.0
            world.post(page.name, Unanswered(worker=worker, rests=rests, ran=ran))

    def die(self, page: Page, worker: int, code: int) -> None:
        """It is gone; killed, its browser may stay for the next one to end."""
        world = self._world
        if not self.lives(page, worker):
            return
        failed = code != 0 or not page.planned
        ran = page.phase not in {"launching", "closing"}
        killed = code < 0 and not (page.ending or page.adopted)
        page.alive = page.ready = False
        page.leftover = code < 0 and world.draw("left", page.name, worker) < 0.3
        self.refresh(page)
        if world.engine is None or not world.state(page):
            return
        known = None if page.adopted else code
        seen = read_evidence(world.active, browser=ran or killed)
        lacking = host_failure(seen) if failed else None
        world.post(page.name, Exited(worker=worker, code=known, host=lacking))
        world.checks.reported(page, Link.OFFLINE)
