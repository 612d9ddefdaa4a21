"""What is shown of a session: whose fault it is, since when, and what helps."""

from typing import Any

import pytest

from tests.core.engine_bench import DOWN
from waguard.core import passkey_link, remedies
from waguard.core.blame import Blame, Condition, Failure
from waguard.core.host.admission import Cause, Wait
from waguard.core.lifecycle import State
from waguard.core.link import Link
from waguard.core.page_care import Kind
from waguard.core.passkey_link import PasskeyLink, PasskeyStage
from waguard.core.row_status import REQUESTED, RESTORED, DerivedStatus, ParkCause, Reason, Status
from waguard.core.session.page_load import PORTAL
from waguard.core.session.restart import Retries
from waguard.core.session.state import (
    Care,
    FleetView,
    Found,
    Intent,
    SessionState,
    Slot,
    Stage,
    Worker,
)
from waguard.core.session.views import (
    candidate,
    conditions,
    derive_status,
    details,
    is_adopting,
    lifecycle,
    link,
    needs_core,
    parked_for,
    passkey,
    shown,
)

FAILED = Failure(Blame.SESSION, "browser_gone", "Chromium died")
NOTHING = remedies.text(remedies.RETRIED, "s")


def session(**fields: Any) -> SessionState:
    known: dict[str, Any] = {"status": DOWN, "begun": True, "intent": Intent.UP}
    return SessionState(session="s", **{**known, **fields})


def worker(stage: Stage = Stage.READY, **fields: Any) -> Worker:
    times: dict[str, Any] = dict.fromkeys(
        ("since", "heard_at", "page_at", "link_since", "code_at"), 10.0
    )
    return Worker(**{"number": 1, "stage": stage, **times, **fields})


def only(state: SessionState) -> Condition:
    (condition,) = conditions(state)
    return condition


# ---- what it does ----


@pytest.mark.parametrize(
    ("stage", "by_intent"),
    [
        (Stage.SPAWNING, (State.STARTING, State.STOPPING, State.PARKING)),
        (Stage.ADOPTING, (State.STARTING, State.STARTING, State.STARTING)),
        (Stage.STARTING, (State.STARTING, State.STARTING, State.STARTING)),
        (Stage.READY, (State.RUNNING, State.RUNNING, State.RUNNING)),
        (Stage.ENDING, (State.RECYCLING, State.STOPPING, State.PARKING)),
    ],
)
def test_with_a_worker_its_stage_says_it(stage: Stage, by_intent: tuple[State, ...]) -> None:
    intents = (Intent.UP, Intent.DOWN, Intent.PARKED)
    states = [session(intent=intent, worker=worker(stage)) for intent in intents]
    assert tuple(map(lifecycle, states)) == by_intent


FLEET, PLACE = Wait(Cause.FLEET, "the breaker"), Wait(Cause.PLACE, "2 are starting")


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"intent": Intent.DOWN}, State.STOPPED),
        ({"intent": Intent.PARKED}, State.PARKED),
        ({"retries": Retries(1, at=5.0)}, State.PARKED),
        ({"slot": Slot.FREE}, State.BACKOFF),
        ({"slot": Slot.REQUESTED}, State.STARTING),
        ({"slot": Slot.REQUESTED, "held_back": PLACE, "failure": FAILED}, State.STARTING),
        ({"slot": Slot.REQUESTED, "held_back": FLEET}, State.STARTING),
        ({"slot": Slot.REQUESTED, "held_back": FLEET, "failure": FAILED}, State.BACKOFF),
    ],
)
def test_without_a_worker_what_it_waits_for_says_it(fields: dict[str, Any], state: State) -> None:
    assert lifecycle(session(**fields)) is state


@pytest.mark.parametrize("stage", list(Stage))
def test_only_a_ready_page_says_how_it_stands(stage: Stage) -> None:
    state = session(worker=worker(stage, link=Link.CONNECTED))
    assert link(state) is (Link.CONNECTED if stage is Stage.READY else Link.UNKNOWN)


@pytest.mark.parametrize(
    ("fields", "adopting"),
    [
        ({"stage": Stage.ADOPTING}, True),
        ({"stage": Stage.READY}, True),
        ({"stage": Stage.READY, "link": Link.CONNECTED}, False),
        ({"stage": Stage.READY, "overdue": True}, False),
        ({"stage": Stage.READY, "adopted": False}, False),
        ({"stage": Stage.ENDING}, False),
    ],
)
def test_a_session_is_being_adopted_until_its_link_is_known_or_overdue(
    *, fields: dict[str, Any], adopting: bool
) -> None:
    assert is_adopting(session(worker=worker(**{"adopted": True, **fields}))) is adopting


