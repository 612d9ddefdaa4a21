import itertools
from typing import Final

import pytest

from waguard.core.link import BLOCKED_WORDS, TOO_OLD, Link, PageFacts, blocked_because, link_of
from waguard.core.whatsapp_words import in_words

# every word that WhatsApp Web knows, and none at all
MODES: Final = (None, "QR", "MAIN", "SYNCING", "OFFLINE", "CONFLICT", *sorted(BLOCKED_WORDS))
INFOS: Final = (
    *(None, "OFFLINE", "OPENING", "PAIRING", "SYNCING", "RESUMING", "CONNECTING", "NORMAL"),
)
SOCKETS: Final = (
    *(None, "OPENING", "PAIRING", "UNPAIRED", "UNPAIRED_IDLE", "CONNECTED", "TIMEOUT"),
    *("CONFLICT", "UNLAUNCHED", *sorted(BLOCKED_WORDS)),
)
EVERY_READING: Final = [
    PageFacts(authenticated=authenticated, mode=mode, info=info, socket=socket, has_code=code)
    for authenticated, mode, info, socket, code in itertools.product(
        (None, False, True), MODES, INFOS, SOCKETS, (False, True)
    )
]


IN, OUT, SILENT = True, False, None  # whether wa-js says that the account is linked


def facts(
    authenticated: bool | None,  # noqa: FBT001  # a column of the table
    mode: str | None,
    info: str | None,
    socket: str | None,
    code: str = "no code",
) -> PageFacts:
    return PageFacts(
        authenticated=authenticated, mode=mode, info=info, socket=socket, has_code=code == "code"
    )


STORY: Final = {
    "the page loads": (facts(SILENT, None, None, None), Link.UNKNOWN),
    "it has a stream, but no word on the account": (
        facts(SILENT, "QR", "OPENING", "OPENING"),
        Link.UNKNOWN,
    ),
    "a code is on the screen": (facts(OUT, "QR", "NORMAL", "UNPAIRED", "code"), Link.QR_PENDING),
    "the codes ran out": (facts(OUT, "QR", "NORMAL", "UNPAIRED_IDLE"), Link.QR_PENDING),
    "a code is shown before the stream says so": (
        facts(OUT, None, None, None, "code"),
        Link.QR_PENDING,
    ),
    "the phone scanned": (facts(OUT, "QR", "PAIRING", "PAIRING"), Link.PAIRING),
    "a pairing code is waited for while the QR code stays": (
        facts(OUT, "QR", "PAIRING", "UNPAIRED", "code"),
        Link.QR_PENDING,
    ),
    "the phone agreed, the stream has not moved": (
        facts(IN, "QR", "PAIRING", "PAIRING"),
        Link.PAIRING,
    ),
    "chats come in": (facts(IN, "SYNCING", "SYNCING", "CONNECTED"), Link.SYNCING),
    "chats still come in": (facts(IN, "MAIN", "SYNCING", "OPENING"), Link.SYNCING),
    "connected": (facts(IN, "MAIN", "NORMAL", "CONNECTED"), Link.CONNECTED),
    "connected and resuming": (facts(IN, "MAIN", "RESUMING", "CONNECTED"), Link.CONNECTED),
    "the cable is out": (facts(IN, "MAIN", "OFFLINE", "TIMEOUT"), Link.OFFLINE),
    "the stream says offline": (facts(IN, "OFFLINE", "OFFLINE", "CONNECTED"), Link.OFFLINE),
    "it connects again": (facts(IN, "MAIN", "CONNECTING", "OPENING"), Link.OFFLINE),
    "wa-js cannot read the stream": (facts(IN, None, None, "CONNECTED"), Link.UNKNOWN),
    "wa-js cannot read the socket": (facts(IN, "MAIN", "NORMAL", None), Link.UNKNOWN),
    "opened elsewhere, says the socket": (facts(IN, "MAIN", "NORMAL", "CONFLICT"), Link.CONFLICT),
    "opened elsewhere, says the stream": (
        facts(SILENT, "CONFLICT", "NORMAL", "CONNECTED"),
        Link.CONFLICT,
    ),
    "banned": (facts(IN, "TOS_BLOCK", "NORMAL", "CONNECTED"), Link.BLOCKED),
    "banned and opened elsewhere": (
        facts(IN, "CONFLICT", "NORMAL", "SMB_TOS_BLOCK"),
        Link.BLOCKED,
    ),
    "too old, even before the login": (
        facts(OUT, "QR", "NORMAL", "DEPRECATED_VERSION", "code"),
        Link.NEEDS_UPDATE,
    ),
    "the network is not allowed": (facts(SILENT, "PROXYBLOCK", None, None), Link.BLOCKED),
    "unlinked on the phone": (facts(OUT, "QR", "OPENING", "UNPAIRED"), Link.QR_PENDING),
    "logged out and offline": (facts(OUT, "OFFLINE", "OFFLINE", "TIMEOUT"), Link.UNKNOWN),
}


