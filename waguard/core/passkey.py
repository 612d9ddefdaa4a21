"""A request for the account's passkey, and what is checked of an answer before WhatsApp's page has it. Pure.

The page discards its options, and the unattended confirmation with them, when it gets a wrong answer. So a wrong one
must not reach it. The signature is left to WhatsApp, which alone has the key. No text here quotes an answer.
"""

import base64
import binascii
import hashlib
import json
import re
from enum import StrEnum, auto
from typing import Any, Final

from msgspec import Struct

RP_ID: Final = "whatsapp.com"
ORIGIN: Final = "https://web.whatsapp.com"
"""Where the operator's browser signs. A stand-in at another address asks for the same one."""
LIFETIME: Final = 600_000  # ms that a request is good for, as the page says it, at most

# bytes. An authenticator's id has at most 1023, RSA with 4096 bits signs with 512
ID_LIMIT: Final = 1_023
CLIENT_DATA_LIMIT: Final = 4_096
AUTHENTICATOR_DATA_LIMIT: Final = 4_096
SIGNATURE_LIMIT: Final = 1_024
USER_HANDLE_LIMIT: Final = 64
CHALLENGE_LIMIT: Final = 1_024
ALLOWED_LIMIT: Final = 64  # credentials that a request names

_BARE_DATA: Final = 37  # bytes of authenticator data without extensions: rpIdHash, flags, counter
_RP_ID_HASH: Final = 32  # bytes
_PRESENT, _VERIFIED, _ELIGIBLE, _BACKED_UP, _ATTESTED, _EXTENDED = (
    0x01,
    0x04,
    0x08,
    0x10,
    0x40,
    0x80,
)
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_ATTACHMENTS: Final = ("platform", "cross-platform")
_PASSED_ON: Final = ("challenge", "rpId", "allowCredentials", "userVerification", "extensions")


class Options(Struct, frozen=True, kw_only=True):
    """What the page asks an authenticator for, as far as an answer is checked against it."""

    challenge: bytes
    rp_id: str
    allowed: tuple[bytes, ...] = ()
    """Ids of credentials; (): any."""
    json: dict[str, Any]
    """``PublicKeyCredentialRequestOptionsJSON``, for the browser that signs."""

    def __repr__(self) -> str:
        return "Options(…)"


class Assertion(Struct, frozen=True, kw_only=True):
    """An answer whose fields can be read, and nothing that came with them."""

    credential: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes
    user_handle: bytes | None
    attachment: str | None

    def __repr__(self) -> str:
        return "Assertion(…)"

    def to_json(self) -> dict[str, Any]:
        """``AuthenticationResponseJSON``, as the page is given it."""
        return {
            "id": encode(self.credential),
            "rawId": encode(self.credential),
            "type": "public-key",
            "response": {
                "clientDataJSON": encode(self.client_data),
                "authenticatorData": encode(self.authenticator_data),
                "signature": encode(self.signature),
                "userHandle": None if self.user_handle is None else encode(self.user_handle),
            },
            "authenticatorAttachment": self.attachment,
            "clientExtensionResults": {},
        }


class Wrong(StrEnum):
    """What is wrong with an answer."""

    NOT_AN_OBJECT = auto()
    TYPE = auto()
    CREDENTIAL_ID = auto()
    RAW_ID = auto()
    RESPONSE = auto()
    CLIENT_DATA = auto()
    AUTHENTICATOR_DATA = auto()
    SIGNATURE = auto()
    USER_HANDLE = auto()
    TOO_LARGE = auto()
    CLIENT_DATA_JSON = auto()
    CEREMONY = auto()
    CHALLENGE = auto()
    ORIGIN = auto()
    CROSS_ORIGIN = auto()
    RP_ID = auto()
    USER_PRESENT = auto()
    USER_VERIFIED = auto()
    ATTESTED = auto()
    BACKUP_STATE = auto()
    LENGTH = auto()
    NOT_ALLOWED = auto()


