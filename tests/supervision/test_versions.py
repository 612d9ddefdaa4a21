"""The shell of WhatsApp's versions, over the whole of supervision and the real decision."""

import asyncio
import itertools
from typing import Final

import msgspec
import pytest

from tests.supervision.bench import CONNECTED, Bench
from tests.supervision.fake_workers import FakeProcess, Script
from tests.supervision.sessions import until
from tests.supervision.version_drill import BROKEN, ME, NAMES, NEW, OLD, Drill
from tests.supervision.world import PACKED, World
from tests.waiting import wait_until
from waguard.core.exits import EXIT_EXPORTS_MISSING, EXIT_PAGE_NOT_READY
from waguard.core.incidents.folding import fold, fold_fleet
from waguard.core.incidents.sentences import sentences
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.versions.effects import Discard, Reload
from waguard.core.versions.facts import Arm, Evidence
from waguard.core.versions.policy import encode
from waguard.errors import ConflictError, NotFoundError
from waguard.host.memory.version_memory import FILE
from waguard.host.memory.wajs_store import WajsStore, digest
from waguard.host.small_file import SUFFIX
from waguard.supervision.session.actor import SessionActor
from waguard.wire.worker import WorkerSpec

BUNDLE: Final = b"/*! wppconnect-team/wa-js v4.7.0 */ WPP"


@pytest.fixture
async def drill(bench: Bench) -> Drill:
    return Drill(bench)


def throws(session: SessionActor) -> None:
    session.traffic.throws.threw("c", BROKEN)


async def test_a_version_that_breaks_sends_is_left_by_all_without_a_person(drill: Drill) -> None:
    await drill.up()
    drill.unhealthy = throws
    await drill.load_new(*NAMES)
    await drill.until(lambda: all(drill.page(name) == OLD for name in NAMES))
    await drill.run(5)
    [held] = [it for it in drill.bench.it.health.read().conditions if it.type == "version_held"]
    assert (held.session, held.reason) == (None, "version_held")
    assert str(NEW) in held.message
    assert "waguard versions list" in held.remedy
    assert all(it.link is Link.CONNECTED for it in drill.sessions)
    # the next start gets it as well
    assert drill.bench.it.observer.for_worker("new").document is not None
    # what an operator reads afterwards
    [incident] = [
        it for it in fold_fleet(drill.world.store.entries) if f"WhatsApp Web {NEW}" in it.cause
    ]
    text = " ".join(sentences(incident))
    assert "its page throws at sends" in text
    assert f"all sessions get version {OLD}" in text
    assert f"WhatsApp Web {NEW} is suspected" in text
    assert "were loaded with an older version" in text
    published = drill.world.events("incident")
    kinds = [it.data["kind"] for it in published if it.data["kind"].startswith("version_")]
    assert kinds == ["version_suspected", "version_held"]
    held_event = next(it.data for it in published if it.data["kind"] == "version_held")
    assert (held_event["revision"], held_event["instead"]) == (NEW, OLD)
    assert held_event["evidence"] == str(Evidence.SEND_THROWS)
    of_one = [it for it in drill.world.store.entries if it.session_id == "a"]
    story = " ".join(sentence for it in fold(of_one) for sentence in sentences(it))
    assert BROKEN in story
    assert f"its page was loaded with WhatsApp Web {OLD}, from the store" in story
    of_a = drill.world.events("page_version", session="a")
    pages = [(it.data["page"], it.data["served_by"]) for it in of_a]
    assert pages[:2] == [(OLD, "network"), (NEW, "network")]
    assert pages[-1] == (OLD, "store")
    assert all(before != after for before, after in itertools.pairwise(pages)), "each is news"


async def test_a_page_that_never_becomes_ready_is_evidence(drill: Drill) -> None:
    await drill.up()

    loading = {"phase": "loading", "link": "unknown"}
    drill.world.spawn.scripts["a"] = Script(reports=(loading,), loads=drill.loads)
    await drill.load_new("a")
    for _ in range(60):
        process = drill.bench.process("a") if drill.bench.session("a").runner.process else None
        if process and process.connected and isinstance(process.spec, WorkerSpec):
            if process.spec.document:
                break
            process.exit(EXIT_PAGE_NOT_READY)
        await drill.run(1)
    drill.bench.process("a").report(**CONNECTED, version=drill.loads(drill.bench.process("a").spec))
    await drill.until(lambda: drill.page("a") == OLD)
    await wait_until(lambda: drill.world.audited("version_suspected"), "it is on the trail")
    [suspected] = drill.world.audited("version_suspected")
    assert "never becomes ready" in str(suspected[2])


