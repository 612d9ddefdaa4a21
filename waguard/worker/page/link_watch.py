"""From readings of the page to the report that the daemon gets."""

import re
import time
from typing import Final

from msgspec import Struct

from waguard.core import passkey_link
from waguard.core.link import (
    BEFORE_A_PASSKEY,
    Link,
    PageFacts,
    blocked_because,
    is_only_unwired,
    link_of,
)
from waguard.core.passkey_link import PasskeyLink, PasskeyStep
from waguard.core.session.page_load import MOST, Refusal
from waguard.wire.reports import QrCode
from waguard.worker.page.page_answers import Reading

PHONE: Final = re.compile(r"([0-9]{1,20})(?::[0-9]+)?@c\.us$")
QR_FIRST_LIFETIME: Final = 60.0  # s; WhatsApp shows the first code longer
QR_LIFETIME: Final = 20.0  # s
OPENS_WITHIN: Final = 10.0  # s after a load; until then a page that was connected opens its socket
TRIED: Final = "TIMEOUT"  # a socket that could not be opened


class LinkWatch(Struct, kw_only=True):
    """What is known of the link at this moment."""

    link: Link = Link.UNKNOWN
    phone: str | None = None
    qr: QrCode | None = None
    qr_idle: bool = False
    details: str | None = None
    paired_here: bool = False
    """A QR or pairing code was on the screen since this browser started: the credentials are new."""
    passkey: PasskeyLink | None = None
    """None: no linking waits for the account's passkey."""
    update_offered: bool = False
    covered: bool = False
    refused: bool = False
    """WhatsApp does not serve its page."""
    refusals: int = 0
    """Loads in a row that it refused."""
    retry_after: float | None = None
    """Seconds that it asks to wait."""
    locked_until: float | None = None
    """As ``Reading`` has it."""
    socket: str | None = None
    _was_connected: bool = False
    """With this pairing and this browser."""
    _opens_until: float = 0.0
    """Monotonic time until which a page that is loaded again has to connect."""
    _codes: int = 0
    """How many codes were shown since the last pause."""

    def unreachable(self, why: str, refusal: Refusal | None) -> None:
        """There is no page. ``refusal``: WhatsApp's; None: it was not even asked."""
        self.link, self.details = Link.OFFLINE, why
        self._record_refusal(refusal)

    def _record_refusal(self, refusal: Refusal | None) -> None:
        self.refused = refusal is not None
        self.refusals = self.refusals + 1 if refusal else 0
        after = refusal.retry_after if refusal else None
        self.retry_after = None if after is None else min(after, MOST)

    def apply(self, reading: Reading) -> None:
        """Apply one reading."""
        facts = reading.facts
        self.passkey = passkey_link.observe(self.passkey, reading.passkey, now=time.time())
        self.link = self._evaluate(facts)
        self.details = blocked_because(facts)
        self._record_refusal(None)
        self.update_offered, self.covered = facts.update_offered, facts.covered
        self.locked_until = reading.locked_until
        self.socket = f"its socket is {facts.socket}, its stream {facts.mode} {facts.info}"
        if found := PHONE.match(reading.me or ""):  # a @lid is no phone number
            self.phone = found[1]
        if self.link is Link.QR_PENDING:
            self.paired_here = True
            self._was_connected = False
            self._apply_code(reading.code)
        else:
            self._was_connected |= self.link is Link.CONNECTED
            self.qr, self.qr_idle, self._codes = None, False, 0

    def _evaluate(self, facts: PageFacts) -> Link:
        link = link_of(facts)
        if link is Link.CONNECTED:
            self._opens_until = 0.0
        opens = facts.socket != TRIED and time.monotonic() < self._opens_until
        if link is Link.OFFLINE and opens:
            return self.link  # unknown, or synchronizing
        if link is Link.SYNCING and self._was_connected and is_only_unwired(facts):
            return Link.UNKNOWN  # for the moment after a reload, which is no news to anybody
        # a code may be on the screen behind the prompt: it ends the linking only when that is over
        over = (
            link is Link.QR_PENDING
            and self.passkey
            and passkey_link.is_over(self.passkey, now=time.time())
        )
        if over or link not in BEFORE_A_PASSKEY:
            self.passkey = None
        return Link.PASSKEY_REQUIRED if self.passkey else link

    def _apply_code(self, code: str | None) -> None:
        self.phone = None
        if code is None or self.qr_idle:
            self.qr = None  # between two codes there is none for a moment
            return
        if self.qr is None or self.qr.raw != code:
            self._codes += 1
            lifetime = QR_FIRST_LIFETIME if self._codes == 1 else QR_LIFETIME
            self.qr = QrCode(raw=code, count=self._codes, expires_at=time.time() + lifetime)

    def page_loads(self) -> None:
        """Nothing can be sent until the page that comes says that it can."""
        self.passkey_over()
        if self._was_connected and self.link in {Link.CONNECTED, Link.SYNCING, Link.UNKNOWN}:
            self._opens_until = time.monotonic() + OPENS_WITHIN
        self.unread()

    def unread(self) -> None:
        """Whether it is connected is unknown; any other link has its own deadline."""
        if self.link is Link.CONNECTED:
            self.link = Link.UNKNOWN

    def credentials_saved(self) -> None:
        """The new credentials are being written: it is connected when they are."""
        self.paired_here, self.link = False, Link.SYNCING

    def passkey_step(self, step: PasskeyStep) -> None:
        """The page reports a step of a linking that needs the account's passkey."""
        self.passkey = passkey_link.advance(self.passkey, step, now=time.time())

    def passkey_over(self) -> None:
        """Whatever asked for it is gone."""
        self.passkey = None

    def idle(self) -> None:
        """WhatsApp stopped showing codes, which is no wonder while it waits for a passkey."""
        if self.passkey is not None:
            return
        self.qr, self.qr_idle, self._codes = None, True, 0

    def refreshed(self) -> None:
        """A new code was asked for."""
        self.qr_idle = False
