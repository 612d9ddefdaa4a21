"""What is done about a page that works, or should work, and reports an obstacle. Pure.

``page_care`` has the rules; this module applies them to the state. A condition that begins or ends is
recorded. While the worker is replaced its conditions stay: nothing is known of the page meanwhile.
"""

from waguard.core import passkey_link
from waguard.core.link import Link
from waguard.core.page_care import (
    STUCK,
    UPDATE_RELOADS,
    Kind,
    Step,
    on_stuck,
    on_update,
)
from waguard.core.passkey_link import WAITING, PasskeyLink, PasskeyStage
from waguard.core.recycle import IDLE
from waguard.core.replace import replace
from waguard.core.session.deadlines import Due
from waguard.core.session.effects import ReadIdle, Record, RefusalChanged, Reload, TakeScreenshot
from waguard.core.session.facts import Moment, Reported
from waguard.core.session.out import Out
from waguard.core.session.state import Found, Replacement, SessionState, Stage, Worker

FLOODS = "the page reports more than any account has: messages are read slowly, all else is dropped"
ASK_AGAIN = 1.0  # s until a busy session is asked again whether it is idle


def find(
    state: SessionState,
    kind: Kind,
    message: str | None,
    now: Moment,
    out: Out,
    *,
    since: float | None = None,
    until: float | None = None,
) -> SessionState:
    """Begin a condition, change its message, or end it (``message`` None). Unix times."""
    before = state.care.found.get(kind)
    if message is None:
        if before is None:
            return state
        out(Record(f"{kind}_over", reason="it is over"))
        rest = {known: it for known, it in state.care.found.items() if known is not kind}
        return replace(state, care=replace(state.care, found=rest))
    if before is None:
        out(Record(str(kind), reason=message))
    at = before.at if before else now.at
    if since is not None:
        at = now.at - (now.wall - since)
    found = Found(message, at, since or (before.since if before else now.wall), until)
    if found == before:
        return state
    return replace(state, care=replace(state.care, found={**state.care.found, kind: found}))


def forget_page(state: SessionState, now: Moment, out: Out) -> SessionState:
    """End all conditions of the page: the session is stopped or parked."""
    for kind in state.care.found:
        state = find(state, kind, None, now, out)
    return state


def report_care(state: SessionState, said: Reported, now: Moment, out: Out) -> SessionState:
    """Apply what a worker's report says about the page."""
    if (worker := state.worker) is None:
        return state
    if worker.stage is not Stage.ENDING and (
        (said.refused, said.refusals) != (worker.refused, worker.refusals)
    ):
        why = (said.details or "") if said.refused else None
        out(RefusalChanged(why, said.retry_after))
    linking, connected = worker.passkey, said.link is Link.CONNECTED
    offered = said.update_offered and (connected or worker.update_since is not None)
    covered = said.covered and (connected or worker.covered_since is not None)
    worker = replace(
        worker,
        refused=said.refused,
        refusals=said.refusals,
        update_since=_since(worker.update_since, now.at) if offered else None,
        covered_since=_since(worker.covered_since, now.at) if covered else None,
        flooded_since=_since(worker.flooded_since, now.at) if said.flooded else None,
        passkey=said.passkey,
        passkey_ends=now.at + said.passkey_left,
    )
    state = replace(state, worker=worker)
    if worker.stage is not Stage.READY:
        return state
    if not said.update_offered:
        state = find(state, Kind.UPDATE_PERSISTS, None, now, out)
    if not said.covered:
        state = find(state, Kind.ACTION_REQUIRED, None, now, out)
    state = find(state, Kind.PAGE_FLOODS, FLOODS if said.flooded else None, now, out)
    state = moved(state, said.link)
    if said.refused:  # nothing that is tried here cures it
        state = find(state, Kind.WHATSAPP_REFUSES, said.details or "", now, out)
    elif said.link is not Link.UNKNOWN:
        state = find(state, Kind.WHATSAPP_REFUSES, None, now, out)
    if said.link not in {Link.UNKNOWN, state.care.stuck_in} and Kind.LINK_STUCK in state.care.found:
        state = find(state, Kind.LINK_STUCK, None, now, out)
        # the link moved after all: if it gets stuck again, that is another condition
        state = replace(state, care=replace(state.care, tried=()))
    return _passkey(state, said, linking, now, out)


def _since(before: float | None, now: float) -> float:
    return now if before is None else before


def _passkey(
    state: SessionState, said: Reported, before: PasskeyLink | None, now: Moment, out: Out
) -> SessionState:
    link = said.passkey
    if link is None or said.link is not Link.PASSKEY_REQUIRED:
        return find(state, Kind.PASSKEY_REQUIRED, None, now, out)
    words = passkey_link.words(link)
    failed = PasskeyStage.FAILED
    if link.stage is failed and before and before.stage is not failed:
        out(Record("passkey_failed", reason=words))
    return find(state, Kind.PASSKEY_REQUIRED, words, now, out, until=link.until)