async def test_a_page_that_loads_itself_again_and_again_is_evidence(drill: Drill) -> None:
    await drill.up()
    await drill.load_new("a")
    process = drill.bench.process("a")
    for loads in range(1, 4):
        assert drill.page("a") == NEW
        process.report(**CONNECTED, version=drill.loads(process.spec), loads=loads)
        await drill.run(5)
    await drill.until(lambda: drill.page("a") == OLD)
    await wait_until(lambda: drill.world.audited("version_suspected"), "it is on the trail")
    [suspected] = drill.world.audited("version_suspected")
    assert "does not stay" in str(suspected[2])


async def test_a_pinned_version_that_is_refused_is_left(drill: Drill) -> None:
    await drill.up()
    await drill.load_new("a")
    await drill.until(lambda: drill.bench.it.versions.state.newest == NEW)
    await drill.bench.it.operators.pin(OLD, by=ME)
    await wait_until(lambda: drill.world.audited("version_pinned"), "it is on the trail")
    assert drill.world.audited("version_pinned") == [
        (None, None, f"{ME} pinned WhatsApp Web {OLD}")
    ]
    await drill.bench.it.sessions.start("a", restart=True)
    await drill.until(lambda: drill.page("a") == OLD)
    before = drill.bench.process("a")
    before.report("needs_update", version=drill.loads(before.spec))
    await drill.until(lambda: drill.page("a") == NEW)
    assert drill.bench.session("a").lifecycle is State.RUNNING
    assert not drill.world.audited("parked")
    assert drill.bench.it.versions.state.pin is None
    assert drill.world.audited("version_too_old")


async def test_a_version_that_is_too_old_and_has_no_other_waits_for_a_person(drill: Drill) -> None:
    await drill.up()
    process = drill.bench.process("a")
    process.report("needs_update", version=drill.loads(process.spec))
    await drill.run(2)  # it was loaded before: there may be a newer one by now
    again = drill.bench.process("a")
    assert again is not process
    again.report("needs_update", version=drill.loads(again.spec))
    await until(drill.bench.session("a"), lambda s: s.lifecycle is State.PARKED)
    types = {it.type for it in drill.bench.it.health.read().conditions}
    assert "version_refused" in types


async def test_off_nothing_of_it_runs(drill: Drill) -> None:
    drill.world.change("versions", mode="off")
    await drill.bench.it.watchdog.watch()
    for name in NAMES:
        await drill.bench.row(name)
    await drill.bench.restore()
    drill.unhealthy = throws
    await drill.load_new(*NAMES)
    await drill.run(30)
    state, spec = drill.bench.it.versions.state, drill.bench.process("a").spec
    assert isinstance(spec, WorkerSpec)
    assert (spec.document, spec.documents, spec.wajs, spec.wajs_sha256) == (
        None,
        None,
        None,
        PACKED,
    )
    assert (dict(state.members), state.stored, state.newest) == ({}, frozenset(), None)
    versions = drill.bench.it.operators
    with pytest.raises(ConflictError, match=r"versions\.mode is off"):
        await versions.pin(OLD, by=ME)
    with pytest.raises(ConflictError, match=r"versions\.mode is off"):
        await versions.unpin(by=ME)
    with pytest.raises(ConflictError, match=r"versions\.mode is off"):
        versions.try_version(None, session=None, by=ME)
    with pytest.raises(ConflictError, match=r"versions\.mode is off"):
        await versions.try_bundle(PACKED, session=None, by=ME)


async def test_a_worker_knows_where_documents_are_kept(drill: Drill) -> None:
    await drill.up()
    spec = drill.bench.process("a").spec
    assert isinstance(spec, WorkerSpec)
    assert spec.documents == str(drill.world.config.paths.state / "versions")
    assert spec.wajs_sha256 == PACKED


