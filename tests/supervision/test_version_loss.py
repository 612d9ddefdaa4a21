"""What is known of WhatsApp's versions cannot be read, or written, when a daemon begins or ends."""

import errno
from collections.abc import Collection

import pytest

from tests.host.odd_files import refuse
from tests.supervision.bench import Bench
from tests.supervision.version_drill import ME, NAMES, NEW, OLD, Drill
from tests.supervision.world import World
from tests.waiting import wait_until
from waguard.core.replace import replace
from waguard.core.versions.facts import Evidence
from waguard.core.versions.policy import decode
from waguard.core.versions.state import Hold, Schedule
from waguard.core.versions.version_rules import VersionRules
from waguard.errors import UnavailableError
from waguard.host.memory import version_memory
from waguard.host.memory.version_memory import FILE
from waguard.host.memory.wajs_store import WajsStore, digest
from waguard.host.small_file import SUFFIX

BUNDLE = b"/*! wppconnect-team/wa-js v4.7.0 */ WPP"

OLDER = tuple(range(OLD - 11, OLD + 1))
"""As many as are kept: eight proven ones, and four new ones."""


@pytest.fixture
async def drill(bench: Bench) -> Drill:
    return Drill(bench)


async def test_documents_stay_where_the_file_of_the_versions_is_damaged(
    bench: Bench, world: World
) -> None:
    await bench.it.stop()
    path = world.config.paths.state / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    world.documents.there = set(OLDER)
    bench.it = world.supervisor()
    bench.it.versions.begin()
    assert world.documents.there == set(OLDER)


async def lose(bench: Bench) -> str:
    """The file was damaged while no daemon ran. Where it lies then."""
    path = bench.world.config.paths.state / FILE
    await bench.it.stop()
    path.write_text("{")
    bench.it = bench.world.supervisor()
    return str(path.with_name(FILE + SUFFIX))


def lost(bench: Bench) -> list[str]:
    """What the condition says."""
    found = bench.it.health.read().conditions
    return [it.message for it in found if it.type == "versions_lost"]


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_damaged_file_of_the_versions_is_a_condition_until_an_operator_decides(
    drill: Drill, *, pinned: bool
) -> None:
    """Nobody knows what it pinned."""
    bench = drill.bench
    await drill.up()
    await bench.it.operators.pin(OLD, by=ME)
    file = await lose(bench)
    for _ in range(2):
        await drill.run(1)
        [message] = lost(bench)
        assert message.endswith(file)
        await bench.it.versions.save()
        await bench.restart()
    bench.it.versions.begin()
    await drill.run(1)
    assert lost(bench)
    if pinned:
        await bench.it.operators.pin(OLD, by=ME)
    else:
        await bench.it.operators.unpin(by=ME)
    await drill.run(1)
    assert lost(bench) == []
    await bench.restart()
    await drill.run(1)
    assert lost(bench) == []


