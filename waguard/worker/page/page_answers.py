"""What WhatsApp's page answers to a question, read into values. As with what it reports by itself
(``page_reports``), nothing of it is trusted."""

from typing import Any, Final

from msgspec import Struct

from waguard.core.link import PageFacts
from waguard.core.passkey_link import PasskeyStep
from waguard.worker.browser.devtools import EvaluationError
from waguard.worker.page.page_errors import NotSendableError
from waguard.worker.page.page_reports import CHAT_LIMIT, ERROR_LIMIT, ack, passkey_step
from waguard.worker.page.values import moment, word

CODE_LIMIT: Final = 1_000  # printable ASCII; WhatsApp's have 240, a QR code holds 2,953
NAMES_LIMIT: Final = 100


class Reading(Struct, frozen=True, kw_only=True):
    """One reading of the page."""

    facts: PageFacts
    code: str | None
    me: str | None
    """The linked account as a wid (``<digits>@c.us``)."""
    locked_until: float | None = None
    """Unix time until which WhatsApp takes no first contacts, 0: it does; None: the page does not say."""
    passkey: PasskeyStep | None = None
    """What the screen shows of a linking that needs the account's passkey; None: nothing."""


class Unresolved(Struct, frozen=True):
    """wa-js's exports that are not there: those without which nothing works, and further ones; then what
    it lacks itself."""

    needed: tuple[str, ...] = ()
    further: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """As far as a report holds them."""
        return (*self.needed, *self.further, *self.lacking)[:NAMES_LIMIT]


class SendOutcome(Struct, frozen=True, kw_only=True):
    """wa-js's answer to a send: the ack, the result as it names it, unix time."""

    ack: int | None
    result: str | None
    at: int | None


def reading(reported: Any) -> Reading:
    """What the hook's ``facts`` are."""
    reported = reported if isinstance(reported, dict) else {}
    authenticated, code = reported.get("authenticated"), reported.get("code")
    facts = PageFacts(
        authenticated=authenticated if isinstance(authenticated, bool) else None,
        mode=word(reported.get("mode")),
        info=word(reported.get("info")),
        socket=word(reported.get("socket")),
        has_code=code is not None,
        events_wired=bool(reported.get("full")),
        update_offered=reported.get("update") is True,
        covered=reported.get("covered") is True,
    )
    is_text = isinstance(code, str) and code.isascii() and code.isprintable()
    fits = is_text and 0 < len(code) <= CODE_LIMIT
    locked = reported.get("locked")
    return Reading(
        facts=facts,
        code=word(code, CODE_LIMIT) if fits else None,
        me=word(reported.get("me")),
        locked_until=0.0 if locked == 0 else moment(locked),
        passkey=passkey_step(reported.get("passkey")),
    )


def unresolved(reported: Any) -> Unresolved:
    """What the hook's ``unresolved`` names."""
    reported = reported if isinstance(reported, dict) else {}
    kinds = ("needed", "further", "lacking")
    return Unresolved(*(_names(reported.get(kind)) for kind in kinds))


def _names(reported: Any) -> tuple[str, ...]:
    some = reported[:NAMES_LIMIT] if isinstance(reported, list) else []
    return tuple(name for one in some if (name := word(one)))


def send_outcome(reported: Any) -> SendOutcome:
    """What cannot be read says nothing, and is no outcome. Raises ``NotSendableError``."""
    reported = reported if isinstance(reported, dict) else {}
    if reason := word(reported.get("refused")):
        raise NotSendableError(reason, word(reported.get("why"), ERROR_LIMIT))
    return SendOutcome(
        ack=ack(reported.get("ack")),
        result=word(reported.get("result")),
        at=moment(reported.get("at")),
    )


def listed(reported: Any, name: str) -> list[Any]:
    """The list of this name. Raises ``EvaluationError`` where there is none."""
    found = reported.get(name) if isinstance(reported, dict) else None
    if not isinstance(found, list):
        raise EvaluationError(f"no {name}")
    return found


def chat(entry: Any) -> tuple[str | None, int | None]:
    """A chat's id and the time of its newest message, each None where it cannot be read."""
    found, newest = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)  # noqa: PLR2004 - id and time
    fits = found if isinstance(found, str) and 0 < len(found) <= CHAT_LIMIT else None
    return fits and word(fits), 0 if newest == 0 else moment(newest)
