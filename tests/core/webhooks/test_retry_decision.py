"""What follows from the answer to one attempt, and whose fault a refusal is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.replace import replace
from waguard.core.webhooks.delivery import Answer, Cause
from waguard.core.webhooks.receiver import Receiver, Success, advice_on
from waguard.core.webhooks.retry_decision import (
    RELAPSE_PAUSE,
    RIGHT_AFTER,
    Dead,
    Decision,
    Delivered,
    Head,
    LookupAgain,
    Retry,
    Tried,
    counted,
    decide,
)
from waguard.core.webhooks.retry_policy import DeliveryPolicy

KEY, OTHER = ("a", "1@c.us"), ("b", "2@c.us")
POLICY = DeliveryPolicy(
    give_up_after=7_200.0, base_delay=1.0, max_delay=10.0, longest_retry_after=100.0
)
ALONE = Receiver(refused=(KEY,))
SERVED = Receiver(refused=(KEY,), worked=(Success(OTHER, 5.0),), stored=(Success(OTHER, 5.0),))
ALIKE = Receiver(refused=(KEY, OTHER), worked=(Success(OTHER, 5.0),))


def tried(refusals: int = 1, attempt: int = 1, **more: Any) -> Tried:
    known: dict[str, Any] = {"at": 90.0, "since": 1.0, "expired": False, "long": False}
    head = more.pop("head", Head(refusals=refusals, spell=0, refused_since=2.0))
    return Tried(key=KEY, head=head, attempt=attempt, **(known | more))


def decided(
    answer: Answer, receiver: Receiver = ALONE, jitter: float = 0.5, **how: Any
) -> Decision:
    return decide(POLICY, receiver, tried(**how), answer, jitter=jitter)


def status(code: int | None, **more: Any) -> Answer:
    return Answer(status=code, **more)


OWN = Head(refusals=9, spell=0, by_itself=Cause.UNSTORED, own_refusals=5)
UNSTORED = status(200, stored=False, content="a chat of 9 characters, 90 bytes in all")
STORY: list[tuple[str, Answer, dict[str, Any], Decision]] = [
    ("taken", status(200), {}, Delivered()),
    ("taken without a body", status(204), {}, Delivered()),
    ("taken and seen", status(200, stored=True), {}, Delivered()),
    ("taken at last", status(200), {"attempt": 500, "expired": True}, Delivered()),
    ("no reply, and it is there", Answer(stored=True), {}, Delivered()),
    (
        "an error, and it is there",
        status(500, stored=True),
        {},
        Delivered("stored, the receiver answered 500: check its file, if it has one"),
    ),
    ("no reply: it may still work", Answer(stored=False), {}, LookupAgain()),
    ("no connection: it does not", Answer(stored=False, reached=False), {}, Retry(0.5)),
    ("no reply, nothing is looked up", Answer(), {}, Retry(0.5)),
    ("a bug of ours", Answer(bug=True), {"attempt": 3, "receiver": ALIKE}, Retry(2.0, asked=True)),
    (
        "a bug of ours for an hour while others are served",
        Answer(bug=True),
        {"receiver": SERVED, "long": True},
        Dead("no answer; tried for 60 min", Cause.EXPIRED),
    ),
    ("a bug of ours, and it may still work", Answer(bug=True, stored=False), {}, LookupAgain()),
    ("the second pause is longer", Answer(), {"attempt": 2, "refusals": 2}, Retry(30.0)),
    ("the third again", status(500), {"attempt": 3, "refusals": 3}, Retry(60.0)),
    (
        "little jitter lengthens no pause",
        status(500),
        {"attempt": 9, "refusals": 2, "jitter": 0.1},
        Retry(30.0),
    ),
    ("attempts of an outage lengthen it a little", status(500), {"attempt": 80}, Retry(5.0)),
    (
        "a bug of ours after many attempts",
        Answer(bug=True),
        {"attempt": 80},
        Retry(1_800.0, asked=True),
    ),
    ("the third time for its own sake", status(422), {"attempt": 3}, Retry(2.0)),
    ("jitter may be nothing", status(502), {"jitter": 0.0}, Retry(0.0)),
    ("it says when", status(503, retry_after=7.0), {}, Retry(7.0, asked=True)),
    ("a moment's wish", status(503, retry_after=0.5), {}, Retry(0.5, asked=True)),
    ("a wish for the past", status(503, retry_after=-0.5), {}, Retry(0.0, asked=True)),
    ("too long a wish", status(503, retry_after=1e9), {}, Retry(100.0, asked=True)),
    ("nobody may call for a minute", status(429), {}, Retry(65.0, everyone=True, asked=True)),
    (
        "too many, and it says when",
        status(429, retry_after=3.0),
        {},
        Retry(3.0, everyone=True, asked=True),
    ),
    ("not to be called", Answer(refused=True, error="refused"), {}, Dead("refused")),
    ("not stored", UNSTORED, {}, Retry(15.0)),
    ("not stored again", UNSTORED, {"refusals": 4}, Retry(360.0)),
    (
        "given up",
        status(500),
        {"expired": True, "attempt": 5},
        Dead(
            "not accepted within 2 h, 5 attempts, the last: the receiver answered 500",
            Cause.EXPIRED,
        ),
    ),
    (
        "the only chat",
        status(404),
        {"long": True},
        Dead("the receiver answered 404; tried for 60 min", Cause.EXPIRED),
    ),
    (
        "all are refused for an hour",
        status(404),
        {"receiver": Receiver(refused=(KEY, OTHER)), "long": True},
        Retry(0.5),
    ),
    (
        "not stored four times, for long, others are",
        UNSTORED,
        {"receiver": SERVED, "refusals": 4, "at": 9_000.0},
        Retry(360.0),
    ),
    ("the only chat, and nobody there", Answer(), {"long": True}, Retry(0.5)),
    (
        "two refusals, others are served",
        status(422),
        {"receiver": SERVED, "refusals": 2},
        Retry(0.5),
    ),
    (
        "three that may pass, others were served between two of them only",
        status(302),
        {"receiver": SERVED, "head": Head(refusals=3, spell=0, refused_since=2.0, separate=2)},
        Retry(60.0),
    ),
    (
        "three, and others were served between each two",
        status(302, location="/install"),
        {"receiver": SERVED, "head": Head(refusals=3, spell=0, refused_since=2.0, separate=3)},
        Dead(
            "the receiver answered 302, a redirect to /install; other chats were served meanwhile"
        ),
    ),
    (
        "three that do not pass",
        status(422),
        {"receiver": SERVED, "refusals": 3},
        Dead("the receiver answered 422; other chats were served meanwhile"),
    ),
    (
        "four times right after others were served",
        status(422),
        {"receiver": ALIKE, "head": Head(refusals=1, spell=0, relapses=4)},
        Retry(0.5),
    ),
    (
        "no connection, whatever others do",
        Answer(reached=False),
        {"receiver": SERVED, "refusals": 9},
        Retry(60.0),
    ),
    (
        "no answer for an hour while others are served",
        Answer(),
        {"receiver": SERVED, "long": True},
        Dead("no answer; tried for 60 min", Cause.EXPIRED),
    ),
    ("three, and others are refused", status(422), {"receiver": ALIKE, "refusals": 3}, Retry(0.5)),
    (
        "right after others were served",
        status(422),
        {"receiver": ALIKE, "head": Head(refusals=1, spell=0, relapses=5)},
        Dead("the receiver answered 422; other chats were served meanwhile"),
    ),
    (
        "five times not stored for its own sake, after an outage",
        UNSTORED,
        {"at": 700.0, "head": replace(OWN, own_since=90.0)},
        Retry(360.0),
    ),
    (
        "five times not stored for its own sake, for long",
        UNSTORED,
        {"at": 700.0, "head": replace(OWN, own_since=85.0)},
        Dead(
            "accepted, not stored: a chat of 9 characters, 90 bytes in all;"
            " other chats were served meanwhile",
            Cause.UNSTORED,
        ),
    ),
    (
        "five times not stored",
        UNSTORED,
        {"receiver": SERVED, "refusals": 5, "at": 700.0},
        Dead(
            "accepted, not stored: a chat of 9 characters, 90 bytes in all;"
            " other chats were served meanwhile",
            Cause.UNSTORED,
        ),
    ),
]


@pytest.mark.parametrize(
    ("answer", "how", "wanted"), [case[1:] for case in STORY], ids=[case[0] for case in STORY]
)
def test_each_answer_leads_to_its_decision(
    answer: Answer, how: dict[str, Any], wanted: Decision
) -> None:
    assert decided(answer, **how) == wanted


@pytest.mark.parametrize("code", [400, 402, 406, 407, 410, 422, 499])
def test_what_concerns_the_request_is_refused_for_its_own_sake(code: int) -> None:
    head = Head(refusals=3, spell=0, refused_since=2.0, separate=1)
    assert isinstance(decided(status(code), SERVED, head=head), Dead)


@pytest.mark.parametrize("code", [304, 399, 401, 403, 404, 405, 408, 425, 500])
def test_what_may_pass_needs_successes_of_others_in_between(code: int) -> None:
    head = Head(refusals=3, spell=0, refused_since=2.0, separate=2)
    assert isinstance(decided(status(code), SERVED, head=head), Retry)


@pytest.mark.parametrize(
    ("after", "relapsed_at", "relapses"),
    [
        (RIGHT_AFTER, None, 1),
        (RIGHT_AFTER + 0.1, None, 0),
        (1.0, -RELAPSE_PAUSE, 2),
        (1.0, -RELAPSE_PAUSE + 0.1, 1),
    ],
    ids=["right after", "later", "again after the pause", "within the pause"],
)
def test_a_relapse_is_a_refusal_right_after_others_were_served(
    after: float, relapsed_at: float | None, relapses: int
) -> None:
    now = 1_000.0
    before = Head() if relapsed_at is None else Head(relapses=1, relapsed_at=now + relapsed_at)
    receiver = Receiver(refused=(KEY,), worked=(Success(OTHER, now - after),))
    assert counted(POLICY, receiver, before, KEY, status(500), at=now).relapses == relapses


def test_a_success_before_it_was_refused_says_nothing() -> None:
    early = Receiver(refused=(KEY,), worked=(Success(OTHER, 1.0),))
    assert isinstance(decided(status(422), early, refusals=9), Retry)
    own = Receiver(refused=(KEY,), worked=(Success(KEY, 5.0),))
    assert isinstance(decided(status(422), own, refusals=9), Retry)


def test_stored_is_what_counts_where_it_was_accepted() -> None:
    worked = Receiver(refused=(KEY,), worked=(Success(OTHER, 5.0),))
    assert isinstance(decided(UNSTORED, worked, refusals=9), Retry)


def test_refusals_are_counted_from_the_receivers_last_spell() -> None:
    head = counted(POLICY, SERVED, Head(), KEY, status(500), at=7.0)
    assert (head.refusals, head.refused_since, head.relapses) == (1, 7.0, 1)
    again = counted(POLICY, SERVED, head, KEY, status(500), at=8.0)
    assert (again.refusals, again.relapses) == (2, 1), "a moment later it counts once"
    later = Receiver(spells=1, worked=(Success(OTHER, 5.0),), refused_count=1)
    fresh = counted(POLICY, later, again, KEY, status(500), at=20.0)
    assert (fresh.refusals, fresh.refused_since, fresh.relapses) == (1, 20.0, 1)
    assert (fresh.separate, fresh.separate_at) == (1, 20.0)


def test_refusals_for_its_own_sake_are_counted_in_a_row_of_one_kind() -> None:
    head, seen = Head(), []
    for at, answer in enumerate((status(422), status(422), UNSTORED, status(500), status(422))):
        head = counted(POLICY, ALONE, head, KEY, answer, at=float(at))
        seen.append((head.own_refusals, head.own_since))
    assert seen == [(1, 0.0), (2, 0.0), (1, 2.0), (0, 2.0), (1, 4.0)]


def test_a_message_is_compared_with_what_was_served_since_its_first_refusal() -> None:
    head = Head()
    for served in (3, 5):
        receiver = Receiver(served=served, refused_count=2)
        head = counted(POLICY, receiver, head, KEY, status(422), at=7.0)
        assert (head.served_before, head.refused_before) == (3, 3)


@pytest.mark.parametrize(("code", "refusals"), [(422, 5), (500, 1)])
def test_a_spell_of_the_receivers_excuses_no_message_that_is_refused_for_its_own_sake(
    code: int, refusals: int
) -> None:
    head = Head(refusals=4, spell=0, refused_since=7.0, by_itself=Cause.REFUSED)
    later = Receiver(spells=1)
    assert counted(POLICY, later, head, KEY, status(code), at=20.0).refusals == refusals


@pytest.mark.parametrize(
    ("served", "at", "separate"),
    [(7.0, 67.0, 2), (66.0, 67.0, 2), (6.9, 1_000.0, 1), (60.0, 66.9, 1)],
    ids=["at once", "just now", "before only", "within a minute"],
)
def test_refusals_are_separate_where_others_were_served_between_them(
    served: float, at: float, separate: int
) -> None:
    head = counted(POLICY, ALONE, Head(), KEY, status(500), at=7.0)
    others = Receiver(refused=(KEY,), worked=(Success(OTHER, served),))
    again = counted(POLICY, others, head, KEY, status(500), at=at)
    assert (again.refusals, again.separate) == (2, separate)
    assert again.separate_at == (at if separate == 2 else 7.0)


@given(
    attempt=st.integers(1, 10_000),
    expired=st.booleans(),
    code=st.none() | st.integers(100, 599),
    retry_after=st.none() | st.floats(-10, 1e12),
    stored=st.none() | st.booleans(),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_a_webhook_always_ends_and_never_waits_too_long(
    *,
    attempt: int,
    expired: bool,
    code: int | None,
    retry_after: float | None,
    stored: bool | None,
    jitter: float,
) -> None:
    policy = DeliveryPolicy()
    answer = Answer(status=code, retry_after=retry_after, stored=stored)
    this = tried(attempt=attempt, expired=expired)
    decision = decide(policy, ALONE, this, answer, jitter=jitter)
    accepted = code is not None and 200 <= code < 300
    if isinstance(decision, Retry):
        assert not expired
        longest = policy.unstored_pauses[-1] if accepted else policy.circuit.max_pause
        if retry_after is not None or code == 429:
            longest = policy.longest_retry_after
        assert 0 <= decision.delay <= longest
    assert isinstance(decision, Delivered) == (stored is True or (accepted and stored is None))


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (status(302), "installed"),
        (status(401), "secret"),
        (status(404), "route"),
        (status(500), "log"),
        (UNSTORED, "stores nothing"),
    ],
    ids=["302", "401", "404", "500", "unstored"],
)
def test_what_a_receiver_is_in_need_of(answer: Answer, word: str) -> None:
    assert word in advice_on(answer)
    assert advice_on(Answer()) == ""


def test_another_kind_of_refusal_is_compared_from_its_own_beginning() -> None:
    receiver = Receiver(served=100, stored_count=7, refused_count=3)
    head = counted(POLICY, receiver, Head(spell=0), KEY, UNSTORED, at=90.0)
    assert (head.served_before, head.refused_before, head.by_itself) == (7, 3, None)


def test_an_error_of_the_receivers_is_never_for_the_sake_of_the_message() -> None:
    receiver = Receiver(served=100)
    assert counted(POLICY, receiver, Head(spell=0), KEY, status(500), at=90.0).by_itself is None
    head = counted(POLICY, receiver, Head(spell=0), KEY, status(422), at=90.0)
    assert head.by_itself is Cause.REFUSED


def test_what_an_earlier_daemon_knew_begins_a_count_of_this_ones() -> None:
    known = Head(by_itself=Cause.UNSTORED, refusals=4)
    head = counted(POLICY, Receiver(spells=2), known, KEY, UNSTORED, at=90.0)
    assert (head.spell, head.refusals, head.refused_since) == (2, 1, 90.0)
