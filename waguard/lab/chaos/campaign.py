"""A seeded campaign: one fault after the other, each waited for until all is healthy, and proven."""

import asyncio
import json
import math
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from rich.console import Console
from rich.table import Table

from waguard.errors import WaguardError
from waguard.lab.application import Manners
from waguard.lab.chaos import kinds_check, message_check, reading, report
from waguard.lab.chaos.drawing import Draw, draw
from waguard.lab.chaos.faults import FAULTS, NEEDS_CLOCK, NEEDS_DISK, NEEDS_SQLITE, UNWRITABLE
from waguard.lab.chaos.harming import Fault
from waguard.lab.chaos.host_faults import FAKETIME
from waguard.lab.chaos.invariants import BrokenError, Harm, Rows, always, unhealed
from waguard.lab.chaos.message_faults import MESSAGE_FAULTS
from waguard.lab.chaos.opening import Served, opened
from waguard.lab.chaos.report import Healed, Messages, Outcome
from waguard.lab.chaos.rows import Watch
from waguard.lab.chaos.traffic import Traffic
from waguard.lab.chaos.world import POLL, NotInTimeError, World

DELIVERY_DEADLINE: Final = 40.0  # s for a message to come to an application that was away
IN_FOR_EACH_OUT: Final = 4
IN_FOR_EACH_ON_PHONE: Final = 10
IN_FOR_EACH_CHANGED: Final = 6
LOG_LINES: Final = 25


class Plan(Struct, frozen=True, kw_only=True):
    """What is asked for. ``report``: a file to which one JSON line is appended."""

    seed: int
    faults: int
    sessions: int
    only: tuple[str, ...] = ()
    """Faults to draw from, by name; empty: all of them."""
    messages: int = 0
    """So many come in meanwhile, and a quarter as many go out; 0: other faults, no traffic."""
    report: Path | None = None
    database: str | None = None
    """URL of an empty database for a campaign with messages; None: SQLite."""
    quiet: float = 60.0
    """Seconds of the application's limiter: so long nothing may come after a 429."""
    hold_limit: float | None = None
    """Seconds after which held webhooks are a trouble; None: waguard's default."""


class Campaign(Struct):
    """The faults of one world, in their order."""

    world: World
    console: Console
    faults: Mapping[str, Fault]
    traffic: Traffic | None = None
    watch: Watch | None = None
    healed: list[Healed] = field(default_factory=list)
    _arrived: list[tuple[str, str]] = field(default_factory=list)

    async def run(self, draws: Sequence[Draw]) -> None:
        """All of them. Raises ``BrokenError`` at the first that does not heal: what would come
        after it proves nothing."""
        for number, drawn in enumerate(draws, 1):
            title = f"{number:>{len(str(len(draws)))}}/{len(draws)} {drawn.fault}"
            with self.console.status(f"{title} on {drawn.session}"):
                try:
                    async with self._busy(number - 1):
                        healed = await self._one(drawn)
                except (BrokenError, WaguardError, TimeoutError) as error:
                    broken = error.broken if isinstance(error, BrokenError) else [_words(error)]
                    self.console.print(f"[red]✗[/] {title} on {drawn.session}", highlight=False)
                    raise BrokenError([f"{drawn.fault}: {one}" for one in broken]) from error
            self.healed.append(healed)
            self.console.print(
                f"[green]✓[/] {title} on {drawn.session} [dim]{healed.seconds:.1f} s[/]",
                highlight=False,
            )

    @asynccontextmanager
    async def _busy(self, number: int) -> AsyncIterator[None]:
        """While the body runs messages come and go; it ends when all of this round have."""
        if self.traffic is None:
            yield
            return
        traffic = asyncio.create_task(self.traffic.round(number), name="traffic")
        try:
            yield
            await traffic
        finally:
            traffic.cancel()
            await asyncio.gather(traffic, return_exceptions=True)

    async def _one(self, drawn: Draw) -> Healed:
        world, since = self.world, len(self.world.receiver.received)
        chance = random.Random(drawn.seed)  # noqa: S311 - to be repeated, not to be secret
        try:
            with self._watch_paused(drawn.fault):
                harm = await self.faults[drawn.fault](world, drawn.session, chance)
            seconds = await self._heal(harm, since)
            await asyncio.gather(*world.meanwhile)
        finally:
            world.soothe()
        await asyncio.gather(*(self._prove(session) for session in world.sessions))
        if self.traffic is None:  # else the message check decides at the end
            for arrived in harm.arrived:
                await self._came_in(arrived)
            self.none_twice()
        if self.watch:
            await self._heal(harm, since)
        elif broken := unhealed(await world.facts(harm, since=since), harm):
            raise BrokenError([f"{one} (after it had healed)" for one in broken])
        return Healed(drawn.fault, seconds, harm.within)

    @contextmanager
    def _watch_paused(self, fault: str) -> Iterator[None]:
        """No row can be put right while the database cannot be written."""
        if self.watch is None or fault not in UNWRITABLE:
            yield
            return
        self.watch.paused = True
        try:
            yield
        finally:
            self.watch.paused = False

    async def _heal(self, harm: Harm, since: int) -> float:
        over, well, rows = time.monotonic(), 0.0, Rows()
        while True:
            facts = await self.world.facts(harm, since=since)
            now = time.monotonic() - over
            broken = always(facts, harm)
            if harm.restarts is not None:  # what is no session's fault is nobody's lie either
                broken += rows.wrong(facts, now)
            if broken:
                raise BrokenError(broken)
            missing = unhealed(facts, harm)
            if missing and well:
                if self.watch is None:
                    raise BrokenError([f"{one} (after it had healed)" for one in missing])
                well = 0.0  # the application's queue overtook; the watch reports for how long
            if missing and now > harm.within:
                raise BrokenError([f"{one} (after {now:.0f} s)" for one in missing])
            if not missing:
                well = well or now
                if now >= harm.watched:
                    return well
            for session in harm.may_scan:
                await self.world.scan_if_shown(session)
            await asyncio.sleep(POLL)

    async def _prove(self, session: str) -> None:
        """A message goes out exactly once, and one comes in."""
        text = f"out {time.monotonic_ns()}"
        if (seen := len(await self.world.send(session, text))) != 1:
            raise BrokenError([f"{session}: the phone saw a message {seen} times"])
        arrived = self.world.incoming(session, f"in {time.monotonic_ns()}")
        if self.traffic is None:  # else the message check decides at the end
            await self._came_in(arrived)

    async def _came_in(self, arrived: tuple[str, str]) -> None:
        self._arrived.append(arrived)
        try:
            async with asyncio.timeout(DELIVERY_DEADLINE):
                await self.world.receiver.until(
                    lambda _: self.world.delivered(*arrived) or None,
                )
        except TimeoutError:
            session, text = arrived
            raise BrokenError([f"{session}: the message “{text}” never came in"]) from None

    def none_twice(self) -> None:
        """Check that no message came twice so far. Raises ``BrokenError``."""
        for session, text in self._arrived:
            if (count := self.world.delivered(session, text)) != 1:
                raise BrokenError([f"{session}: the message “{text}” came in {count} times"])


