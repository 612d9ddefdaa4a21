"""What is tried for a page before a condition begins, when it begins, and when it is over."""

import pytest

from tests.core.engine_bench import LOADING, WALL, EngineBench, Script
from tests.core.session.one_session import AWAY, GHOST, done, kinds, said, workers
from waguard.core.fleet.network import Reading
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import (
    OFFLINE_LIMIT,
    PAIRING_LIMIT,
    PASSKEY_GRACE,
    STUCK_AGAIN,
    SYNCING_LIMIT,
    UNSURE_LIMIT,
    UPDATE_APART,
    UPDATE_PATIENCE,
    Kind,
)
from waguard.core.passkey_link import WAITING, PasskeyLink, PasskeyStage
from waguard.core.recycle import IDLE
from waguard.core.row_status import ParkCause
from waguard.core.session.deadlines import LINK_STABLE
from waguard.core.session.facts import Fact, RestartRequested, StartRequested

NEWER = "there is a newer version of WhatsApp Web"


# ---- a newer version ----


def test_a_newer_version_is_loaded_once_and_when_nothing_is_under_way(bench: EngineBench) -> None:
    bench.idle = None
    said(bench, Link.CONNECTED, update_offered=True)
    bench.pass_time(2 * IDLE)
    bench.idle = 0.0
    bench.pass_time(1)
    assert bench.reloads("s") == 0
    bench.idle = IDLE
    bench.pass_time(IDLE)  # it is asked again when it can be idle
    assert bench.records("s", "reloaded") == [NEWER]
    said(bench, Link.UNKNOWN)
    said(bench, Link.CONNECTED, loads=2)
    bench.pass_time(2 * UPDATE_APART)
    assert (done(bench), kinds(bench), workers(bench)) == ((1, 0), [], 1)


def test_one_that_is_never_idle_is_loaded_between_two_calls_in_the_end(bench: EngineBench) -> None:
    bench.idle = 0.0
    said(bench, Link.CONNECTED, update_offered=True)
    bench.pass_time(UPDATE_PATIENCE - 1, step=5.0)
    assert bench.reloads("s") == 0
    bench.pass_time(IDLE)
    assert bench.reloads("s") == 1


def test_a_notice_that_persists_is_reported_after_two_loads_and_is_no_loop(
    bench: EngineBench,
) -> None:
    said(bench, Link.CONNECTED, update_offered=True)
    assert bench.reloads("s") == 0  # the deadline is a fact of its own
    bench.pass_time(1)
    assert bench.reloads("s") == 1
    # WhatsApp offers the update some time after a load: that the page says nothing yet is no success
    said(bench, Link.CONNECTED, loads=2)
    bench.pass_time(60)
    said(bench, Link.CONNECTED, loads=2, update_offered=True)
    bench.pass_time(UPDATE_APART)
    assert (bench.reloads("s"), kinds(bench)) == (2, [])
    bench.pass_time(UPDATE_APART)
    assert (bench.reloads("s"), kinds(bench)) == (2, [Kind.UPDATE_PERSISTS])
    bench.pass_time(3_600, step=5.0)
    assert bench.reloads("s") == 2
    (why,) = bench.records("s", "update_persists")
    assert "still asks for its newer version" in str(why)
    said(bench, Link.CONNECTED, loads=3)
    assert kinds(bench) == []
    assert len(bench.records("s", "update_persists_over")) == 1


def test_a_notice_that_persists_is_no_loop_on_a_host_that_runs_for_days() -> None:
    bench = EngineBench("s")
    bench.at = 5 * 86_400.0
    bench.start("s")
    said(bench, Link.CONNECTED, update_offered=True)
    bench.pass_time(3 * UPDATE_APART, step=5.0)
    assert (bench.reloads("s"), kinds(bench)) == (2, [Kind.UPDATE_PERSISTS])


def test_an_update_is_loaded_only_while_the_session_is_connected(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE, update_offered=True)
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert bench.reloads("s") == 0


@pytest.mark.parametrize(
    ("link", "word", "cause"),
    [
        (Link.NEEDS_UPDATE, "DEPRECATED_VERSION", ParkCause.NEEDS_UPDATE),
        (Link.BLOCKED, "TOS_BLOCK", ParkCause.BLOCKED),
    ],
)
def test_only_the_hard_variant_is_a_block(
    bench: EngineBench, link: Link, word: str, cause: ParkCause
) -> None:
    said(bench, link, details=word)
    assert (bench.lifecycle("s"), bench.state("s").parked) == (State.PARKED, cause)


# ---- a passkey ----


def passkey(
    bench: EngineBench, left: float = 600.0, stage: PasskeyStage = PasskeyStage.OFFERED
) -> float:
    """It asks for one; unix time of its end."""
    until = WALL + bench.at + left
    linking = PasskeyLink(stage=stage, until=until)
    said(bench, Link.PASSKEY_REQUIRED, passkey=linking, passkey_left=left)
    return until


