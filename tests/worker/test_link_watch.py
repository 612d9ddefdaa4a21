"""From readings of the page to what the daemon is told."""

import time
from collections.abc import Callable

import pytest

from waguard.core.link import Link, PageFacts
from waguard.core.passkey_link import (
    OPTIONS_LIFETIME,
    PasskeyEvent,
    PasskeyStage,
    PasskeyStep,
)
from waguard.core.replace import replace
from waguard.core.whatsapp_words import in_words
from waguard.worker.page.link_watch import OPENS_WITHIN, QR_FIRST_LIFETIME, QR_LIFETIME, LinkWatch
from waguard.worker.page.page_answers import Reading

NOW = 1_732_233_600.0
ME = "4915112345678@c.us"
CONNECTED = PageFacts(authenticated=True, mode="MAIN", info="NORMAL", socket="CONNECTED")
OPENING = PageFacts(authenticated=True, mode="OFFLINE", info="OPENING", socket="OPENING")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.fixture
def watch() -> LinkWatch:
    return LinkWatch()


def on_screen(code: str | None) -> Reading:
    facts = PageFacts(authenticated=False, mode="QR", socket="UNPAIRED", has_code=code is not None)
    return Reading(facts=facts, code=code, me=None)


def linked(facts: PageFacts = CONNECTED, me: str | None = ME) -> Reading:
    return Reading(facts=facts, code=None, me=me)


def test_nothing_is_known_at_first(watch: LinkWatch) -> None:
    assert (watch.link, watch.phone, watch.qr, watch.qr_idle) == (Link.UNKNOWN, None, None, False)


def test_connected_with_its_number(watch: LinkWatch) -> None:
    watch.apply(linked())
    assert (watch.link, watch.phone, watch.details) == (Link.CONNECTED, "4915112345678", None)
    assert not watch.paired_here


@pytest.mark.parametrize(
    ("me", "phone"),
    [
        ("4915112345678:12@c.us", "4915112345678"),
        ("129038471029384@lid", None),  # no phone number at all
        (None, None),
    ],
)
def test_only_a_phone_number_is_one(watch: LinkWatch, me: str | None, phone: str | None) -> None:
    watch.apply(linked(me=me))
    assert watch.phone == phone


def test_a_number_once_known_stays_while_it_is_linked(watch: LinkWatch) -> None:
    watch.apply(linked())
    watch.apply(linked(PageFacts(authenticated=True, mode="OFFLINE", socket="TIMEOUT"), me=None))
    assert (watch.link, watch.phone) == (Link.OFFLINE, "4915112345678")


def test_codes_are_counted_and_the_first_lives_longer(watch: LinkWatch) -> None:
    reported = []
    for code in ("a", "a", "b", "c"):
        watch.apply(on_screen(code))
        assert watch.qr
        reported.append((watch.qr.raw, watch.qr.count, watch.qr.expires_at - NOW))
    assert reported == [
        ("a", 1, QR_FIRST_LIFETIME),
        ("a", 1, QR_FIRST_LIFETIME),
        ("b", 2, QR_LIFETIME),
        ("c", 3, QR_LIFETIME),
    ]
    assert watch.link is Link.QR_PENDING


def test_a_moment_without_a_code_does_not_begin_the_count_again(watch: LinkWatch) -> None:
    for code in ("a", None, "b"):
        watch.apply(on_screen(code))
    assert watch.qr
    assert (watch.qr.raw, watch.qr.count) == ("b", 2)
    assert watch.qr.expires_at - NOW == QR_LIFETIME


def test_whatsapp_shows_no_more_codes(watch: LinkWatch) -> None:
    watch.apply(on_screen("a"))
    watch.idle()
    watch.apply(on_screen("a"))  # it still stands behind the button
    assert (watch.qr, watch.qr_idle) == (None, True)
    watch.refreshed()
    watch.apply(on_screen("b"))
    assert watch.qr
    assert (watch.qr.raw, watch.qr.count, watch.qr_idle) == ("b", 1, False)
    assert watch.qr.expires_at - NOW == QR_FIRST_LIFETIME


def test_idle_is_over_when_it_is_linked(watch: LinkWatch) -> None:
    watch.apply(on_screen("a"))
    watch.idle()
    watch.apply(linked())
    assert (watch.qr, watch.qr_idle) == (None, False)


def test_who_scans_here_has_new_credentials(watch: LinkWatch) -> None:
    watch.apply(on_screen("a"))
    assert watch.paired_here
    watch.apply(linked(PageFacts(authenticated=True, mode="SYNCING")))
    assert (watch.link, watch.qr, watch.paired_here) == (Link.SYNCING, None, True)
    watch.apply(linked())
    assert watch.paired_here


def test_an_unlinked_session_forgets_its_number(watch: LinkWatch) -> None:
    watch.apply(linked())
    watch.apply(on_screen(None))
    assert (watch.link, watch.phone) == (Link.QR_PENDING, None)


@pytest.mark.parametrize("word", ["TOS_BLOCK", "SMB_TOS_BLOCK", "PROXYBLOCK", "DEPRECATED_VERSION"])
def test_blocked_says_whatsapps_word(watch: LinkWatch, word: str) -> None:
    watch.apply(linked(PageFacts(authenticated=True, mode=word, socket="OPENING")))
    link = Link.NEEDS_UPDATE if word == "DEPRECATED_VERSION" else Link.BLOCKED
    assert (watch.link, watch.details) == (link, in_words(word))
    assert str(watch.details).endswith(f" ({word})"), "and what it means"
    watch.apply(linked())
    assert (watch.link, watch.details) == (Link.CONNECTED, None)


