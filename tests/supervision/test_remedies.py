"""Every advice names commands that exist, and they work in the very state in which it is shown."""

import ast
import asyncio
import contextlib
import io
import re
import shlex
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import waguard
from tests.supervision.bench import CONNECTED, QR_SHOWN, Bench
from tests.supervision.fake_workers import Script
from tests.supervision.sessions import until
from tests.supervision.surfaces import Surfaces, surfaces
from tests.supervision.test_surfaces import (
    BUNDLE,
    CHAT,
    bundle_rolled_back,
    dead_letters,
    held,
    profile_without_row,
    unidentified,
    version_held,
    version_refused,
    versions_lost,
)
from tests.supervision.world import World
from tests.waiting import DEADLINE, wait_until
from waguard.cli import main
from waguard.cli.program import COMMANDS, parser
from waguard.core import remedies
from waguard.core.blame import Condition
from waguard.core.exits import EXIT_BROWSER_NOT_STARTED
from waguard.core.host.admission import Cause
from waguard.core.incidents.kinds import FLEET_ENDS
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.reconcile import Kind as FindingKind
from waguard.core.row_status import ParkCause
from waguard.core.session.facts import ParkRequested
from waguard.core.webhooks.delivery import Cause as LetterCause
from waguard.errors import ConflictError
from waguard.host.memory.wajs_store import digest
from waguard.ports.webhooks import GLOBAL

PACKAGE: Final = Path(waguard.__file__).parent
ANY: Final = "1"
"""For what is filled in: as good a session as a number."""
_COMMAND: Final = re.compile(r"(?<!`)`waguard ([a-z-][^`…]*)`")
_FILLED_IN: Final = re.compile(r"\{\w*\}|NAME|NUMBER|LID")


def commands(text: str) -> list[str]:
    """Those that it names, without ``waguard``."""
    return [_FILLED_IN.sub(ANY, found) for found in _COMMAND.findall(text)]


# ---- they exist ----