def _words(error: Exception) -> str:
    return error.line() if isinstance(error, WaguardError) else str(error) or type(error).__name__


def known(*, messages: bool) -> Mapping[str, Fault]:
    """The faults of a campaign by name, with or without messages."""
    return MESSAGE_FAULTS if messages else FAULTS


def chosen(faults: Mapping[str, Fault], only: Collection[str]) -> Mapping[str, Fault]:
    """Those that are named in ``only``, in their own order; all where it is empty."""
    return {name: fault for name, fault in faults.items() if name in (only or faults)}


def run(plan: Plan) -> int:
    """0, or 1 where an invariant was broken, or 130 after Ctrl-C."""
    return asyncio.run(_until_stopped(plan))


async def _until_stopped(plan: Plan) -> int:
    console = Console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    campaign = asyncio.create_task(_campaign(plan, console), name="campaign")
    stopped = asyncio.create_task(stop.wait(), name="Ctrl-C")
    try:
        await asyncio.wait({campaign, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not campaign.done():
            console.print("stopping …")
            campaign.cancel()
        await asyncio.gather(campaign, return_exceptions=True)
    finally:
        stopped.cancel()
    if campaign.cancelled():
        return 130
    outcome = campaign.result()
    _show(console, outcome)
    if plan.report:
        with plan.report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(report.as_json(outcome)) + "\n")
    return outcome.exit_code


async def _campaign(plan: Plan, console: Console) -> Outcome:
    began, broken, healed = time.monotonic(), list[str](), list[Healed]()
    left_out, messages = list[str](), None
    faults = chosen(known(messages=plan.messages > 0), plan.only)
    console.print(f"seed {plan.seed}: {plan.faults} faults on {plan.sessions} sessions")
    async with AsyncExitStack() as stack:
        status = stack.enter_context(console.status("a world is made"))
        try:
            world = await stack.enter_async_context(
                opened(plan.sessions, say=status.update, served=_served(plan))
            )
            status.stop()
            left_out = sorted(_impossible(world) & faults.keys())
            for name in left_out:
                console.print(f"left out: {name} (it cannot be done here)")
            names = [name for name in faults if name not in left_out]
            if not names:
                raise NotInTimeError("no fault is left")
            draws = draw(plan.seed, names, world.sessions, plan.faults)
            campaign = Campaign(world, console, faults, healed=healed)
            if plan.messages:
                messages, broken = await _with_messages(plan, campaign, draws)
                if broken:
                    _show_log(console, world)
            else:
                await campaign.run(draws)
                campaign.none_twice()
        except BrokenError as error:
            broken = error.broken
            _show_log(console, world)
        except WaguardError as error:
            broken = [f"the world could not be made: {error.line()}"]
    return Outcome(
        seed=plan.seed,
        sessions=plan.sessions,
        healed=healed,
        broken=broken,
        left_out=left_out,
        messages=messages,
        seconds=time.monotonic() - began,
    )


def _served(plan: Plan) -> Served | None:
    if not plan.messages:
        return None
    return Served(
        seed=plan.seed,
        manners=Manners(window=plan.quiet),
        database=plan.database,
        hold_limit=plan.hold_limit,
    )


def _impossible(world: World) -> set[str]:
    """Faults that need a file system, a database or a library which is not there."""
    return {
        *(NEEDS_DISK if world.disk is None else []),
        *([] if world.on_sqlite else NEEDS_SQLITE),
        *([NEEDS_CLOCK] if FAKETIME is None else []),
    }


async def _with_messages(
    plan: Plan, campaign: Campaign, draws: Sequence[Draw]
) -> tuple[Messages, list[str]]:
    """All faults, while messages come and go and the rows are watched."""
    world = campaign.world
    traffic = campaign.traffic = Traffic(
        world=world,
        seed=plan.seed,
        incoming=plan.messages,
        outgoing=math.ceil(plan.messages / IN_FOR_EACH_OUT),
        written_on_phone=math.ceil(plan.messages / IN_FOR_EACH_ON_PHONE),
        changed=math.ceil(plan.messages / IN_FOR_EACH_CHANGED),
        rounds=plan.faults,
    )
    watch = campaign.watch = Watch(world)
    watching = asyncio.create_task(watch.run(), name="watch")
    try:
        await campaign.run(draws)
        return await _balance(campaign.console, traffic, watch)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _balance(console: Console, traffic: Traffic, watch: Watch) -> tuple[Messages, list[str]]:
    """What the message check counted, and what it found broken."""
    with console.status("the last messages come in"):
        kept = await reading.read(traffic, watch)
    for out in message_check.uncertain(kept):
        console.print(f"uncertain: {out.session} “{out.text}”", highlight=False)
    for one in message_check.unsure(kept):
        console.print(f"uncertain, and dropped: {one.session} “{one.text}”", highlight=False)
    for row in (*(row for _, row, _ in traffic.sent), *(row for _, row in traffic.acts)):
        if reading.answer(row) == "refused" and row.answers:
            console.print(f"refused: {row.session} {row.body}: {row.error}", highlight=False)
    messages = Messages(
        incoming=len(kept.incoming),
        undecryptable=sum(one.sealed for one in kept.incoming),
        uncertain=len(kept.uncertain),
        lost=len(message_check.lost(kept)),
        repeated=message_check.repeated(kept),
        overtaken=len(message_check.overtaken(kept)),
        misfiled=len(message_check.misfiled(kept)),
        outgoing=dict(message_check.answers(kept)),
        sent_twice=sum(message_check.sent_twice(kept).values()),
        on_phone=len(kept.on_phone),
        unseen=len(message_check.unseen(kept)),
        kinds=dict(kinds_check.kinds(kept.kinds)),
        files_again=kept.kinds.again,
        votes=len(kept.kinds.votes),
        votes_without_page=kinds_check.without_page(kept.kinds),
        acts=dict(kinds_check.states(kept.kinds)),
        deletions_unheard=len(kinds_check.not_at_server(kept.kinds)),
    )
    return messages, message_check.broken(kept)


def _show_log(console: Console, world: World) -> None:
    lines = [line for line in world.daemon.lines() if "level=debug" not in line]
    for line in lines[-LOG_LINES:]:
        console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    kept = Path(tempfile.gettempdir()) / f"{world.folder.name}.log"
    shutil.copy(world.daemon.log, kept)
    console.print(f"its whole log: {kept}", highlight=False, soft_wrap=True)


def _counted(some: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(some.items()))


def _show(console: Console, outcome: Outcome) -> None:
    table = Table(title=f"{len(outcome.healed)} faults healed, seed {outcome.seed}")
    table.add_column("fault")
    for name in ("times", "median s", "worst s", "bound s"):
        table.add_column(name, justify="right")
    for line in report.by_kind(outcome.healed):
        seconds = (f"{line.median:.1f}", f"{line.worst:.1f}", f"{line.bound:.0f}")
        table.add_row(line.fault, str(line.count), *seconds)
    console.print(table)
    if it := outcome.messages:
        sends, acts, kinds = map(_counted, (it.outgoing, it.acts, it.kinds))
        console.print(
            f"{it.incoming} messages came in, {it.undecryptable} of them undecryptable at first:"
            f" {it.lost} lost, {it.uncertain} uncertain, {it.repeated} repeated,"
            f" {it.overtaken} overtaken · sends: {sends}, {it.sent_twice} twice ·"
            f" {it.on_phone} written on the phone · {it.misfiled} misfiled, {it.unseen} unseen",
            highlight=False,
        )
        console.print(
            f"of these: {kinds} · {it.files_again} files fetched again · {it.votes} votes, {it.votes_without_page}"
            f" without a page · acts: {acts}, {it.deletions_unheard} deletions never heard of",
            highlight=False,
        )
    console.print(
        f"invariants broken: {len(outcome.broken)} · manual steps: {outcome.manual_steps}"
        f" · {outcome.seconds:.0f} s",
        highlight=False,
    )
    for one in outcome.broken:
        console.print(f"[red]broken[/] {one}", highlight=False, soft_wrap=True)
