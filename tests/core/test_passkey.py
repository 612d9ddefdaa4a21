"""Answers of a passkey: which may reach the page, and what is said of all others."""

import base64
import copy
import json
from typing import Any, Final

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passkeys import AT, BE, BS, ED, UP, UV, Passkey, request
from waguard.core import passkey
from waguard.core.passkey import SENTENCES, Options, Wrong, WrongAnswerError, check, decode, encode

KEY: Final = Passkey()
ASKED: Final = request()
GOOD: Final = KEY.sign(ASKED)
UVM: Final = cbor2.dumps({"uvm": [[2, 4, 2]]})
LARGE: Final = encode(bytes(5_000))


def options(**others: Any) -> Options:
    found = passkey.options({**ASKED, **others})
    assert found
    return found


def wrong(answer: object, **others: Any) -> Wrong:
    """What is wrong with it; nothing of it is quoted."""
    with pytest.raises(WrongAnswerError) as refused:
        check(answer, options(**others))
    assert str(refused.value) == SENTENCES[refused.value.wrong]
    return refused.value.wrong


def with_(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


def responding(**fields: Any) -> dict[str, Any]:
    return with_(response={**GOOD["response"], **fields})


def without(name: str) -> dict[str, Any]:
    answer = copy.deepcopy(GOOD)
    (answer if name in answer else answer["response"]).pop(name)
    return answer


def signed(**how: Any) -> dict[str, Any]:
    return KEY.sign(ASKED, **how)


def test_what_an_authenticator_signs_is_passed_on_and_two_verifiers_accept_it() -> None:
    passed_on = check(GOOD, options()).to_json()
    assert passed_on == {**GOOD, "clientExtensionResults": {}}
    KEY.verify(passed_on, ASKED)


@pytest.mark.parametrize(
    "answer",
    [
        signed(flags=UP | UV | BE | BS),
        signed(flags=UP | UV | BE),
        signed(flags=UP | UV | ED, more=UVM),
        signed(other="what a browser adds to confuse readers"),
        with_(authenticatorAttachment="made up"),
        with_(authenticatorAttachment=[]),
        with_(clientExtensionResults="nothing that is passed on", more={"deep": []}),
        without("clientExtensionResults"),
        without("authenticatorAttachment"),
    ],
)
def test_what_differs_between_browsers_is_accepted(answer: dict[str, Any]) -> None:
    KEY.verify(check(answer, options()).to_json(), ASKED)


@pytest.mark.parametrize(
    "answer", [without("userHandle"), responding(userHandle=""), responding(userHandle=None)]
)
def test_an_authenticator_need_not_name_its_user(answer: dict[str, Any]) -> None:
    passed_on = check(answer, options()).to_json()
    assert passed_on["response"]["userHandle"] is None
    KEY.verify(passed_on, ASKED)


WRONG_ANSWERS: Final[dict[str, tuple[object, Wrong]]] = {
    "null": (None, Wrong.NOT_AN_OBJECT),
    "a list": ([GOOD], Wrong.NOT_AN_OBJECT),
    "JSON in a text": (json.dumps(GOOD), Wrong.NOT_AN_OBJECT),
    "nothing": ({}, Wrong.TYPE),
    "a password": (with_(type="password"), Wrong.TYPE),
    "no id": (without("id"), Wrong.CREDENTIAL_ID),
    "an empty id": (with_(id="", rawId=""), Wrong.CREDENTIAL_ID),
    "an id with padding": (with_(id=GOOD["id"] + "="), Wrong.CREDENTIAL_ID),
    "a very long id": (with_(id=encode(bytes(1_024)), rawId=encode(bytes(1_024))), Wrong.TOO_LARGE),
    "another rawId": (with_(rawId=encode(b"another")), Wrong.RAW_ID),
    "rawId as bytes of JSON": (with_(rawId=[1, 2, 3]), Wrong.RAW_ID),
    "no response": (without("response"), Wrong.RESPONSE),
    "no client data": (without("clientDataJSON"), Wrong.CLIENT_DATA),
    "client data that is not encoded": (responding(clientDataJSON='{"type":'), Wrong.CLIENT_DATA),
    "client data in base64": (
        responding(clientDataJSON=base64.b64encode(b"\xff\xfe\xfd").decode()),
        Wrong.CLIENT_DATA,
    ),
    "large client data": (responding(clientDataJSON=LARGE), Wrong.TOO_LARGE),
    "client data that is no JSON": (signed(client=b"{"), Wrong.CLIENT_DATA_JSON),
    "client data that is a list": (signed(client=b"[]"), Wrong.CLIENT_DATA_JSON),
    "client data in UTF-16": (signed(client='{"a":1}'.encode("utf-16")), Wrong.CLIENT_DATA_JSON),
    "client data with NaN": (signed(client=b'{"type":NaN}'), Wrong.CLIENT_DATA_JSON),
    "nested client data": (signed(client=b"[" * 3_000), Wrong.CLIENT_DATA_JSON),
    "a registration": (signed(type="webauthn.create"), Wrong.CEREMONY),
    "an older request": (KEY.sign(request()), Wrong.CHALLENGE),
    "a challenge with padding": (signed(challenge=ASKED["challenge"] + "="), Wrong.CHALLENGE),
    "another origin": (signed(origin="https://evil.test"), Wrong.ORIGIN),
    "the origin without TLS": (signed(origin="http://web.whatsapp.com"), Wrong.ORIGIN),
    "another port": (signed(origin="https://web.whatsapp.com:8443"), Wrong.ORIGIN),
    "a frame": (signed(crossOrigin=True), Wrong.CROSS_ORIGIN),
    "a frame, in words": (signed(crossOrigin="yes"), Wrong.CROSS_ORIGIN),
    "a frame of another site": (signed(topOrigin="https://evil.test"), Wrong.CROSS_ORIGIN),
    "no authenticator data": (without("authenticatorData"), Wrong.AUTHENTICATOR_DATA),
    "short authenticator data": (responding(authenticatorData=encode(bytes(36))), Wrong.LENGTH),
    "large authenticator data": (responding(authenticatorData=LARGE), Wrong.TOO_LARGE),
    "another site": (signed(rp_id="web.whatsapp.com"), Wrong.RP_ID),
    "nobody was there": (signed(flags=UV), Wrong.USER_PRESENT),
    "nobody was verified": (signed(flags=UP), Wrong.USER_VERIFIED),
    "a new credential": (signed(flags=UP | UV | AT, more=bytes(60)), Wrong.ATTESTED),
    "a backup that cannot be": (signed(flags=UP | UV | BS), Wrong.BACKUP_STATE),
    "bytes that nobody announced": (signed(more=UVM), Wrong.LENGTH),
    "extensions that are not there": (signed(flags=UP | UV | ED), Wrong.LENGTH),
    "no signature": (without("signature"), Wrong.SIGNATURE),
    "an empty signature": (responding(signature=""), Wrong.SIGNATURE),
    "a large signature": (responding(signature=LARGE), Wrong.TOO_LARGE),
    "a user in words": (responding(userHandle="J. Doe"), Wrong.USER_HANDLE),
    "a user as a list": (responding(userHandle=[]), Wrong.USER_HANDLE),
    "a large user": (responding(userHandle=encode(bytes(65))), Wrong.TOO_LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_each_wrong_answer_has_its_name(name: str) -> None:
    answer, expected = WRONG_ANSWERS[name]
    assert wrong(answer) is expected


def test_the_table_has_every_name_but_the_one_that_needs_other_options() -> None:
    assert {name for _, name in WRONG_ANSWERS.values()} | {Wrong.NOT_ALLOWED} == set(Wrong)
    assert SENTENCES.keys() == set(Wrong)


def test_only_a_passkey_that_the_request_names_answers_it() -> None:
    named = [{"id": encode(one), "type": "public-key"} for one in (b"another", KEY.credential)]
    assert check(GOOD, options(allowCredentials=named)).credential == KEY.credential
    assert wrong(GOOD, allowCredentials=named[:1]) is Wrong.NOT_ALLOWED


def test_nothing_of_request_or_answer_is_shown() -> None:
    shown = f"{options()!r} {check(GOOD, options())!r}"
    assert shown == "Options(…) Assertion(…)"


def test_a_request_is_passed_on_as_a_browser_takes_it() -> None:
    found = passkey.options({**ASKED, "signal": "what no JSON has"})
    assert found
    assert found.json == ASKED


@pytest.mark.parametrize(
    ("timeout", "kept"),
    [
        (30_000, 30_000),
        (900_000, 600_000),
        (None, 600_000),
        (True, 600_000),
        (-1, 600_000),
        ("1", 600_000),
    ],
)
def test_a_request_has_its_time_and_no_more_than_ten_minutes(timeout: object, kept: int) -> None:
    assert options(timeout=timeout).json["timeout"] == kept


@pytest.mark.parametrize(
    "reported",
    [
        None,
        [],
        {},
        request(rpId="example.org"),
        request(challenge=""),
        request(challenge=7),
        request(challenge=encode(bytes(1_025))),
        request(allowCredentials=None),
        request(allowCredentials=["an id"]),
        request(allowCredentials=[{"id": "?"}]),
        request(allowCredentials=[{"id": encode(bytes(1_024))}]),
        request(allowCredentials=[{"id": "AAAA"}] * 65),
    ],
)
def test_a_request_that_cannot_be_answered_is_not_passed_on(reported: object) -> None:
    assert passkey.options(reported) is None


@given(st.binary(max_size=300), st.integers(0, 300))
def test_base64url_is_read_up_to_a_byte_beyond_the_limit(raw: bytes, limit: int) -> None:
    assert decode(encode(raw), limit) == raw[: limit + 1]


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(), more, max_size=3),
    max_leaves=8,
)
_PATHS: Final = [(name,) for name in GOOD] + [("response", name) for name in GOOD["response"]]


@given(st.sampled_from(_PATHS), JSON)
def test_whatever_stands_in_a_field_is_accepted_or_wrong(path: tuple[str, ...], value: Any) -> None:
    answer = copy.deepcopy(GOOD)
    *above, last = path
    (answer[above[0]] if above else answer)[last] = value
    try:
        passed_on = check(answer, options()).to_json()
    except WrongAnswerError:
        return
    # a signature is WhatsApp's to check
    assert passed_on["response"]["clientDataJSON"] == GOOD["response"]["clientDataJSON"]
    assert passed_on["id"] == GOOD["id"]


@given(JSON)
def test_whatever_is_sent_as_an_answer_is_wrong(answer: Any) -> None:
    wrong(answer)


@given(JSON)
def test_whatever_is_reported_as_a_request_is_read_or_refused(reported: Any) -> None:
    found = passkey.options(reported)
    assert found is None or found.rp_id == "whatsapp.com"


@given(st.integers(0, 255), st.binary(max_size=40))
def test_no_flags_but_those_of_a_verified_user_pass(flags: int, more: bytes) -> None:
    answer = signed(flags=flags, more=more)
    may_pass = flags & UP and flags & UV and not flags & AT and (flags & BE or not flags & BS)
    if may_pass and bool(flags & ED) == bool(more):
        assert check(answer, options()).authenticator_data[32] == flags
    else:
        wrong(answer)


def _bits(size: int) -> st.SearchStrategy[int]:
    return st.integers(0, size * 8 - 1)


@given(_bits(37))
def test_a_flipped_bit_of_the_authenticator_data_passes_only_in_the_counter_or_in_what_is_reserved(
    bit: int,
) -> None:
    data = bytearray(decode(GOOD["response"]["authenticatorData"], 64) or b"")
    data[bit // 8] ^= 1 << bit % 8
    try:
        check(responding(authenticatorData=encode(bytes(data))), options())
    except WrongAnswerError:
        return
    assert bit // 8 > 32 or (bit // 8 == 32 and 1 << bit % 8 in {0x02, BE, 0x20})


@settings(max_examples=50)
@given(st.text(min_size=1))
def test_an_origin_is_right_as_a_whole_or_wrong(origin: str) -> None:
    for other in (origin, f"{passkey.ORIGIN}{origin}", f"{origin}{passkey.ORIGIN}"):
        assert wrong(signed(origin=other)) is Wrong.ORIGIN