async def test_an_error_names_what_is_known(drill: Drill) -> None:
    await drill.up()
    with pytest.raises(NotFoundError) as unknown:
        await drill.bench.it.operators.pin(77, by=ME)
    assert unknown.value.remedy == f"stored are {OLD}"
    with pytest.raises(NotFoundError):
        await drill.bench.it.operators.use_bundle("ab" * 32, by=ME)
    with pytest.raises(ConflictError):
        await drill.bench.it.operators.unpin(by=ME)
    await drill.bench.it.operators.pin(OLD, by=ME)
    assert drill.bench.it.operators.listing().pin == OLD
    await drill.bench.it.operators.unpin(by=ME)
    assert drill.bench.it.operators.listing().pin is None
    await wait_until(lambda: drill.world.audited("version_unpinned"), "it is on the trail")


async def test_what_is_known_outlives_the_daemon(drill: Drill) -> None:
    await drill.up()
    await drill.bench.it.operators.pin(OLD, by=ME)
    await drill.run(1)
    await drill.bench.restart()
    assert drill.bench.it.versions.state.pin == OLD
    assert OLD in drill.bench.it.versions.state.good


async def test_a_file_that_is_none_is_quarantined(bench: Bench, world: World) -> None:
    await bench.it.stop()
    path = world.config.paths.state / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"format": 7}')
    bench.it = world.supervisor()
    assert bench.it.versions.memory.unreadable
    assert path.with_name(FILE + SUFFIX).exists()
    assert bench.it.versions.state.newest is None


async def test_a_bundle_that_is_not_there_any_more_is_used_no_more(
    bench: Bench, world: World
) -> None:
    await bench.it.stop()
    path = world.config.paths.state / FILE
    state = msgspec.structs.replace(bench.it.versions.state, wajs="f" * 64, bundles={"f" * 64})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(state))
    bench.it = world.supervisor()
    bench.it.versions.begin()
    assert bench.it.observer.for_worker("s").sha256 == PACKED
    assert bench.it.versions.state.bundles == {PACKED}


async def test_the_packed_bundle_of_an_upgrade_is_compared_with_itself_in_no_way(
    bench: Bench, world: World
) -> None:
    """It was to be tried, or all had it before they went back: no canary of it would ever count."""
    await bench.it.stop()
    path = world.config.paths.state / FILE
    state = msgspec.structs.replace(
        bench.it.versions.state,
        wajs="f" * 64,
        bundles={"f" * 64, PACKED},
        previous=PACKED,
        candidate=PACKED,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(state))
    bench.it = world.supervisor()
    found = bench.it.versions.state
    assert (found.wajs, found.previous, found.candidate) == (PACKED, None, None)


# ---- wa-js ----


async def test_a_bundle_is_used_by_all_after_canaries(drill: Drill) -> None:
    await drill.up()
    drill.world.change("versions", good_after=10.0, canary_for=3.0, canary_after=5.0)
    sha256 = digest(BUNDLE)
    WajsStore(drill.world.config.paths.state).add(BUNDLE, sha256)
    await drill.bench.it.operators.use_bundle(sha256[:8], by=ME)
    row = next(it for it in drill.bench.it.operators.listing().bundles if it.sha256 == sha256)
    assert (row.candidate, row.in_use, row.version) == (True, False, "4.7.0")
    [packed] = [it for it in drill.bench.it.operators.listing().bundles if it.packed]
    assert packed.version == "4.6.0"
    await drill.until(lambda: drill.bench.it.versions.state.wajs == sha256)
    given = drill.bench.it.observer.for_worker("new")
    assert (given.sha256, given.wajs) == (
        sha256,
        drill.world.config.paths.state / f"wajs/{sha256}.js",
    )
    await wait_until(lambda: drill.world.audited("bundle_accepted"), "it is on the trail")
    assert drill.world.audited("bundle_added")
    [used] = drill.world.audited("bundle_used")
    assert str(used[2]).startswith(ME)


async def test_the_file_of_the_configuration_wins(drill: Drill) -> None:
    path = drill.world.folder / "wa.js"
    drill.world.change("whatsapp", wajs=path)
    await drill.up()
    spec = drill.bench.process("a").spec
    assert isinstance(spec, WorkerSpec)
    assert (spec.wajs, spec.wajs_sha256) == (str(path), None)
    assert drill.bench.it.operators.listing().configured == str(path)
    arms = {it.arm.wajs for it in drill.bench.it.versions.state.members.values()}
    assert arms == {PACKED}, "for the decision all have the same"
    with pytest.raises(ConflictError, match="which the configuration names"):
        await drill.bench.it.operators.use_bundle(PACKED, by=ME)
    with pytest.raises(ConflictError, match="which the configuration names"):
        await drill.bench.it.operators.try_bundle(PACKED, session=None, by=ME)