@pytest.mark.parametrize(
    ("it", "needs"),
    [
        (None, True),
        (worker(Stage.SPAWNING), True),
        (worker(Stage.STARTING, phase="loading"), True),
        (worker(Stage.STARTING, phase="settling"), False),
        (worker(Stage.READY, phase="loading"), False),
        (worker(Stage.ADOPTING), False),
    ],
)
def test_a_start_needs_a_core_until_the_page_is_loaded(*, it: Worker | None, needs: bool) -> None:
    assert needs_core(session(worker=it)) is needs


def test_a_candidate_says_how_long_ago_its_browser_ended() -> None:
    state = session(ended_at=90.0, priority=5, active=7.0, asked=True)
    it = candidate(state, 100.0)
    assert (it.session, it.priority, it.active, it.asked, it.ended) == ("s", 5, 7.0, True, 10.0)
    assert candidate(session(), 100.0).ended is None


# ---- words ----


def test_what_it_waits_for_goes_before_what_failed() -> None:
    assert details(session(held_back=PLACE, failure=FAILED)) == "2 are starting"
    assert details(session(failure=FAILED)) == "Chromium died"
    assert details(session()) is None


def test_offline_says_what_is_known_of_the_network_first() -> None:
    it = worker(link=Link.OFFLINE, details="its socket is OPENING")
    away = FleetView(network_down="WhatsApp cannot be reached")
    offline = DerivedStatus(Status.DISCONNECTED, Reason.TIMEOUT, "WhatsApp cannot be reached")
    assert derive_status(session(worker=it, fleet=away)) == offline
    assert derive_status(session(worker=it, failure=FAILED)).details == "its socket is OPENING"
    plain = worker(link=Link.OFFLINE)
    assert derive_status(session(worker=plain, failure=FAILED)).details == "Chromium died"


def test_what_it_is_blocked_for_is_what_the_page_says() -> None:
    it = worker(link=Link.BLOCKED, details="a word of WhatsApp")
    assert derive_status(session(worker=it)).details == "a word of WhatsApp"
    assert derive_status(session(worker=it, failure=FAILED)).details == "Chromium died"


def test_a_passkey_is_asked_for_only_while_the_link_says_so() -> None:
    linking = PasskeyLink(stage=PasskeyStage.OFFERED, until=3_600.0, unattended_until=3_300.0)
    it = worker(link=Link.PASSKEY_REQUIRED, passkey=linking)
    assert passkey(session(worker=it)) is linking
    said = derive_status(session(worker=it)).details
    assert said == f"passkey_required: {passkey_link.words(linking)}"
    assert passkey(session(worker=worker(passkey=linking))) is None
    assert passkey(session(worker=worker(link=Link.PASSKEY_REQUIRED))) is None
    assert passkey(session()) is None


def test_no_code_comes_next_while_the_host_lacks_what_shows_it() -> None:
    waits: dict[str, Any] = {"slot": Slot.REQUESTED, "expects_qr": True}
    for cause in (Cause.EXECUTABLE, Cause.SESSIONS_FOLDER):
        state = session(**waits, held_back=Wait(cause, "it is missing"))
        assert derive_status(state).status is Status.DISCONNECTED
    assert derive_status(session(**waits, held_back=PLACE)).status is Status.QR_SCANNING
    assert derive_status(session(**waits)).status is Status.QR_SCANNING


def test_the_row_keeps_its_word_until_something_was_wanted() -> None:
    assert derive_status(session(begun=False)) is DOWN


def test_a_row_promises_nothing_of_a_link_that_is_unknown_for_too_long() -> None:
    assert derive_status(session(worker=worker())) is DOWN
    assert derive_status(session(worker=worker(overdue=True))).reason is Reason.UNKNOWN


def test_a_try_after_its_restarts_were_spent_changes_no_row() -> None:
    state = session(worker=worker(Stage.STARTING), retries=Retries(1, running=True))
    assert derive_status(state) is DOWN


def test_only_one_without_a_worker_waits_for_its_next_try() -> None:
    waits = session(retries=Retries(1, at=5.0))
    assert parked_for(waits) is ParkCause.RESTART_BUDGET
    assert parked_for(session(retries=Retries(1, at=5.0), worker=worker())) is None
    assert parked_for(session(intent=Intent.PARKED, parked=ParkCause.BLOCKED)) is ParkCause.BLOCKED
    assert parked_for(session(parked=ParkCause.BLOCKED)) is None


# ---- conditions ----