@pytest.mark.parametrize(("reading", "link"), STORY.values(), ids=STORY.keys())
def test_what_a_reading_means(reading: PageFacts, link: Link) -> None:
    assert link_of(reading) is link


def test_connected_takes_all_three_words() -> None:
    """wa-js's own flags are true on the QR screen too: nothing less than this is a connection."""
    connected = [reading for reading in EVERY_READING if link_of(reading) is Link.CONNECTED]
    assert {(r.authenticated, r.mode, r.socket) for r in connected} == {(True, "MAIN", "CONNECTED")}
    assert len(connected) == len(INFOS) * 2


def test_no_word_on_the_account_is_unknown_and_never_a_link() -> None:
    links = {link_of(reading) for reading in EVERY_READING if reading.authenticated is None}
    assert links == {Link.UNKNOWN, Link.CONFLICT, Link.BLOCKED, Link.NEEDS_UPDATE}


def test_without_an_account_there_is_no_connection_and_with_one_no_code() -> None:
    without = {link_of(r) for r in EVERY_READING if r.authenticated is False}
    assert without == {
        *(
            Link.UNKNOWN,
            Link.QR_PENDING,
            Link.PAIRING,
            Link.CONFLICT,
            Link.BLOCKED,
            Link.NEEDS_UPDATE,
        ),
    }
    linked = {link_of(r) for r in EVERY_READING if r.authenticated}
    assert Link.QR_PENDING not in linked
    assert {Link.CONNECTED, Link.SYNCING, Link.PAIRING, Link.OFFLINE} <= linked


@pytest.mark.parametrize("word", sorted(BLOCKED_WORDS))
def test_a_block_wins_whoever_says_it_and_is_named(word: str) -> None:
    saying = [reading for reading in EVERY_READING if word in {reading.mode, reading.socket}]
    link = Link.NEEDS_UPDATE if word == TOO_OLD else Link.BLOCKED
    assert {link_of(reading) for reading in saying} <= {link, Link.NEEDS_UPDATE}
    named = {in_words(known) for known in BLOCKED_WORDS}
    assert {blocked_because(reading) for reading in saying} <= named


def test_what_is_not_blocked_has_no_such_reason() -> None:
    for reading in EVERY_READING:
        assert (blocked_because(reading) is not None) == (
            link_of(reading) in {Link.BLOCKED, Link.NEEDS_UPDATE, Link.NEEDS_UPDATE}
        )


def test_a_logout_shows_a_new_code_and_is_not_a_link_of_its_own_here() -> None:
    assert Link.LOGGED_OUT not in {link_of(reading) for reading in EVERY_READING}


def test_words_that_nobody_knows_yet_are_no_connection() -> None:
    assert link_of(facts(IN, "NEW_MODE", "NEW", "NEW")) is Link.OFFLINE
    assert link_of(facts(OUT, "NEW_MODE", "NEW", "NEW")) is Link.UNKNOWN
