"""A linking that WhatsApp confirms with the account's passkey: its stage, and for how long that lasts. Pure.

WhatsApp Web offers it first, and asks for the passkey only when somebody continues. What the page reports moves
the value (``advance``), what its screen shows corrects it where a report is missing (``observe``), and time ends a
stage. Unix times. The lifetimes are those of WhatsApp Web's own source, as others published it in 2026.
"""

import datetime as dt
from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from waguard.core.replace import replace

OPTIONS_LIFETIME: Final = 600.0  # s; the page gets new ones after an error
UNATTENDED: Final = (
    300.0  # s from the offer, in which the page can prove that it is the one that was scanned
)
WAIT: Final = 120.0  # s; each for the phone, the code and the pairing
RETRY: Final = 600.0  # s after a failure in which it can be started again
TIMEOUT: Final = "timeout"
"""The page's own word for the end of its patience; also for a stage that ends without an answer of the page."""

UNKNOWN: Final = "unknown"


class PasskeyStage(StrEnum):
    """How far the linking is."""

    OFFERED = auto()
    """WhatsApp Web shows the prompt, and waits for somebody who continues."""
    ASKED = auto()
    """The page's request for the passkey is held until its answer comes."""
    ANSWERED = auto()
    """WhatsApp has the answer, and waits for the phone."""
    CONFIRM = auto()
    """The page shows a code that a person has to compare with the phone's."""
    FAILED = auto()
    """The page reports an error, or time ran out. It can be started again."""


class PasskeyEvent(StrEnum):
    """What a page reports of it."""

    OFFERED = auto()
    ASKED = auto()
    SENT = auto()
    CODE = auto()
    PAIRED = auto()
    ERROR = auto()
    GONE = auto()
    """The prompt is not there any more."""


class PasskeyStep(Struct, frozen=True, kw_only=True):
    """One report of a page."""

    event: PasskeyEvent
    request: str | None = None
    """The id of the request that is held (``ASKED``)."""
    code: str | None = None
    unattended: bool = False
    """The page confirms that code itself."""
    error: str | None = None
    """The page's word."""


class PasskeyLink(Struct, frozen=True, kw_only=True):
    """A linking that is under way."""

    stage: PasskeyStage
    until: float
    """When the stage ends."""
    unattended_until: float | None = None
    """Until when WhatsApp needs no code that a person compares; None: it will need one, or that is decided."""
    request: str | None = None
    """The id of the request that is held."""
    code: str | None = None
    error: str | None = None
    """The page's word, where it failed."""
    shown: bool = False
    """The prompt was seen on the page's screen, so where it is not seen any more the linking is over."""


WAITING: Final = frozenset({PasskeyStage.ASKED, PasskeyStage.ANSWERED, PasskeyStage.CONFIRM})
"""Stages that a reload of the page would end."""
_ORDER: Final = list(PasskeyStage)
_STAGES: Final = {
    PasskeyEvent.OFFERED: PasskeyStage.OFFERED,
    PasskeyEvent.ASKED: PasskeyStage.ASKED,
    PasskeyEvent.SENT: PasskeyStage.ANSWERED,
    PasskeyEvent.CODE: PasskeyStage.CONFIRM,
    PasskeyEvent.ERROR: PasskeyStage.FAILED,
}


def advance(link: PasskeyLink | None, step: PasskeyStep, *, now: float) -> PasskeyLink | None:
    """The linking after a report; None: none is under way. What is reported again grants no more time."""
    if step.event in {PasskeyEvent.PAIRED, PasskeyEvent.GONE}:
        return None
    if link is None:
        return _begun(None, step, now)
    return link if _is_known(link, step) else replace(_begun(link, step, now), shown=link.shown)


def _is_known(link: PasskeyLink, step: PasskeyStep) -> bool:
    match step.event:
        case PasskeyEvent.OFFERED:
            return link.stage in {PasskeyStage.OFFERED, PasskeyStage.ASKED}
        case PasskeyEvent.ASKED:
            return link.stage is PasskeyStage.ASKED and step.request in {None, link.request}
        case PasskeyEvent.CODE:
            is_decided = link.stage is PasskeyStage.CONFIRM or (
                link.stage is PasskeyStage.ANSWERED and step.unattended
            )
            return is_decided and link.code == step.code
        case event:
            return link.stage is _STAGES[event]