SENTENCES: Final = {
    Wrong.NOT_AN_OBJECT: "the answer is not a JSON object",
    Wrong.TYPE: 'the type of the answer is not "public-key"',
    Wrong.CREDENTIAL_ID: "the id is missing, empty, or not base64url without padding",
    Wrong.RAW_ID: "rawId is not the id",
    Wrong.RESPONSE: "the response is missing, or not a JSON object",
    Wrong.CLIENT_DATA: "clientDataJSON is missing, empty, or not base64url without padding",
    Wrong.AUTHENTICATOR_DATA: "authenticatorData is missing, empty, or not base64url without padding",
    Wrong.SIGNATURE: "the signature is missing, empty, or not base64url without padding",
    Wrong.USER_HANDLE: "userHandle is neither null nor base64url without padding",
    Wrong.TOO_LARGE: "a field of the answer is larger than an authenticator makes it",
    Wrong.CLIENT_DATA_JSON: "clientDataJSON does not hold a JSON object in UTF-8",
    Wrong.CEREMONY: "the answer does not sign in with a passkey: the type of its client data is another",
    Wrong.CHALLENGE: "the answer was signed for another request",
    Wrong.ORIGIN: f"the answer was signed on another origin than {ORIGIN}",
    Wrong.CROSS_ORIGIN: "the answer was signed in a frame of another site",
    Wrong.RP_ID: f"the passkey belongs to another site than {RP_ID}",
    Wrong.USER_PRESENT: "the authenticator did not ask its user",
    Wrong.USER_VERIFIED: "the authenticator did not verify its user by PIN, fingerprint or face",
    Wrong.ATTESTED: "the answer registers a passkey and does not sign in with one",
    Wrong.BACKUP_STATE: "the authenticator data contradicts itself about the passkey's backup",
    Wrong.LENGTH: "the authenticator data is too short, or longer than its flags say",
    Wrong.NOT_ALLOWED: "the passkey is not one of those that the request names",
}


class Held(Struct, frozen=True, kw_only=True):
    """A request that a page holds, as the daemon that passed it on remembers it."""

    request: str
    """The id of the request."""
    options: Options
    worker: int
    """The number of the session's worker."""
    ends: float
    """Monotonic seconds."""
    answered: bool = False
    """The answer is on the way to the page, or was."""


class Gone(StrEnum):
    """Why a right answer to a request comes to nothing."""

    UNKNOWN = auto()
    ANSWERED = auto()
    PAGE_GONE = auto()
    LATE = auto()
    NOT_HELD = auto()
    """The page says so."""


GONE: Final = {
    Gone.UNKNOWN: "no such request is held: it was replaced, or waguard was restarted",
    Gone.ANSWERED: "the request was answered already",
    Gone.PAGE_GONE: "the page that asked is not there any more",
    Gone.LATE: "the time of the request is over",
    Gone.NOT_HELD: "the page does not wait for the request any more",
}


class Entry(StrEnum):
    """What is recorded of who did what, by the kind of the audit log's entry."""

    STARTED = "passkey_started"
    ANSWERED = "passkey_answered"
    CONFIRMED = "passkey_confirmed"
    CANCELLED = "passkey_cancelled"
    REFUSED = "passkey_refused"


class WrongAnswerError(Exception):
    """An answer that must not reach the page."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(SENTENCES[wrong])
        self.wrong = wrong


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: object, limit: int) -> bytes | None:
    """The bytes of base64url without padding, one byte beyond the limit at most; None: it is not that."""
    if not isinstance(text, str):
        return None
    text = text[: (limit + 3) // 3 * 4]
    if not _BASE64URL.fullmatch(text):
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[: limit + 1]
    except binascii.Error:
        return None


def options(reported: object) -> Options | None:
    """The request as the page's hook reports it; None: it cannot be passed on, or is another site's."""
    if not isinstance(reported, dict) or reported.get("rpId") != RP_ID:
        return None
    challenge = decode(reported.get("challenge"), CHALLENGE_LIMIT)
    allowed = _allowed(reported.get("allowCredentials", []))
    timeout = reported.get("timeout")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0:
        timeout = LIFETIME
    if not challenge or len(challenge) > CHALLENGE_LIMIT or allowed is None:
        return None
    passed_on = {name: reported[name] for name in _PASSED_ON if name in reported}
    return Options(
        challenge=challenge,
        rp_id=RP_ID,
        allowed=allowed,
        json={**passed_on, "timeout": round(min(timeout, LIFETIME))},
    )


def _allowed(reported: object) -> tuple[bytes, ...] | None:
    if not isinstance(reported, list) or len(reported) > ALLOWED_LIMIT:
        return None
    ids = [decode(one.get("id"), ID_LIMIT) if isinstance(one, dict) else None for one in reported]
    found = tuple(one for one in ids if one and len(one) <= ID_LIMIT)
    return found if len(found) == len(ids) else None


def gone(held: Held | None, request: str, *, worker: int | None, now: float) -> Gone | None:
    """Why an answer to the request with this id comes to nothing, as far as the daemon knows; None: it may be in time.
    ``worker``: the session's; None: it has none."""
    if held is None or held.request != request:
        return Gone.UNKNOWN
    if held.answered:
        return Gone.ANSWERED
    if held.worker != worker:
        return Gone.PAGE_GONE
    return Gone.LATE if now >= held.ends else None