def test_nothing_is_wrong_with_what_is_well_or_not_wanted() -> None:
    assert conditions(session(worker=worker(link=Link.CONNECTED))) == ()
    assert conditions(session(intent=Intent.DOWN, failure=FAILED)) == ()
    assert conditions(session(left=True, failure=FAILED)) == ()
    assert conditions(session(worker=worker(Stage.ADOPTING, adopted=True))) == ()
    assert conditions(session(worker=worker(adopted=True))) == ()


@pytest.mark.parametrize(
    ("cause", "blame"),
    [
        (ParkCause.RESTART_BUDGET, Blame.SESSION),
        (ParkCause.CONFLICT, Blame.OPERATOR),
        (ParkCause.BLOCKED, Blame.WHATSAPP),
        (ParkCause.NEEDS_UPDATE, Blame.WHATSAPP),
        (ParkCause.QR_EXPIRED, Blame.OPERATOR),
        (ParkCause.PROFILE_MISSING, Blame.HOST),
        (ParkCause.PAGE_FLOODS, Blame.SESSION),
    ],
)
def test_who_is_to_blame_where_only_a_person_can_help(cause: ParkCause, blame: Blame) -> None:
    state = session(intent=Intent.PARKED, parked=cause, since=7.0)
    it = only(state)
    assert (it.type, it.blame, it.reason, it.since) == ("parked", blame, str(cause), 7.0)
    assert it.message == str(cause)
    explained = session(intent=Intent.PARKED, parked=cause, failure=FAILED)
    assert only(explained).message == "Chromium died"


def test_each_cause_of_parking_has_its_own_remedy() -> None:
    parked = [session(intent=Intent.PARKED, parked=cause) for cause in ParkCause]
    assert len({only(state).remedy for state in parked}) == len(ParkCause)


def test_a_pairing_that_goes_on_or_was_given_up_is_no_trouble_and_all_else_is() -> None:
    parked = [session(intent=Intent.PARKED, parked=cause) for cause in ParkCause]
    waits = [Wait(it, "so it is") for it in Cause]
    starts = [
        session(expects_qr=new, failure=failure, held_back=wait)
        for new in (True, False)
        for failure, wait in ((None, None), (FAILED, None), *((None, it) for it in waits))
    ]
    links = [session(worker=worker(link=it)) for it in Link if it is not Link.CONNECTED]
    states = (*parked, *starts, *links)
    fine = {(it.reason, s.expects_qr) for s in states if not (it := only(s)).degrades}
    pairing = {(reason, False) for reason in ("qr_expired", "qr_pending", "logged_out", "pairing")}
    assert fine == pairing | {("starting", True), ("place", True)}


@pytest.mark.parametrize(
    ("cause", "blame", "helps"),
    [
        (Cause.PLACE, Blame.OPERATOR, "restore.concurrency"),
        (Cause.MEMORY, Blame.HOST, "more memory"),
        (Cause.PRESSURE, Blame.HOST, "more memory"),
        (Cause.PIDS, Blame.HOST, "TasksMax"),
        (Cause.FLEET, Blame.SESSION, "common cause"),
        (Cause.EXECUTABLE, Blame.HOST, "Install Chromium"),
        (Cause.SESSIONS_FOLDER, Blame.HOST, "Mount the disk"),
        (Cause.TURN, Blame.SESSION, "tries it again"),
        (Cause.WHATSAPP, Blame.WHATSAPP, "tries it again"),
    ],
)
def test_who_is_to_blame_for_a_wait_and_what_helps(cause: Cause, blame: Blame, helps: str) -> None:
    it = only(session(held_back=Wait(cause, "so it is"), failure=FAILED, since=7.0))
    shown_ = (it.type, it.blame, it.reason, it.message, it.since)
    assert shown_ == ("start", blame, str(cause), "so it is", 7.0)
    assert helps in it.remedy


def test_a_start_says_why_it_is_necessary_or_that_it_is_under_way() -> None:
    it = only(session(failure=FAILED, since=7.0, worker=worker(Stage.STARTING)))
    assert (it.blame, it.reason, it.message) == (Blame.SESSION, "browser_gone", "Chromium died")
    assert (it.since, it.remedy) == (7.0, NOTHING)
    it = only(session(since=7.0, worker=worker(Stage.STARTING)))
    assert (it.blame, it.reason, it.since) == (Blame.OPERATOR, "starting", 10.0)
    assert it.message == f"the worker is starting: {RESTORED}"
    it = only(session(asked=True, worker=worker(Stage.STARTING)))
    assert it.message == f"the worker is starting: {REQUESTED}"
    assert only(session(since=7.0)).since == 7.0