def sentences(tree: ast.AST) -> Iterator[str]:
    """Every text but docstrings, with something in the place of what is filled in."""
    parts_of_others = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr | ast.JoinedStr)
        for child in ast.iter_child_nodes(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else ANY for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in parts_of_others:
            yield str(node.value)


def named() -> dict[str, list[str]]:
    """Every command that a text of the package names, and where."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "`waguard" not in (source := path.read_text()):
            continue
        for text in sentences(ast.parse(source)):
            for command in commands(text):
                found.setdefault(command, []).append(str(path.relative_to(PACKAGE)))
    return found


def test_each_command_that_a_text_names_is_one_that_the_command_line_knows() -> None:
    found = named()
    assert any("remedies.py" in places[0] for places in found.values())
    assert len(found) > 20, "the texts were not found"
    strict = parser(*COMMANDS)
    wrong = []
    for command, places in found.items():
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
            try:
                strict.parse_args(shlex.split(command))
            except SystemExit as error:
                if error.code:
                    wrong.append((command, places, said.getvalue().splitlines()[-1:]))
    assert not wrong


TABLES: Final[tuple[tuple[Mapping[Any, str], Iterable[str]], ...]] = (
    (remedies.PARKED, ParkCause),
    (remedies.STARTS, Cause),
    (remedies.LINKS, set(Link) - {Link.CONNECTED}),
    (remedies.PAGE, Kind),
    (remedies.FINDINGS, FindingKind),
    (
        remedies.FLEET,
        {*FLEET_ENDS, "restoring", "webhooks_held", "numbers_unknown", "row_disputed"}
        - {"daemon_died"},
    ),
)


@pytest.mark.parametrize(("table", "whole"), TABLES)
def test_each_condition_has_a_remedy_that_names_a_command(
    table: Mapping[Any, str], whole: Iterable[str]
) -> None:
    assert set(map(str, table)) == set(map(str, whole))
    alone = (value for name, value in vars(remedies).items() if name.isupper() and name[0] != "_")
    sentences = [value for value in alone if isinstance(value, str)]
    assert len(sentences) > 8
    for advice in (*table.values(), *sentences):
        assert commands(advice), advice
        assert advice.endswith("."), advice


# ---- they work ----


@pytest.fixture
async def shown(bench: Bench, world: World, tmp_path: Path) -> AsyncIterator[Surfaces]:
    """One session that is up."""
    world.change("restart", intensity=1, base_delay=0.0, max_delay=0.0)
    world.spawn.script = Script(reports=(CONNECTED,))
    await bench.row("a")
    assert await bench.restore() == "restored 1"
    async with surfaces(bench, tmp_path) as made:
        yield made


async def run(it: Surfaces, command: str) -> None:
    """It succeeds; a code that it shows is scanned."""
    out = io.StringIO()

    def work() -> int:
        with contextlib.redirect_stdout(out):
            return main([*shlex.split(command), "--config", str(it.file)])

    running = asyncio.create_task(asyncio.to_thread(work))
    if command.startswith("qr "):
        await wait_until(lambda: "Link a device" in out.getvalue(), "the code is shown")
        it.bench.process("a").report(**CONNECTED)
    assert await running == 0, (command, out.getvalue())


async def condition(it: Surfaces, type_: str) -> Condition | None:
    """The one of this type."""
    await it.check()
    found = [one for one in it.bench.it.health.read().conditions if one.type == type_]
    assert len(found) <= 1
    return found[0] if found else None


async def parked(it: Surfaces, cause: ParkCause) -> str:
    it.bench.session("a").post(ParkRequested(cause=cause, details="so it was"))
    await until(it.bench.session("a"), lambda s: s.lifecycle is State.PARKED)
    return "parked"


async def spent(it: Surfaces) -> str:
    it.bench.world.spawn.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    it.bench.process("a").exit(EXIT_BROWSER_NOT_STARTED)
    await until(it.bench.session("a"), lambda s: s.lifecycle is State.PARKED)
    it.bench.world.spawn.script = Script(reports=(CONNECTED,))
    return "parked"


async def conflict(it: Surfaces) -> str:
    return await parked(it, ParkCause.CONFLICT)


async def blocked(it: Surfaces) -> str:
    return await parked(it, ParkCause.BLOCKED)


async def outdated(it: Surfaces) -> str:
    return await parked(it, ParkCause.NEEDS_UPDATE)


async def unscanned(it: Surfaces) -> str:
    it.bench.world.spawn.script = Script(reports=(QR_SHOWN,))
    return await parked(it, ParkCause.QR_EXPIRED)


async def profile_gone(it: Surfaces) -> str:
    it.bench.world.spawn.script = Script(reports=(QR_SHOWN,))
    shutil.rmtree(it.bench.process("a").spec.profile)
    return await parked(it, ParkCause.PROFILE_MISSING)


async def backoff(it: Surfaces) -> str:
    it.bench.world.change("restart", intensity=5, base_delay=60.0, max_delay=60.0)
    it.bench.world.spawn.script = Script(exits=EXIT_BROWSER_NOT_STARTED)
    it.bench.process("a").exit(EXIT_BROWSER_NOT_STARTED)
    await until(it.bench.session("a"), lambda s: s.state.restarts == 2)  # the first one is at once
    it.bench.world.spawn.script = Script(reports=(CONNECTED,))
    return "start"


async def silent(it: Surfaces) -> str:
    it.bench.world.clock.advance(3.0)
    await it.bench.it.watchdog.watch()
    return "page"


async def unlinked(it: Surfaces) -> str:
    it.bench.process("a").report("qr_pending", qr=QR_SHOWN["qr"])
    await until(it.bench.session("a"), lambda s: s.link is Link.QR_PENDING)
    return "unlinked"


async def letters(it: Surfaces) -> str:
    await dead_letters(it)
    return "dead_letters"


async def held_chats(it: Surfaces) -> str:
    await held(it)
    return "webhooks_held"


async def unknown_number(it: Surfaces) -> str:
    await unidentified(it)
    return "numbers_unknown"


async def stray_profile(it: Surfaces) -> str:
    await profile_without_row(it)
    return "profile_without_row"


async def rolled_back(it: Surfaces) -> str:
    await bundle_rolled_back(it)
    return "bundle_rolled_back"


async def forgotten(it: Surfaces) -> str:
    await versions_lost(it)
    return "versions_lost"


async def vanished_profile(it: Surfaces) -> str:
    it.bench.world.spawn.script = Script(reports=(QR_SHOWN,))
    shutil.rmtree(it.bench.process("a").spec.profile)
    await it.bench.it.reconciler.reconcile()
    return "runs_without_profile"


Plant = Callable[[Surfaces], Awaitable[str]]
RESTART, NEW_CODE, CODE = "sessions restart a", "qr a --new", "qr a"
MENDED: Final[tuple[tuple[Plant, str], ...]] = (
    (spent, RESTART),
    (conflict, RESTART),
    (blocked, RESTART),
    (outdated, RESTART),
    (backoff, RESTART),
    (silent, RESTART),
    (unscanned, NEW_CODE),
    (profile_gone, NEW_CODE),
    (unlinked, CODE),
    (letters, "webhooks replay --all"),
    (held_chats, "webhooks drop a"),
    (unknown_number, f"webhooks replay --chat a {CHAT}"),
    (unknown_number, f"webhooks discard --chat a {CHAT}"),
    (stray_profile, "profile quarantine old --workspace 7"),
    (stray_profile, "sessions create old --workspace 7"),
    (vanished_profile, RESTART),
    (forgotten, "versions unpin"),
    (rolled_back, f"wajs use {digest(BUNDLE)[:12]}"),
)
ASKING: Final = ("discard", "wajs use", "versions try", "versions unpin")
"""What asks before it is done."""


@pytest.mark.parametrize(("plant", "command"), MENDED)
async def test_the_command_mends_the_state_in_which_it_is_named(
    shown: Surfaces, plant: Plant, command: str
) -> None:
    type_ = await plant(shown)
    before = await condition(shown, type_)
    assert before is not None
    assert f"`waguard {command}`" in before.remedy
    await run(shown, command + (" --yes" if any(it in command for it in ASKING) else ""))
    await wait_until(lambda: until_written(shown), "it is up, or it waits for a scan")
    await shown.gateway.drained()
    await shown.bench.it.reconciler.reconcile()
    assert await condition(shown, type_) is None


def until_written(it: Surfaces) -> bool:
    return it.bench.session("a").link in {Link.CONNECTED, Link.QR_PENDING}


@pytest.mark.parametrize("plant", [version_held, version_refused])
async def test_what_a_version_needs_can_be_asked_for(shown: Surfaces, plant: Any) -> None:
    [(type_, _)] = await plant(shown)
    before = await condition(shown, type_)
    assert before is not None
    named = commands(before.remedy)
    assert "versions try" in named
    for command in named:
        await run(shown, command + (" --yes" if command in ASKING else ""))
    await wait_until(lambda: shown.bench.world.audited("version_asked"), "it is on the trail")


async def test_what_is_refused_names_what_makes_it_possible(shown: Surfaces) -> None:
    it = shown.bench.it.sessions
    for leave, command in ((it.stop, "sessions start a"), (it.logout, "sessions start a")):
        await leave("a")
        with pytest.raises(ConflictError) as refused:
            await it.ready("a", wait=0)
        assert f"`waguard {command}`" in str(refused.value.remedy)
        await run(shown, command)
        await it.ready("a", wait=DEADLINE)
    with pytest.raises(ConflictError) as linked:
        await it.qr("a", wait=0)
    assert "`waguard sessions logout a`" in str(linked.value.remedy)
    await run(shown, "sessions logout a --yes")
    shown.bench.world.spawn.script = Script(reports=(QR_SHOWN,))
    with pytest.raises(ConflictError) as down:
        await it.qr("a", wait=0)
    assert "`waguard qr a --new`" in str(down.value.remedy)
    await run(shown, "qr a --new")
    assert await condition(shown, "link") is None


@pytest.mark.parametrize("verb", ["replay", "discard"])
async def test_an_uncertain_letter_is_named_by_its_number(shown: Surfaces, verb: str) -> None:
    await held(shown)
    assert (
        await shown.gateway.webhooks.dead_letters.add(
            "perhaps", LetterCause.UNCERTAIN, endpoint=GLOBAL
        )
        == 1
    )
    [letter] = await shown.gateway.dead()
    before = await condition(shown, "letters_uncertain")
    assert before is not None
    command = f"webhooks {verb} {letter.id}"
    assert f"`waguard {command}`" in before.remedy
    await run(shown, command + (" --yes" if verb == "discard" else ""))
    assert await condition(shown, "letters_uncertain") is None