def is_same_code(given: str, shown: str) -> bool:
    """Whether a person read this code; nobody types the dash, or capital letters."""
    return bool(plain := _plain(given)) and plain == _plain(shown)


def _plain(code: str) -> str:
    return "".join(character for character in code.upper() if character.isalnum())


def check(given: object, asked: Options) -> Assertion:
    """The answer, if WhatsApp may accept it for this request. Raises ``WrongAnswerError`` with the first thing
    that is wrong."""
    assertion = _read(given)
    _check_client_data(assertion.client_data, asked)
    _check_authenticator_data(assertion.authenticator_data, asked)
    if asked.allowed and assertion.credential not in asked.allowed:
        raise WrongAnswerError(Wrong.NOT_ALLOWED)
    return assertion


def _read(given: object) -> Assertion:
    if not isinstance(given, dict):
        raise WrongAnswerError(Wrong.NOT_AN_OBJECT)
    if given.get("type") != "public-key":
        raise WrongAnswerError(Wrong.TYPE)
    credential = _bytes(given.get("id"), ID_LIMIT, Wrong.CREDENTIAL_ID)
    if _bytes(given.get("rawId"), ID_LIMIT, Wrong.RAW_ID) != credential:
        raise WrongAnswerError(Wrong.RAW_ID)
    response = given.get("response")
    if not isinstance(response, dict):
        raise WrongAnswerError(Wrong.RESPONSE)
    data = response.get("authenticatorData")
    user, attachment = response.get("userHandle"), given.get("authenticatorAttachment")
    return Assertion(
        credential=credential,
        client_data=_bytes(response.get("clientDataJSON"), CLIENT_DATA_LIMIT, Wrong.CLIENT_DATA),
        authenticator_data=_bytes(data, AUTHENTICATOR_DATA_LIMIT, Wrong.AUTHENTICATOR_DATA),
        signature=_bytes(response.get("signature"), SIGNATURE_LIMIT, Wrong.SIGNATURE),
        # an empty one is what some browsers make of none
        user_handle=_bytes(user, USER_HANDLE_LIMIT, Wrong.USER_HANDLE)
        if user not in (None, "")
        else None,
        attachment=attachment if attachment in _ATTACHMENTS else None,
    )


def _bytes(text: object, limit: int, wrong: Wrong) -> bytes:
    found = decode(text, limit)
    if not found:
        raise WrongAnswerError(wrong)
    if len(found) > limit:
        raise WrongAnswerError(Wrong.TOO_LARGE)
    return found


def _check_client_data(raw: bytes, asked: Options) -> None:
    data = _json(raw)
    if not isinstance(data, dict):
        raise WrongAnswerError(Wrong.CLIENT_DATA_JSON)
    if data.get("type") != "webauthn.get":
        raise WrongAnswerError(Wrong.CEREMONY)
    if data.get("challenge") != encode(asked.challenge):
        raise WrongAnswerError(Wrong.CHALLENGE)
    if data.get("origin") != ORIGIN:
        raise WrongAnswerError(Wrong.ORIGIN)
    if data.get("crossOrigin", False) is not False or "topOrigin" in data:
        raise WrongAnswerError(Wrong.CROSS_ORIGIN)


def _json(raw: bytes) -> object:
    """None for what a browser could not read."""
    try:
        return json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> object:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)


def _check_authenticator_data(data: bytes, asked: Options) -> None:
    if len(data) < _BARE_DATA:
        raise WrongAnswerError(Wrong.LENGTH)
    flags = data[_RP_ID_HASH]
    if data[:_RP_ID_HASH] != hashlib.sha256(asked.rp_id.encode()).digest():
        raise WrongAnswerError(Wrong.RP_ID)
    if not flags & _PRESENT:
        raise WrongAnswerError(Wrong.USER_PRESENT)
    if not flags & _VERIFIED:
        raise WrongAnswerError(Wrong.USER_VERIFIED)
    if flags & _ATTESTED:
        raise WrongAnswerError(Wrong.ATTESTED)
    if flags & _BACKED_UP and not flags & _ELIGIBLE:
        raise WrongAnswerError(Wrong.BACKUP_STATE)
    if (len(data) > _BARE_DATA) != bool(flags & _EXTENDED):
        raise WrongAnswerError(Wrong.LENGTH)
