"""A number that was connected, and is not linked any more: degraded until somebody scans."""

from typing import Any

import pytest

from tests.core.engine_bench import EngineBench, Script
from tests.core.session.one_session import said
from waguard.core.blame import Condition
from waguard.core.link import Link
from waguard.core.row_status import ParkCause, Status
from waguard.core.session.facts import Left, LoggedOut, ParkRequested, RestartRequested
from waguard.core.session.state import Pairing
from waguard.core.session.views import conditions, derive_status

CODE: dict[str, Any] = {"code": "2@x"}


def unlinked(bench: EngineBench) -> Condition | None:
    found = {it.type: it for it in conditions(bench.state("s"))}
    return found.get("unlinked")


def test_a_new_session_that_waits_for_its_first_scan_is_healthy() -> None:
    bench = EngineBench("s", expects_qr=True)
    bench.script = Script(reports=({"phase": "ready", "link": Link.QR_PENDING, **CODE},))
    bench.start("s")
    assert not any(it.degrades for it in conditions(bench.state("s")))


@pytest.mark.parametrize("link", [Link.QR_PENDING, Link.LOGGED_OUT])
def test_one_that_was_connected_is_unlinked_and_its_status_stays_one_of_five(
    link: Link, bench: EngineBench
) -> None:
    said(bench, Link.CONNECTED, phone="6281234567890")
    bench.post("s", LoggedOut("unknown_companion"))
    said(bench, Link.CONNECTED, phone="6281234567890")
    assert conditions(bench.state("s")) == (), "the page has not shown it yet"
    bench.pass_time(1)
    said(bench, link, **CODE)
    [found] = conditions(bench.state("s"))
    assert (found.type, found.reason, found.degrades) == ("unlinked", "unlinked", True)
    assert found.since == bench.at
    assert "+6281234567890" in found.message
    assert "unknown_companion" in found.message
    assert "`waguard qr s`" in found.remedy
    assert derive_status(bench.state("s")).status is Status.QR_SCANNING
    assert bench.records("s", "unlinked") == [found.message]


def test_the_condition_says_so_where_whatsapp_gave_no_reason(bench: EngineBench) -> None:
    said(bench, Link.QR_PENDING, **CODE)
    found = unlinked(bench)
    assert found
    assert "no reason" in found.message


def test_the_condition_stands_while_the_worker_is_replaced_and_the_session_is_parked(
    bench: EngineBench,
) -> None:
    said(bench, Link.QR_PENDING, **CODE)
    began = bench.at
    bench.pass_time(5)
    bench.script = Script(reports=({"phase": "loading", "link": Link.UNKNOWN},))
    bench.post("s", RestartRequested(why="for its memory"))
    found = unlinked(bench)
    assert found
    assert (found.since, found.degrades) == (began, True)
    bench.post("s", ParkRequested(cause=ParkCause.QR_EXPIRED, details="no one scanned"))
    found = unlinked(bench)
    assert found
    assert "--new" in found.remedy
    assert bench.records("s", "unlinked") == [found.message]


def test_a_scan_ends_it_and_the_next_reason_is_another_one(bench: EngineBench) -> None:
    bench.post("s", LoggedOut("account_locked"))
    said(bench, Link.QR_PENDING, **CODE)
    said(bench, Link.PAIRING)
    assert unlinked(bench), "it is not connected yet"
    said(bench, Link.CONNECTED, phone="628")
    assert conditions(bench.state("s")) == ()
    said(bench, Link.QR_PENDING, **CODE)
    found = unlinked(bench)
    assert found
    assert "account_locked" not in found.message


def test_a_logout_of_our_own_is_none(bench: EngineBench) -> None:
    bench.post("s", Left())
    bench.post("s", LoggedOut("user_initiated"))
    assert bench.records("s", "logged_out") == []
    said(bench, Link.QR_PENDING, **CODE)
    bench.exit("s", 0)
    bench.script = Script(reports=({"phase": "ready", "link": Link.QR_PENDING, **CODE},))
    bench.start("s")
    assert not any(it.degrades for it in conditions(bench.state("s")))
    assert bench.records("s", "unlinked") == []


def test_the_next_daemon_knows_it_from_the_row() -> None:
    bench = EngineBench("s", expects_qr=True, pairing=Pairing(made=True, lost_at=900.0))
    bench.script = Script(reports=({"phase": "loading", "link": Link.UNKNOWN},))
    bench.start("s", asked=False)
    found = unlinked(bench)
    assert found
    assert found.degrades