def test_a_linking_that_waits_for_a_passkey_is_left_alone(bench: EngineBench) -> None:
    until = passkey(bench)
    (found,) = bench.state("s").care.found.values()
    assert (kinds(bench), found.until) == ([Kind.PASSKEY_REQUIRED], until)
    bench.pass_time(599)
    assert (done(bench), workers(bench)) == ((0, 0), 1)
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_when_a_passkeys_time_is_up_the_page_is_loaded_once(bench: EngineBench) -> None:
    passkey(bench)
    bench.pass_time(600 + PASSKEY_GRACE - 1)
    assert bench.reloads("s") == 0
    bench.pass_time(1)
    assert bench.records("s", "reloaded") == ["nobody showed the passkey in time"]
    bench.pass_time(600)
    assert bench.reloads("s") == 1
    passkey(bench)  # another attempt has its own time
    bench.pass_time(600 + PASSKEY_GRACE)
    assert bench.reloads("s") == 2


def test_another_passkey_is_said_with_its_own_time(bench: EngineBench) -> None:
    passkey(bench)
    (first,) = bench.state("s").care.found.values()
    bench.pass_time(100)
    until = passkey(bench)
    (second,) = bench.state("s").care.found.values()
    assert (second.until, second.message != first.message) == (until, True)
    assert (second.at, second.since) == (first.at, first.since)
    assert len(bench.records("s", "passkey_required")) == 1


def test_a_planned_replacement_waits_for_the_end_of_a_linking(bench: EngineBench) -> None:
    passkey(bench, 120.0, PasskeyStage.CONFIRM)
    bench.post("s", RestartRequested(why="another version"))
    bench.pass_time(60)
    assert workers(bench) == 1
    said(bench, Link.CONNECTED)
    bench.pass_time(10)
    assert workers(bench) == 2


def test_a_linking_that_fails_is_recorded_each_time(bench: EngineBench) -> None:
    for _ in range(2):
        passkey(bench, 600.0, PasskeyStage.ASKED)
        passkey(bench, 600.0, PasskeyStage.FAILED)
        passkey(bench, 500.0, PasskeyStage.FAILED)
    records = bench.records("s", "passkey_failed")
    assert len(records) == 2
    assert "the linking with the passkey failed" in str(records[0])


@pytest.mark.parametrize("stage", sorted(WAITING))
def test_nothing_loads_the_page_again_while_somebody_waits_for_an_answer(
    stage: PasskeyStage, bench: EngineBench
) -> None:
    passkey(bench, 120.0, stage)
    bench.pass_time(3_600)
    assert (done(bench), workers(bench)) == ((0, 0), 1)
    passkey(bench, 600.0, PasskeyStage.FAILED)
    bench.pass_time(600 + PASSKEY_GRACE)
    assert bench.reloads("s") == 1


@pytest.mark.parametrize(
    ("link", "linking"),
    [
        (Link.PASSKEY_REQUIRED, None),
        (Link.PAIRING, PasskeyLink(stage=PasskeyStage.OFFERED, until=WALL + 1_600.0)),
    ],
)
def test_a_passkey_is_asked_for_only_where_its_link_and_its_stage_are_known(
    link: Link, linking: PasskeyLink | None, bench: EngineBench
) -> None:
    passkey(bench)
    said(bench, link, passkey=linking)
    assert kinds(bench) == []


# ---- a link that does not move ----


def test_a_ghost_socket_is_reloaded_then_replaced_then_reported(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE, socket=GHOST)
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)
    (why,) = bench.records("s", "reloaded")
    assert why == f"no connection to WhatsApp for 180 s while the network is there: {GHOST}"
    bench.script = Script(reports=({"link": Link.OFFLINE, "socket": GHOST},))
    said(bench, Link.UNKNOWN)
    said(bench, Link.OFFLINE, socket=GHOST)
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert done(bench) == (1, 0)
    bench.pass_time(1)
    assert (done(bench), workers(bench), bench.state("s").restarts) == ((1, 1), 2, 0)
    bench.pass_time(OFFLINE_LIMIT)
    assert kinds(bench) == [Kind.LINK_STUCK]
    bench.pass_time(3_000, step=5.0)
    assert (done(bench), workers(bench)) == ((1, 1), 2)
    (recorded,) = bench.records("s", "link_stuck")
    assert "neither a reload nor a replacement helped" in str(recorded)
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


@pytest.mark.parametrize("link", [Link.QR_PENDING, Link.SYNCING])
def test_a_link_that_moves_on_is_stuck_no_more(bench: EngineBench, link: Link) -> None:
    bench.script = Script(reports=({"link": Link.OFFLINE},))
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT + 3)
    assert kinds(bench) == [Kind.LINK_STUCK]
    said(bench, Link.UNKNOWN)
    assert kinds(bench) == [Kind.LINK_STUCK]
    said(bench, link)
    assert kinds(bench) == []