def _begun(link: PasskeyLink | None, step: PasskeyStep, now: float) -> PasskeyLink:
    """The stage that the step begins."""
    match stage := _stage(step):
        case PasskeyStage.OFFERED:
            until, unattended = now + OPTIONS_LIFETIME, now + UNATTENDED
            return PasskeyLink(stage=stage, until=until, unattended_until=unattended)
        case PasskeyStage.ASKED:
            unattended_until = link.unattended_until if link else None
            # a second request of the same linking follows an error, and has new options
            first = link if link and link.request is None else None
            until = now + left(first, OPTIONS_LIFETIME, now=now)
            asked = PasskeyLink(stage=stage, until=until, request=step.request)
            return replace(asked, unattended_until=unattended_until)
        case PasskeyStage.FAILED:
            return PasskeyLink(stage=stage, until=now + RETRY, error=step.error or UNKNOWN)
        case PasskeyStage.ANSWERED | PasskeyStage.CONFIRM:
            return PasskeyLink(stage=stage, until=now + WAIT, code=step.code)


def left(link: PasskeyLink | None, lasts: float, *, now: float) -> float:
    """Seconds in which an answer is in time, of those that the page's request lasts: the options of an offer end with
    it. Who continues after that makes the page get new ones."""
    if link is None or link.stage not in {PasskeyStage.OFFERED, PasskeyStage.ASKED}:
        return lasts
    rest = max(0.0, link.until - now)
    is_renewed = link.stage is PasskeyStage.OFFERED and not rest
    return lasts if is_renewed else min(lasts, rest)


def _stage(step: PasskeyStep) -> PasskeyStage:
    confirms = step.event is PasskeyEvent.CODE and step.unattended
    return PasskeyStage.ANSWERED if confirms else _STAGES[step.event]


def observe(
    link: PasskeyLink | None, shown: PasskeyStep | None, *, now: float
) -> PasskeyLink | None:
    """The linking after a reading of the page's screen; ``shown`` None: it shows no prompt.

    The screen follows what the page reports, so a reading never takes a stage back. A person compares the code that
    is on it.
    """
    link = _passed(link, now)
    if shown is None or shown.event not in _STAGES:
        return None if link and link.shown else link
    if link is None:
        begun = advance(None, shown, now=now)
        return begun and replace(begun, shown=True)
    link = link if link.shown else replace(link, shown=True)
    if link.stage is PasskeyStage.CONFIRM and shown.code:
        link = link if link.code == shown.code else replace(link, code=shown.code)
    goes_on = _ORDER.index(_stage(shown)) > _ORDER.index(link.stage)
    return advance(link, shown, now=now) if goes_on else link


def _passed(link: PasskeyLink | None, now: float) -> PasskeyLink | None:
    """A stage in which somebody waits for an answer fails when its time is over."""
    if link is None or now < link.until or link.stage not in WAITING:
        return link
    return advance(link, PasskeyStep(event=PasskeyEvent.ERROR, error=TIMEOUT), now=now)


def is_over(link: PasskeyLink, *, now: float) -> bool:
    """Whether nobody can go on with it: a QR code that the page shows then begins another linking."""
    return link.stage not in WAITING and now > link.until


def words(link: PasskeyLink) -> str:
    """What is going on. The text names the moment, so it does not change each second."""
    at = f"{dt.datetime.fromtimestamp(link.until, dt.UTC):%H:%M:%S} UTC"
    match link.stage:
        case PasskeyStage.OFFERED:
            return f"WhatsApp asks for the account's passkey until {at} to link this device"
        case PasskeyStage.ASKED:
            return f"WhatsApp Web waits until {at} for the answer of the account's passkey"
        case PasskeyStage.ANSWERED:
            return f"WhatsApp has the answer of the passkey, and waits for the phone until {at}"
        case PasskeyStage.CONFIRM:
            return f"WhatsApp Web shows a code to compare with the phone's until {at}"
        case PasskeyStage.FAILED:
            why = _ERRORS.get(link.error or "", f"WhatsApp Web says: {link.error}")
            return f"the linking with the passkey failed, {why}; it can be started again until {at}"


_ERRORS: Final = {
    TIMEOUT: "its time ran out",
    "other_request": "WhatsApp Web asks for something else than the passkey that waguard knows",
    "server_error": "WhatsApp's server refused it",
    UNKNOWN: "WhatsApp Web does not say why",
}