# ---- what is stopped stays so ----


async def test_a_session_that_was_stopped_is_not_loaded_for_a_version(drill: Drill) -> None:
    await drill.up()
    await drill.bench.it.sessions.stop("a")
    drill.bench.it.versions._perform(Reload("a", Arm(OLD, PACKED), "so it is"))
    drill.bench.it.versions._perform(Reload("nobody", Arm(OLD, PACKED), "so it is"))
    await drill.run(2)
    assert drill.bench.session("a").lifecycle is State.STOPPED


async def test_a_document_that_cannot_be_deleted_is_known_all_the_same(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    await drill.up()

    def refuse(_: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(drill.world.documents, "discard", refuse, raising=False)
    drill.bench.it.versions._perform(Discard(OLD))
    assert OLD in drill.bench.it.versions.state.stored


async def test_what_a_good_version_lacks_as_well_is_no_evidence(drill: Drill) -> None:
    await drill.up()
    drill.lacks = {OLD: ("WPP.old",), NEW: ("WPP.old",)}
    for name in NAMES:
        await drill.bench.it.sessions.start(name, restart=True)
    await drill.run(3)
    await drill.load_new("a")
    await drill.run(2)
    assert drill.bench.it.versions.state.members["a"].unhealthy is None
    drill.lacks = {NEW: ("WPP.old", "WPP.new")}
    await drill.bench.it.sessions.start("b", restart=True)
    await drill.until(lambda: drill.bench.it.versions.state.suspected == NEW)
    assert drill.bench.it.versions.state.suspected == NEW


async def test_missing_exports_that_end_the_worker_are_evidence(drill: Drill) -> None:
    await drill.up()
    drill.lacks = {NEW: ("functions.addAndSendMsgToChat",)}
    loading = {"phase": "loading", "link": "unknown"}
    for name in ("a", "b"):
        drill.world.spawn.scripts[name] = Script(
            reports=({**loading, "version": None},), loads=drill.loads
        )
    drill.network = NEW
    for name in ("a", "b"):
        await drill.bench.it.sessions.start(name, restart=True)
    for _ in range(60):
        for name in ("a", "b"):
            process = drill.bench.session(name).runner.process
            if not isinstance(process, FakeProcess) or not process.connected:
                continue
            assert isinstance(process.spec, WorkerSpec)
            version = drill.loads(process.spec)
            if process.spec.document:
                process.report(**CONNECTED, version=version)
            else:
                process.report("unknown", phase="closing", version=version)
                await asyncio.sleep(0.01)
                process.exit(EXIT_EXPORTS_MISSING)
        await drill.run(1)
        if drill.page("a") == OLD and drill.page("b") == OLD:
            return
    raise AssertionError(drill.bench.it.versions.state)


async def test_the_same_page_after_a_stop_is_no_news(drill: Drill) -> None:
    await drill.up()
    before = len(drill.world.events("page_version", session="a"))
    await drill.bench.it.sessions.stop("a")
    await drill.run(1)
    await drill.bench.it.sessions.start("a", restart=False)
    await drill.until(lambda: drill.page("a") == OLD)
    await drill.run(3)
    assert len(drill.world.events("page_version", session="a")) == before == 1


async def test_the_page_of_an_adopted_worker_is_no_news(drill: Drill) -> None:
    """However often it is reported: the daemon before published it."""
    bench, world = drill.bench, drill.world
    await bench.row("a")
    world.spawn.scripts["a"] = Script(reports=(CONNECTED,), loads=drill.loads)
    left = await world.left_behind("a")
    await bench.restore((left.record, left.process))
    await drill.until(lambda: drill.page("a") == OLD)
    left.process.report(**CONNECTED, version=drill.loads(left.process.spec))
    await drill.run(3)
    assert drill.page("a") == OLD
    assert world.audited("adopted")
    assert world.audited("page_version") == []