def test_a_newer_version_is_no_block(watch: LinkWatch) -> None:
    watch.apply(linked(replace(CONNECTED, update_offered=True)))
    assert (watch.link, watch.details, watch.update_offered) == (Link.CONNECTED, None, True)
    watch.apply(linked())
    assert not watch.update_offered


OFFERED = PasskeyStep(event=PasskeyEvent.OFFERED)
AFTER_THE_SCAN = PageFacts(authenticated=False, mode="QR", info="PAIRING", socket="PAIRING")


def test_a_linking_that_waits_for_a_passkey(watch: LinkWatch) -> None:
    watch.apply(on_screen("a"))
    watch.passkey_step(OFFERED)
    for facts in (AFTER_THE_SCAN, PageFacts(), on_screen("b").facts):
        watch.apply(Reading(facts=facts, code="b" if facts.has_code else None, me=None))
        assert (watch.link, watch.qr) == (Link.PASSKEY_REQUIRED, None)
        assert watch.passkey
        assert watch.passkey.until == NOW + OPTIONS_LIFETIME
    watch.idle()  # that nobody scans is no wonder now
    assert not watch.qr_idle
    watch.apply(linked(PageFacts(authenticated=True, mode="SYNCING", socket="CONNECTED")))
    assert (watch.link, watch.passkey, watch.paired_here) == (Link.SYNCING, None, True)


def test_a_passkey_that_is_asked_for_again_has_no_more_time(
    watch: LinkWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.passkey_step(OFFERED)
    monkeypatch.setattr(time, "time", lambda: NOW + 60)
    watch.passkey_step(OFFERED)
    assert watch.passkey
    assert watch.passkey.until == NOW + OPTIONS_LIFETIME


def test_when_the_passkeys_time_is_up_only_a_code_ends_it(
    watch: LinkWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.passkey_step(OFFERED)
    monkeypatch.setattr(time, "time", lambda: NOW + OPTIONS_LIFETIME + 1)
    watch.apply(Reading(facts=AFTER_THE_SCAN, code=None, me=None))
    assert watch.link is Link.PASSKEY_REQUIRED
    watch.apply(on_screen("c"))
    assert (watch.link, watch.passkey) == (Link.QR_PENDING, None)
    assert watch.qr


def test_a_prompt_on_the_screen_is_seen_without_any_event_and_so_is_its_end(
    watch: LinkWatch,
) -> None:
    watch.apply(Reading(facts=AFTER_THE_SCAN, code=None, me=None, passkey=OFFERED))
    assert watch.link is Link.PASSKEY_REQUIRED
    watch.apply(on_screen("c"))
    assert (watch.link, watch.passkey) == (Link.QR_PENDING, None)


def test_a_stage_without_an_answer_fails_when_its_time_is_up(
    watch: LinkWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.passkey_step(PasskeyStep(event=PasskeyEvent.SENT))
    monkeypatch.setattr(time, "time", lambda: NOW + 121)
    watch.apply(Reading(facts=AFTER_THE_SCAN, code=None, me=None))
    assert watch.passkey
    assert (watch.passkey.stage, watch.passkey.error) == (PasskeyStage.FAILED, "timeout")


@pytest.mark.parametrize("over", ["page_loads", "passkey_over"])
def test_another_load_or_another_code_ends_a_linking(watch: LinkWatch, over: str) -> None:
    watch.passkey_step(OFFERED)
    getattr(watch, over)()
    assert watch.passkey is None


@pytest.mark.parametrize("word", ["TOS_BLOCK", "CONFLICT"])
def test_a_block_goes_before_a_passkey(watch: LinkWatch, word: str) -> None:
    watch.passkey_step(OFFERED)
    watch.apply(linked(PageFacts(authenticated=True, mode=word, socket=word)))
    assert watch.link is not Link.PASSKEY_REQUIRED


def test_a_page_that_says_nothing(watch: LinkWatch) -> None:
    watch.apply(linked())
    watch.apply(Reading(facts=PageFacts(), code=None, me=None))
    assert watch.link is Link.UNKNOWN


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """What is monotonic stands at so many seconds."""

    def stands(seconds: float) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: seconds)

    stands(0.0)
    return stands


def read(watch: LinkWatch, facts: PageFacts) -> Link:
    watch.apply(linked(facts))
    return watch.link


@pytest.mark.parametrize("meanwhile", [Link.UNKNOWN, Link.SYNCING])
def test_a_page_that_is_loaded_again_is_not_offline_before_it_could_connect(
    watch: LinkWatch, later: Callable[[float], None], meanwhile: Link
) -> None:
    if meanwhile is Link.SYNCING:  # after its pairing
        watch.apply(on_screen("a"))
        watch.apply(linked())
        watch.credentials_saved()
    else:
        watch.apply(linked())
    watch.page_loads()
    watch.page_loads()  # asked for, and then done
    assert read(watch, OPENING) is meanwhile
    later(OPENS_WITHIN)
    assert read(watch, OPENING) is Link.OFFLINE


def test_who_cannot_connect_after_a_load_is_offline_at_once(
    watch: LinkWatch, later: Callable[[float], None]
) -> None:
    watch.apply(linked())
    watch.page_loads()
    assert read(watch, replace(OPENING, socket="TIMEOUT")) is Link.OFFLINE


def test_who_connected_after_a_load_and_then_not_is_offline_at_once(
    watch: LinkWatch, later: Callable[[float], None]
) -> None:
    watch.apply(linked())
    watch.page_loads()
    watch.apply(linked())
    assert read(watch, OPENING) is Link.OFFLINE


def test_who_was_offline_before_a_load_stays_so(
    watch: LinkWatch, later: Callable[[float], None]
) -> None:
    watch.apply(linked())
    watch.apply(linked(OPENING))
    watch.page_loads()
    assert read(watch, OPENING) is Link.OFFLINE