async def test_documents_stay_where_the_file_of_the_versions_cannot_be_read_now(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next daemon may read it: what it names as proven or pinned has to be there."""
    bench, world = drill.bench, drill.world
    await drill.up()
    await bench.it.operators.pin(OLD, by=ME)
    await bench.it.stop()
    with monkeypatch.context() as patch:
        refuse(patch, world.config.paths.state / FILE, errno.EMFILE)
        bench.it = world.supervisor()
    bench.it.versions.begin()
    world.documents.there.update(range(OLD + 1, OLD + 20))
    bench.it.versions.handle_documents()
    await bench.restart()
    bench.it.versions.begin()
    assert bench.it.versions.state.pin == OLD


async def test_what_an_operator_chose_is_on_the_disk_when_it_is_answered(drill: Drill) -> None:
    """The daemon may be killed a moment later."""
    await drill.up()
    path, operators = drill.world.config.paths.state / FILE, drill.bench.it.operators
    await operators.pin(OLD, by=ME)
    assert decode(path.read_bytes(), VersionRules(), now=0.0).pin == OLD
    await operators.unpin(by=ME)
    assert decode(path.read_bytes(), VersionRules(), now=0.0).pin is None


async def test_what_cannot_be_written_is_refused_and_not_in_effect(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next daemon would know nothing of it."""
    await drill.up()
    operators, decision = drill.bench.it.operators, drill.bench.it.versions
    sha256 = digest(BUNDLE)
    WajsStore(drill.world.config.paths.state).add(BUNDLE, sha256)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(version_memory, "replace_private", fail)
        with pytest.raises(
            UnavailableError, match=r"versions\.json cannot be written.*No space"
        ) as it:
            await operators.pin(OLD, by=ME)
        assert "its disk has room" in str(it.value.remedy)
        with pytest.raises(UnavailableError, match=r"versions\.json cannot be written"):
            await operators.use_bundle(sha256, by=ME)
    assert (decision.state.pin, decision.state.candidate) == (None, None)
    assert drill.world.audited("version_pinned") == []
    await operators.pin(OLD, by=ME)
    with monkeypatch.context() as patch:
        patch.setattr(version_memory, "replace_private", fail)
        with pytest.raises(UnavailableError, match=r"versions\.json cannot be written"):
            await operators.unpin(by=ME)
    assert decision.state.pin == OLD


async def test_a_pin_is_refused_where_the_file_of_the_versions_could_not_be_read(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is not replaced, for the next daemon may read it."""
    bench, world = drill.bench, drill.world
    await drill.up()
    await bench.it.versions.save()
    await bench.it.stop()
    with monkeypatch.context() as patch:
        refuse(patch, world.config.paths.state / FILE, errno.EMFILE)
        bench.it = world.supervisor()
    bench.it.versions.begin()
    with pytest.raises(UnavailableError, match=r"versions\.json cannot be written: it could not"):
        await bench.it.operators.pin(OLD, by=ME)
    assert bench.it.versions.state.pin is None


async def test_a_folder_of_documents_that_cannot_be_read_does_not_end_the_daemon(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    await drill.up()

    def fail() -> Collection[int]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(drill.world.documents, "known", fail, raising=False)
    drill.bench.it.versions.begin()
    assert OLD in drill.bench.it.versions.state.stored


async def test_a_pin_that_ends_by_itself_is_on_the_trail(drill: Drill) -> None:
    await drill.up()
    await drill.bench.it.operators.pin(OLD, by=ME)
    drill.world.documents.there.remove(OLD)
    drill.bench.it.versions.handle_documents()
    await wait_until(lambda: drill.world.audited("version_unpinned"), "it is on the trail")
    [(*_, why)] = drill.world.audited("version_unpinned")
    assert why == f"the pin of {OLD} ended by itself: its document is not stored here"


async def test_a_session_that_was_stopped_while_the_mode_was_off_is_chosen_for_nothing(
    drill: Drill,
) -> None:
    await drill.up()
    drill.world.change("versions", mode="off")
    await drill.run(2)
    await drill.bench.it.sessions.stop("a")
    await drill.run(2)
    drill.world.change("versions", mode="react", good_after=10.0, well_for=3.0, pause=20.0)
    await drill.run(3)
    members = drill.bench.it.versions.state.members
    assert {name for name, it in members.items() if it.left_at is None} == {"b", "c", "d"}


async def test_who_works_with_a_held_version_keeps_its_page_when_the_daemon_is_killed(
    drill: Drill,
) -> None:
    await drill.up()
    await drill.load_new("a")
    bench, name = drill.bench, "a"
    versions = bench.it.versions
    await drill.until(lambda: versions.state.members[name].arm.revision == NEW)
    await drill.send(bench.session(name))
    await drill.until(lambda: versions.state.members[name].acked)
    since = drill.world.clock.wall()
    hold = Hold(
        boundary=NEW,
        since=since,
        evidence=Evidence.SEND_THROWS,
        affected=("b", "c"),
        confirmed=("b", "c"),
        reported_at=since,
    )
    versions.state = replace(
        versions.state, hold=hold, canary=Schedule(since + VersionRules().canary_after)
    )
    await versions.save()
    left = await bench.die()
    adopted = [replace(one.record, socket=one.process.spec.socket) for one in left]
    await bench.restore(*((record, one.process) for record, one in zip(adopted, left, strict=True)))
    versions = bench.it.versions
    await drill.until(lambda: len(versions.state.members) == len(NAMES))
    await drill.run(5)
    assert versions.state.hold == hold
    assert drill.page(name) == NEW


@pytest.mark.parametrize("runs", [False, True])
async def test_a_try_that_a_restart_of_the_daemon_ended_is_on_the_trail_once(
    drill: Drill, *, runs: bool
) -> None:
    bench = drill.bench
    await drill.up()
    if not runs:
        bench.it.operators.try_version(None, session="b", by=ME)
    bench.it.operators.try_version(OLD, session="a", by=ME)
    state = bench.it.versions.state
    assert (state.trial is not None and state.trial.session == "a") is runs
    for _ in range(2):
        await bench.it.versions.save()
        await bench.restart()
        bench.it.versions.begin()
    await wait_until(lambda: drill.world.audited("version_forgotten"), "it is on the trail")
    [(*_, why)] = drill.world.audited("version_forgotten")
    assert why == (
        f"a restart of waguard ended the try of WhatsApp Web {OLD} with a: ask again if it is still wanted"
    )