def on_due_care(
    state: SessionState, worker: Worker, passed: Due, now: Moment, out: Out
) -> SessionState:
    """Handle a deadline of the page that has passed."""
    care = state.care
    match passed:
        case Due.LINK_STUCK:
            return _unstick(state, worker, now, out)
        case Due.UPDATE:
            out(ReadIdle())
            return replace(state, care=replace(care, idle_at=now.at + ASK_AGAIN))
        case Due.PASSKEY_OVER:
            reload_page(worker, "nobody showed the passkey in time", out)
            until = worker.passkey.until if worker.passkey else None
            return replace(state, care=replace(care, passkey_reloaded=until))
        case Due.COVERED:
            why = "a dialog covers WhatsApp's page"
            out(TakeScreenshot(worker.number))
            return find(state, Kind.ACTION_REQUIRED, why, now, out)
        case Due.LINK_STABLE:
            return replace(state, care=replace(care, tried=()))
        case _:
            return state


def on_idle(state: SessionState, idle: float | None, now: Moment, out: Out) -> SessionState:
    """Load a newer version of the page when the session is idle. ``idle``: as in ``IdleRead``."""
    worker, care = state.worker, state.care
    if worker is None or worker.stage is not Stage.READY or worker.update_since is None:
        return state
    ago = [now.at - at for at in care.reloads]
    match on_update(offered=now.at - worker.update_since, idle=idle, reloads=ago):
        case Step.RELOAD:
            reload_page(worker, "there is a newer version of WhatsApp Web", out)
            reloads = (*care.reloads[1 - UPDATE_RELOADS :], now.at)
            return replace(state, care=replace(care, reloads=reloads))
        case Step.ADVISE:
            why = f"WhatsApp Web still asks for its newer version after {UPDATE_RELOADS} reloads"
            return find(state, Kind.UPDATE_PERSISTS, why, now, out)
        case _:
            wait = ASK_AGAIN if idle is None else max(ASK_AGAIN, IDLE - idle)
            return replace(state, care=replace(care, idle_at=now.at + wait))


def _unstick(state: SessionState, worker: Worker, now: Moment, out: Out) -> SessionState:
    """A link that does not move: reload the page, then replace the worker, then only advise."""
    care, unsure = state.care, state.network_unsure
    _, what = STUCK[worker.link]
    step = on_stuck([step for link, step in care.tried if link is worker.link])
    if step is Step.ADVISE:
        others = tuple((link, step) for link, step in care.tried if link is not worker.link)
        care = replace(care, stuck_in=worker.link, tried=others, stepped_at=now.at)
        why = f"{what}, and neither a reload nor a replacement helped: {worker.socket}"
        return find(replace(state, care=care), Kind.LINK_STUCK, why, now, out)
    since = worker.link_since if unsure else max(worker.link_since, state.fleet.network_since)
    sure = "may be" if unsure else "is"
    why = f"{what} for {now.at - since:.0f} s while the network {sure} there: {worker.socket}"
    tried = (*care.tried, (worker.link, step))
    state = replace(state, care=replace(care, tried=tried, stepped_at=now.at))
    if step is Step.RELOAD:
        reload_page(worker, why, out)
        return state
    planned = state.replacement
    if planned and planned.stuck is None:
        return state  # what was requested replaces it as well, and is not cancelled when the link moves
    return replace(state, replacement=Replacement(why, stuck=worker.link))


def moved(state: SessionState, link: Link) -> SessionState:
    """Cancel a planned replacement for a stuck link where the link has moved meanwhile."""
    planned = state.replacement
    if planned is None or planned.stuck in {None, link} or link is Link.UNKNOWN:
        return state
    tried = tuple(it for it in state.care.tried if it != (planned.stuck, Step.REPLACE))
    return replace(state, replacement=None, care=replace(state.care, tried=tried))


def waits(worker: Worker, planned: Replacement) -> bool:
    """Whether a replacement that no person requested waits: it would end a linking that waits for an answer."""
    linking = worker.passkey
    return planned.why is not None and linking is not None and linking.stage in WAITING


def on_turn(state: SessionState, why: str, out: Out) -> SessionState:
    """Ask WhatsApp again for the page: it is this session's turn."""
    worker = state.worker
    if worker and worker.stage is Stage.READY and worker.refused:
        reload_page(worker, why, out)
    return state


def reload_page(worker: Worker, why: str, out: Out) -> None:
    """Reload the page, and record why."""
    out(Record("reloaded", reason=why))
    out(Reload(worker.number))