@pytest.mark.parametrize(
    ("its", "blame", "helps"),
    [
        (Link.QR_PENDING, Blame.OPERATOR, "waguard qr s"),
        (Link.LOGGED_OUT, Blame.OPERATOR, "waguard qr s"),
        (Link.OFFLINE, Blame.NETWORK, "reconnects by itself"),
        (Link.SYNCING, Blame.WHATSAPP, "ends by itself"),
        (Link.PAIRING, Blame.WHATSAPP, "ends by itself"),
        (Link.UNKNOWN, Blame.SESSION, "tries it again"),
        (Link.CONFLICT, Blame.OPERATOR, "Close WhatsApp Web"),
        (Link.BLOCKED, Blame.WHATSAPP, "phone"),
        (Link.NEEDS_UPDATE, Blame.WHATSAPP, "Update waguard"),
        (Link.PASSKEY_REQUIRED, Blame.OPERATOR, "Whoever has the account's passkey"),
    ],
)
def test_who_is_to_blame_for_a_link_and_what_helps(its: Link, blame: Blame, helps: str) -> None:
    it = only(session(worker=worker(link=its, link_since=7.0)))
    assert (it.type, it.blame, it.reason, it.since) == ("link", blame, str(its), 7.0)
    assert helps in it.remedy
    refused = only(session(worker=worker(link=its, refused=True)))
    assert refused.blame is Blame.WHATSAPP
    explained = worker(link=its, details="its own words")
    assert only(session(worker=explained)).message == "its own words"


def test_a_captive_portal_has_a_remedy_of_its_own() -> None:
    at_login = worker(link=Link.OFFLINE, details=f"{PORTAL}: Hotel login")
    it = only(session(worker=at_login))
    assert (it.blame, it.message) == (Blame.NETWORK, f"{PORTAL}: Hotel login")
    assert "captive portal" in it.remedy
    assert "wa-js" not in it.remedy


def test_the_network_explains_an_offline_link_alone() -> None:
    away = FleetView(network_down="WhatsApp cannot be reached")
    offline = worker(link=Link.OFFLINE, details="its own words")
    assert only(session(worker=offline, fleet=away)).message == "WhatsApp cannot be reached"
    assert only(session(worker=worker(link=Link.OFFLINE))).message == (
        "the phone or the network is away"
    )
    syncing = worker(link=Link.SYNCING, details="its own words")
    assert only(session(worker=syncing, fleet=away)).message == "its own words"


def test_a_layer_is_unresponsive_since_it_was_last_heard() -> None:
    its: dict[str, Any] = {
        "link": Link.CONNECTED,
        "unresponsive": "the page does not answer",
        "heard_at": 9.0,
    }
    it = only(session(worker=worker(**its, page_at=4.0)))
    assert (it.type, it.blame, it.reason, it.since) == ("page", Blame.SESSION, "unresponsive", 4.0)
    assert it.message == "the page does not answer"
    explained = worker(**its, evidence="its script waits")
    assert only(session(worker=explained)).message == "the page does not answer: its script waits"


def test_what_was_found_comes_last_and_may_say_when_it_ends() -> None:
    found = {Kind.MEMORY_IN_VAIN: Found("it needs more", 3.0, None, 500.0)}
    state = session(worker=worker(link=Link.OFFLINE), care=Care(found=found))
    link_, memory = conditions(state)
    assert (link_.type, link_.until) == ("link", None)
    assert (memory.type, memory.reason) == (Kind.MEMORY_IN_VAIN, Kind.MEMORY_IN_VAIN)
    assert (memory.blame, memory.message, memory.since) == (Blame.HOST, "it needs more", 3.0)
    assert (memory.until, memory.remedy) == (500.0, remedies.PAGE[Kind.MEMORY_IN_VAIN])


def test_people_read_unix_time() -> None:
    care = Care(found={Kind.FIRST_CONTACTS_PAUSED: Found("paused", 3.0, None, 1_500.0)})
    plain, limited = conditions(session(worker=worker(link=Link.OFFLINE), care=care))
    plain, limited = shown([plain, limited], monotonic=13.0, wall=1_000.0)
    assert (plain.since, plain.expires_in) == (997.0, None)
    assert (limited.since, limited.expires_in) == (990.0, 500.0)
    (over,) = shown([limited], monotonic=13.0, wall=2_000.0)
    assert over.expires_in == 0.0


def test_a_full_disk_is_the_hosts_and_says_where_to_make_room() -> None:
    full = Failure(Blame.HOST, "disk_full", "the disk of its profile is full")
    it = only(session(failure=full))
    assert (it.type, it.blame, it.reason) == ("start", Blame.HOST, "disk_full")
    assert it.remedy.startswith("Free space on the disk of `paths.sessions`")
    assert only(session(failure=FAILED)).remedy == NOTHING
