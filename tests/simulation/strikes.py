"""Faults of one session: what they do, and what their end does."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.simulation.faults import EVERYWHERE, EXIT_CODES, Fault
from tests.simulation.page import Page
from waguard.core.link import Link
from waguard.core.passkey_link import WAITING, PasskeyStage
from waguard.core.row_status import DerivedStatus, Reason, Status
from waguard.core.session.facts import (
    Left,
    RestartRequested,
    StartRequested,
    StopRequested,
    Unusable,
)
from waguard.core.session.state import Intent

if TYPE_CHECKING:
    from tests.simulation.world import World

_TAMPERED: Final = DerivedStatus(Status.DISCONNECTED, Reason.ERROR, "the application wrote this")
_ENDED_BY_A_SCAN: Final = frozenset({"unlink", "qr_stale", "logout", "passkey"})
# how long a stage of a linking by passkey lasts, and what comes next where somebody acts
_LINKING: Final = {
    PasskeyStage.OFFERED: (600.0, PasskeyStage.ASKED),
    PasskeyStage.ASKED: (600.0, PasskeyStage.ANSWERED),
    PasskeyStage.ANSWERED: (120.0, PasskeyStage.CONFIRM),
    PasskeyStage.CONFIRM: (120.0, PasskeyStage.FAILED),
    PasskeyStage.FAILED: (600.0, PasskeyStage.ASKED),
}
_PATIENCE: Final = 30.0  # s until a person does something, at least


class Strikes:
    """Begins and ends each fault; those of all are ``Calamities``'."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._own: dict[str, Callable[[Page], object]] = {
            "kill_worker": self.kill,
            "oom_kill": self.kill,
            "crash": self._crash,
            "page_hang": self._hang,
            "sigstop": self._stop,
            "worker_hang": self.fall_late,
            "nonsense": self._nonsense,
            "stuck_offline": partial(self._stick, Link.OFFLINE),
            "stuck_syncing": partial(self._stick, Link.SYNCING),
            "stuck_pairing": partial(self._stick, Link.PAIRING),
            "link_unknown": self._mute,
            "no_acks": world.plane.go_deaf,
            "memory": world.plane.grow,
            "crash_loop": self._crash,
            "page_reloads": partial(world.workers.reload_itself, "page_reloads"),
            "page_spins": partial(world.workers.reload_itself, "page_spins"),
            "unlink": self._unlink,
            "qr_stale": self._unlink,
            "logout": self._log_out,
            "passkey": self._ask_passkey,
            "conflict": partial(self._account, Link.CONFLICT, None),
            "blocked": partial(self._account, Link.BLOCKED, "TOS_BLOCK"),
            "too_old": partial(self._account, Link.NEEDS_UPDATE, "DEPRECATED_VERSION"),
            "update": self._offer,
            "dialog": self._cover,
            "operator_stop": partial(self._ask, StopRequested()),
            "operator_restart": partial(self._ask, StartRequested(restart=True)),
            "reconnect": partial(self._ask, RestartRequested(why="a person asked for it")),
            "desired_down": self._want_down,
            "removed": self._remove,
            "row_changed": self._tamper,
        }
        self._ends: dict[str, Callable[[Page], object]] = {
            "page_hang": self.go_on,
            "sigstop": self.go_on,
            "worker_hang": self.go_on,
            "memory": world.plane.shrink,
            "unlink": partial(self._scan, "unlink"),
            "qr_stale": partial(self._scan, "qr_stale"),
            "logout": self._log_in,
            "passkey": self._let_go_on,
            "conflict": partial(self._recover, "conflict"),
            "blocked": partial(self._recover, "blocked"),
            "too_old": partial(self._recover, "too_old"),
            "update": self._offer_no_more,
            "dialog": self._uncover,
            "operator_stop": partial(self._ask, StartRequested()),
            "desired_down": self._want_up,
            "removed": self._recreate,
        }

    def begin(self, fault: Fault) -> None:
        """It happens."""
        world, kind = self._world, fault.kind
        key = kind if fault.session == EVERYWHERE else f"{kind}:{fault.session}"
        world.record(f"{kind} {'' if fault.session == EVERYWHERE else fault.session}")
        world.faults[kind] += 1
        world.active[key] += 1
        world.later(fault.end, partial(self._end, fault, key))
        if fault.session == EVERYWHERE:
            world.of_all.begin(kind)
            return
        page = world.pages[fault.session]
        page.quiet_until = None
        if strike := self._own.get(kind):
            strike(page)
        if kind == "qr_stale":
            page.stale_codes = True
        world.workers.refresh(page)

    # ---- its end ----

    def _end(self, fault: Fault, key: str) -> None:
        world, kind = self._world, fault.kind
        world.active[key] -= 1
        if fault.session == EVERYWHERE:
            world.of_all.end(kind)
            return
        page = world.pages[fault.session]
        if end := self._ends.get(kind):
            end(page)
        world.workers.refresh(page)
        if kind not in _ENDED_BY_A_SCAN:
            world.checks.over(page, kind)

    # ---- what they do ----

    def kill(self, page: Page) -> None:
        """With SIGKILL."""
        self._world.after(0.02, partial(self._world.workers.die, page, page.number, -9))

    def _crash(self, page: Page) -> None:
        chance = self._world.draw("code", page.name, int(self._world.t))
        code = EXIT_CODES[int(chance * len(EXIT_CODES))]
        self._world.after(0.02, partial(self._world.workers.die, page, page.number, code))

    def _hang(self, page: Page) -> None:
        if page.alive and page.ready and not page.ending:
            page.hung = True
            self._world.workers.fall_silent(page)

    def _stop(self, page: Page) -> None:
        if page.alive and page.ready and not page.ending:
            page.hung = page.stopped = True
            self._world.workers.fall_silent(page)

    def fall_late(self, page: Page) -> None:
        """Its loop hangs, or waits for the host."""
        page.late = page.alive and page.ready and not page.ending
        self._stop(page)

    def _nonsense(self, page: Page) -> None:
        page.excused = True
        self._world.post(page.name, Unusable(worker=page.number, why="it talks nonsense"))

    def _stick(self, link: Link, page: Page) -> None:
        if page.ready and page.account is Link.CONNECTED:
            page.stuck = link
            chance = self._world.draw("cure", page.name, int(self._world.t))
            page.stuck_for_worker = chance < 0.4

    def _mute(self, page: Page) -> None:
        page.mute = page.ready

    def _account(self, link: Link, why: str | None, page: Page) -> None:
        if page.account is Link.CONNECTED:
            page.account, page.details = link, why

    def _unlink(self, page: Page) -> None:
        if page.account is not Link.CONNECTED:
            return
        page.account = Link.LOGGED_OUT
        self._world.after(2.0, partial(self._show_codes, page))

    def _show_codes(self, page: Page) -> None:
        if page.account is Link.LOGGED_OUT:
            page.account = Link.QR_PENDING
            if page.alive:
                self._world.workers.show_codes(page)
                self._world.workers.refresh(page)

    def _log_out(self, page: Page) -> None:
        if page.account is Link.CONNECTED:
            page.account = Link.LOGGED_OUT
            self._world.after(2.0, partial(self._show_codes, page))
            self._ask(Left(), page)
            self._ask(StopRequested(), page)

    def go_on(self, page: Page) -> None:
        """It answers again."""
        if page.alive and not page.ending:
            self._world.workers.hear_again(page)

    def _log_in(self, page: Page) -> None:
        self._ask(StartRequested(expects_qr=True), page)
        self._world.after(_PATIENCE, partial(self._scan, "logout", page))

    def _recover(self, kind: str, page: Page) -> None:
        page.before = (page.account, self._world.t)
        page.account, page.details = Link.CONNECTED, None
        for patience in (_PATIENCE, 4 * _PATIENCE):
            self._world.after(patience, partial(self._help, page, kind))

    def _offer_no_more(self, page: Page) -> None:
        page.offered = False

    def _uncover(self, page: Page) -> None:
        page.covered = False

    def _want_up(self, page: Page) -> None:
        page.desired = True
        self._ask(StartRequested(), page)

    def _scan(self, kind: str, page: Page, tries: int = 0) -> None:
        """A person holds the phone to the screen; and has it show a code, where it does not."""
        world = self._world
        if page.account not in {Link.QR_PENDING, Link.LOGGED_OUT} or not page.exists:
            world.checks.over(page, kind)
            return
        away = page.hung or page.stopped or page.ending
        if away or world.workers.link(page) is not Link.QR_PENDING:
            state = world.state(page)
            if state and state.intent is Intent.PARKED:
                world.persons[kind] += 1
                self._ask(StartRequested(expects_qr=True), page)
            if tries < 200:
                world.after(_PATIENCE, partial(self._scan, kind, page, tries + 1))
            return
        page.before, page.account = (page.account, world.t), Link.PAIRING
        world.workers.refresh(page)
        world.after(4 * _PATIENCE, partial(self._help, page, kind))
        world.after(3.0, partial(self._advance, page, Link.PAIRING, Link.SYNCING))
        world.after(9.0, partial(self._advance, page, Link.SYNCING, Link.CONNECTED))
        world.checks.over(page, kind)

    def _advance(self, page: Page, before: Link, after: Link) -> None:
        if page.account is before:
            page.account = after
            self._world.workers.refresh(page)

    def _ask_passkey(self, page: Page) -> None:
        if page.account is Link.CONNECTED and page.ready:
            page.account = Link.PASSKEY_REQUIRED
            self._linking_is(page, PasskeyStage.OFFERED)

    def _linking_is(self, page: Page, stage: PasskeyStage) -> None:
        """It waits for a person or for WhatsApp, who come in time or too late."""
        world = self._world
        lasts, then = _LINKING[stage]
        page.passkey, page.passkey_ends = stage, world.t + lasts
        world.workers.refresh(page)
        comes = 1.5 * lasts * world.draw("passkey", page.name, stage, int(world.t))
        if comes >= lasts and stage in WAITING:
            comes, then = lasts, PasskeyStage.FAILED
        if comes < lasts or stage in WAITING:
            follow = partial(self._linking_moves, page, (page.number, page.loads, stage), then)
            world.after(comes, follow)

    def _linking_moves(self, page: Page, of: tuple[int, int, str], then: PasskeyStage) -> None:
        if page.account is Link.PASSKEY_REQUIRED and of == (page.number, page.loads, page.passkey):
            self._linking_is(page, then)

    def _let_go_on(self, page: Page) -> None:
        if page.account is Link.PASSKEY_REQUIRED:
            page.account = Link.SYNCING
            self._world.after(5.0, partial(self._advance, page, Link.SYNCING, Link.CONNECTED))
            self._world.workers.refresh(page)
            self._world.checks.over(page, "passkey")
        else:
            self._scan("passkey", page)

    def _help(self, page: Page, kind: str) -> None:
        """A person closes the other window, or updates; and has it connect again."""
        world, state = self._world, self._world.state(page)
        if state and state.intent is Intent.PARKED and page.account is Link.CONNECTED:
            world.persons[kind] += 1
            self._ask(StartRequested(), page)

    def reclaim(self, page: Page, worker: int) -> None:
        """The page takes the session back; the other client may, too."""
        world = self._world
        if not world.workers.lives(page, worker) or page.account is not Link.CONFLICT:
            return
        world.after(2.0, partial(self._advance, page, Link.CONFLICT, Link.CONNECTED))
        world.after(30.0, partial(self._fight, page))

    def _fight(self, page: Page) -> None:
        if self._world.suffers("conflict", page.name) and page.account is Link.CONNECTED:
            page.account = Link.CONFLICT
            self._world.workers.refresh(page)

    def _offer(self, page: Page) -> None:
        page.offered = page.ready

    def _cover(self, page: Page) -> None:
        page.covered = page.ready

    def _ask(
        self, fact: StartRequested | StopRequested | RestartRequested | Left, page: Page
    ) -> None:
        self._world.request(page, fact)

    def _want_down(self, page: Page) -> None:
        page.desired = False
        self._ask(StopRequested(), page)

    def _remove(self, page: Page) -> None:
        page.exists = False
        self._ask(StopRequested(), page)
        self._forget(page)

    def _forget(self, page: Page) -> None:
        """Once its worker is gone."""
        world, state = self._world, self._world.state(page)
        if world.engine is None or state is None or page.exists:
            return
        if state.worker is not None or world.frozen_at is not None:
            world.after(0.5, partial(self._forget, page))
            return
        world.forget(page)

    def _recreate(self, page: Page) -> None:
        world = self._world
        if world.state(page) is not None:  # the last one is still on its way out
            world.after(0.5, partial(self._recreate, page))
            return
        page.exists, page.row = True, DerivedStatus(Status.DISCONNECTED)
        if world.engine and not world.stopping:
            world.add(page)

    def _tamper(self, page: Page) -> None:
        if self._world.draw("number", page.name, int(self._world.t)) < 0.5:
            page.phone = None
        else:
            page.row = _TAMPERED
        self._world.after(15.0, partial(self._world.rows.reconcile, page))
