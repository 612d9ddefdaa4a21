"""One session's conditions, and the steps that are taken before a person is asked.

What is decided is ``core/page_care.py``'s. A condition that begins or ends is on the audit trail; one
whose worker is just being replaced stays, for nothing is known of it meanwhile.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from waguard.core.first_contacts import Pause
from waguard.core.link import Link
from waguard.core.page_care import (
    COVERED_LIMIT,
    STUCK,
    UPDATE_APART,
    UPDATE_RELOADS,
    Condition,
    Kind,
    Step,
    on_passkey,
    on_stuck,
    on_update,
    passkey_words,
)
from waguard.ports import Clock
from waguard.wire.protocol import Report

STABLE: Final = 300.0  # s connected, after which what was tried against a stuck link is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A running worker's session at one moment. Times in seconds."""

    report: Report
    link: Link
    link_for: float
    stuck: float | None
    """Offline, pairing or synchronizing while the network was there; None: that does not apply."""
    unsure: bool
    """The network may be away, by what the sessions say."""
    idle: float | None
    acks_in_vain: str | None
    """Sends that no replacement helped, in words."""
    undecryptable: str | None = None
    """Messages that could not be decrypted for long, in words."""
    undecryptable_since: float | None = None
    """Unix time."""
    first_contacts: Pause | None = None
    """Why they pause."""


class Steps(Protocol):
    """What can be done about a page."""

    def reload(self, why: str) -> None: ...
    def recycle(self, why: str) -> None: ...
    def note(self, kind: str, *, reason: str) -> None: ...


class PageCare:
    """``tick`` looks at a running session, ``forget`` is for one that is down."""

    def __init__(self, clock: Clock, steps: Steps) -> None:
        self._clock = clock
        self._steps = steps
        self._found: dict[Kind, Condition] = {}
        self._update_since: float | None = None
        self._update_reloads: list[float] = []
        self._tried: list[Step] = []
        self._stepped_at = float("-inf")
        self._stuck_in: Link | None = None
        self._passkey_reloaded: float | None = None
        self._covered_since: float | None = None
        self.memory_in_vain: int | None = None
        """Bytes that it used again, a moment after a replacement; None: it fits, or may be helped."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Those that a person should know of now."""
        return tuple(self._found.values())

    def forget(self) -> None:
        """It is stopped or parked."""
        self.memory_in_vain = None
        for kind in list(self._found):
            self._say(kind, None)

    def tick(self, seen: Seen) -> None:
        """Do what is due."""
        self._look_at_update(seen)
        self._look_at_link(seen)
        self._look_at_passkey(seen)
        self._look_at_dialog(seen)
        self._look_at_first_contacts(seen.first_contacts)
        self._say(Kind.ACKS_IN_VAIN, seen.acks_in_vain)
        self._say(Kind.UNDECRYPTABLE, seen.undecryptable, since=seen.undecryptable_since)

    def recycled(self) -> None:
        """Its worker is replaced, which may help this time."""
        self.memory_in_vain = None

    def memory(self, found: str | None, *, used: int | None) -> None:
        """A measurement: why recycling does not help, None: it was not in vain."""
        if found is None or self.memory_in_vain is None:
            self.memory_in_vain = used
            self._say(Kind.MEMORY_IN_VAIN, found)

    def _look_at_update(self, seen: Seen) -> None:
        now = self._clock.monotonic()
        if not seen.report.update_offered:
            self._update_since = None
            # a page is told some time after it is loaded: until then it proves nothing
            if not self._update_reloads or now - self._update_reloads[-1] >= UPDATE_APART:
                self._say(Kind.UPDATE_PERSISTS, None)
            return
        if seen.link is not Link.CONNECTED:
            return
        since = self._update_since = now if self._update_since is None else self._update_since
        ago = [now - at for at in self._update_reloads]
        step = on_update(offered=now - since, idle=seen.idle, reloads=ago)
        if step is Step.RELOAD:
            self._update_reloads = [*self._update_reloads[1 - UPDATE_RELOADS :], now]
            self._steps.reload("there is a newer version of WhatsApp Web")
        elif step is Step.ADVISE:
            why = f"WhatsApp Web still asks for its newer version after {UPDATE_RELOADS} reloads"
            self._say(Kind.UPDATE_PERSISTS, why)

    def _look_at_link(self, seen: Seen) -> None:
        now = self._clock.monotonic()
        if seen.link is not Link.UNKNOWN and not seen.report.refused:
            self._say(Kind.WHATSAPP_REFUSES, None)
        if seen.report.refused:  # whatever is tried here, it is WhatsApp's
            self._say(Kind.WHATSAPP_REFUSES, seen.report.details)
            return
        if seen.link not in {Link.UNKNOWN, self._stuck_in}:
            self._say(Kind.LINK_STUCK, None)
        if seen.link is Link.CONNECTED and seen.link_for > STABLE:
            self._tried.clear()
        if seen.stuck is None:
            return
        stuck = min(seen.stuck, now - self._stepped_at)
        step = on_stuck(seen.link, stuck=stuck, tried=self._tried, unsure=seen.unsure)
        if step is Step.WAIT:
            return
        _, what = STUCK[seen.link]
        if step is Step.ADVISE:
            why = f"{what}, and neither a reload nor a replacement helped"
            self._stuck_in = seen.link
            self._say(Kind.LINK_STUCK, f"{why}: {seen.report.socket}")
            return
        network = "may be" if seen.unsure else "is"
        why = f"{what} for {seen.stuck:.0f} s while the network {network} there: "
        why += str(seen.report.socket)
        self._tried.append(step)
        self._stepped_at = now
        if step is Step.RELOAD:
            self._steps.reload(why)
        else:
            self._steps.recycle(why)

    def _look_at_passkey(self, seen: Seen) -> None:
        until = seen.report.passkey_until
        if until is None or seen.link is not Link.PASSKEY_REQUIRED:
            self._say(Kind.PASSKEY_REQUIRED, None)
            return
        left = until - self._clock.wall()
        self._say(Kind.PASSKEY_REQUIRED, passkey_words(until), until=until)
        if on_passkey(left=left) is Step.RELOAD and self._passkey_reloaded != until:
            self._passkey_reloaded = until
            self._steps.reload("nobody showed the passkey in its time")

    def _look_at_first_contacts(self, pause: Pause | None) -> None:
        if pause is None:
            self._say(Kind.FIRST_CONTACTS_PAUSED, None)
        else:
            self._say(Kind.FIRST_CONTACTS_PAUSED, str(pause), since=pause.since, until=pause.until)

    def _look_at_dialog(self, seen: Seen) -> None:
        now = self._clock.monotonic()
        if not seen.report.covered:
            self._covered_since = None
            self._say(Kind.ACTION_REQUIRED, None)
        if not seen.report.covered or seen.link is not Link.CONNECTED:
            return
        since = self._covered_since = now if self._covered_since is None else self._covered_since
        if now - since > COVERED_LIMIT:
            self._say(Kind.ACTION_REQUIRED, "a dialog lies over WhatsApp's page")

    def _say(
        self,
        kind: Kind,
        message: str | None,
        *,
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        """``since`` and ``until`` in unix time, where they are known."""
        before = self._found.get(kind)
        if message is None:
            if self._found.pop(kind, None):
                self._steps.note(f"{kind}_over", reason="it is over")
            return
        if before is None:
            self._steps.note(str(kind), reason=message)
        now = self._clock.wall()
        since = since or (before.since if before else now)
        left = None if until is None else max(0.0, until - now)
        self._found[kind] = Condition(kind, message, since, left, until)