def test_a_link_that_moved_after_the_advice_is_reloaded_first_when_it_is_stuck_again(
    bench: EngineBench,
) -> None:
    bench.script = Script(reports=({"link": Link.OFFLINE},))
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT + 3)
    assert (done(bench), kinds(bench)) == ((1, 1), [Kind.LINK_STUCK])
    bench.pass_time(STUCK_AGAIN, step=5.0)
    assert done(bench) == (2, 1)
    said(bench, Link.CONNECTED)
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (3, 1)


@pytest.mark.parametrize(
    ("link", "limit"), [(Link.PAIRING, PAIRING_LIMIT), (Link.SYNCING, SYNCING_LIMIT)]
)
def test_linking_and_synchronization_end_or_are_reported(
    bench: EngineBench, link: Link, limit: float
) -> None:
    bench.script = Script(reports=({"link": link},))
    said(bench, link)
    bench.pass_time(limit - 1)
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)
    bench.pass_time(limit)
    assert (done(bench), bench.link("s"), bench.state("s").restarts) == ((1, 1), link, 0)
    bench.pass_time(limit)
    assert kinds(bench) == [Kind.LINK_STUCK]
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_where_whatsapp_serves_no_page_it_is_asked_again_and_nothing_else_is_tried(
    bench: EngineBench,
) -> None:
    why = "WhatsApp answers with HTTP status 500"
    said(bench, Link.OFFLINE, refused=True, details=why)
    assert kinds(bench) == [Kind.WHATSAPP_REFUSES]
    assert bench.records("s", "whatsapp_refuses") == [why]
    bench.pass_time(3 * OFFLINE_LIMIT)
    assert (workers(bench), bench.state("s").restarts) == (1, 0)
    assert set(bench.records("s", "reloaded")) == {
        "it is the next session to ask WhatsApp for its page"
    }  # by the fleet's schedule
    said(bench, Link.CONNECTED)
    assert kinds(bench) == []


def test_a_ghost_that_comes_back_at_once_is_no_loop(bench: EngineBench) -> None:
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (1, 0)
    said(bench, Link.CONNECTED)
    bench.pass_time(LINK_STABLE - 1)
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (1, 1)
    bench.pass_time(LINK_STABLE - 1)
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT)
    assert (done(bench), kinds(bench)) == ((1, 1), [Kind.LINK_STUCK])
    said(bench, Link.CONNECTED)
    bench.pass_time(LINK_STABLE)  # connected for long: what was tried then may help again
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (2, 1)


@pytest.mark.parametrize(
    ("ask", "recycled"),
    [
        (StartRequested(restart=True), []),
        (RestartRequested(why="another proxy"), ["another proxy"]),
    ],
)
def test_a_replacement_that_was_requested_is_not_cancelled_where_a_stuck_link_moves(
    ask: Fact, recycled: list[str], bench: EngineBench
) -> None:
    said(bench, Link.OFFLINE)
    bench.pass_time(OFFLINE_LIMIT)
    assert done(bench) == (1, 0)
    bench.pass_time(OFFLINE_LIMIT - 2)
    bench.script = Script(reports=(LOADING,))
    for name in ("a", "b"):  # they have both slots
        bench.add(name)
        bench.start(name)
    bench.post("s", ask)
    bench.pass_time(3)
    assert (done(bench), workers(bench)) == ((1, 0), 1)
    said(bench, Link.CONNECTED)
    bench.script = Script()
    bench.report("a")
    assert (workers(bench), bench.records("s", "recycled")) == (2, recycled)


def test_while_the_network_is_away_nothing_is_tried(bench: EngineBench) -> None:
    bench.network = AWAY
    said(bench, Link.OFFLINE)
    bench.pass_time(3 * UNSURE_LIMIT, step=5.0)
    assert bench.fleet.network_down
    assert done(bench) == (0, 0)


def test_the_time_in_which_the_network_was_away_does_not_count(bench: EngineBench) -> None:
    bench.add("other")
    bench.start("other")
    bench.network = AWAY
    said(bench, Link.OFFLINE)
    bench.report("other", Link.OFFLINE)
    bench.pass_time(3 * OFFLINE_LIMIT)
    bench.network = Reading()
    bench.report("other", Link.CONNECTED)
    assert bench.fleet.network_down is None
    bench.pass_time(OFFLINE_LIMIT - 1)
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    (why,) = bench.records("s", "reloaded")
    assert why == "no connection to WhatsApp for 180 s while the network is there: None"


def test_where_only_the_sessions_say_so_each_page_is_reloaded_once(bench: EngineBench) -> None:
    """All of them may be stuck since the network was away."""
    bench.network = AWAY
    said(bench, Link.OFFLINE)
    bench.pass_time(10)
    bench.network = Reading()
    bench.pass_time(UNSURE_LIMIT - 11)
    assert bench.fleet.network_unsure
    assert done(bench) == (0, 0)
    bench.pass_time(1)
    assert done(bench) == (1, 0)
    bench.pass_time(3 * UNSURE_LIMIT, step=5.0)
    assert (done(bench), kinds(bench)) == ((1, 0), [])
