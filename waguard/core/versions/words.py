"""What is said of WhatsApp's versions to people: on the trail, in the log, in events. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from waguard.core import remedies
from waguard.core.blame import Condition
from waguard.core.versions import views
from waguard.core.versions.effects import Announce, Kind
from waguard.core.versions.facts import Try
from waguard.core.versions.state import VersionState
from waguard.core.versions.views import EVIDENCE, VersionCondition

_SHOWN: Final = 5  # names of sessions
SHORT: Final = 12  # digits of a bundle's SHA-256 that people are shown
OF_CONDITION: Final = {
    Kind.ROLLED_BACK: "version_held",
    Kind.BUNDLE_ROLLED_BACK: "bundle_rolled_back",
}
"""Announcements with which a condition begins."""
ENTRIES: Final = {
    Kind.SUSPECTED: "version_suspected",
    Kind.ACQUITTED: "version_acquitted",
    Kind.RELEASED: "version_works",
    Kind.HELD: "version_held_long",
    Kind.REFUSED: "version_too_old",
    Kind.SPENT: "version_spent",
    Kind.BUNDLE_RELEASED: "bundle_accepted",
}
"""Kinds of entries of the fleet's trail, of all other announcements."""


def announced(it: Announce) -> str:
    """One sentence without its full stop."""
    about = _about(it)
    match it.kind:
        case Kind.SUSPECTED:
            return f"{about} is suspected: {_seen(it)}; {_gets(it, 'it is loaded with')}"
        case Kind.ACQUITTED:
            return f"{about} is not to blame: {_seen(it)}, and so it is with another version"
        case Kind.ROLLED_BACK:
            return f"{about} breaks sessions: {_seen(it)}; {_gets(it)}"
        case Kind.RELEASED:
            return (
                f"{about} works, as canaries showed{_whose(it)}; sessions get it at their next load"
            )
        case Kind.HELD:
            return f"{about} and newer ones have been held back for long: {_seen(it)}; {_gets(it)}"
        case Kind.REFUSED:
            return f"WhatsApp refuses {about} as too old; {_gets(it)}"
        case Kind.SPENT:
            return f"the scripts of {about} are not on WhatsApp's CDN any more; {_gets(it)}"
        case Kind.BUNDLE_ROLLED_BACK:
            return f"{about} breaks sessions: {_seen(it)}; all sessions get the one before"
        case Kind.BUNDLE_RELEASED:
            return f"{about} works, as canaries showed{_whose(it)}; all sessions get it"


def evidence(it: Announce) -> Mapping[str, Any]:
    """An announcement for machines."""
    found = {
        "revision": it.revision,
        "instead": it.instead,
        "wajs": it.wajs,
        "evidence": it.evidence and str(it.evidence),
        "sessions": list(it.sessions) or None,
        "person": it.person or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def conditions(state: VersionState) -> list[Condition]:
    """What concerns all sessions, as people see it, with what helps."""
    wajs = max(state.rejected, key=lambda it: state.rejected[it], default="")[:SHORT]
    return [_condition(it, wajs) for it in views.conditions(state)]


def _condition(it: VersionCondition, wajs: str) -> Condition:
    return Condition(
        type=it.type,
        blame=it.blame,
        reason=it.reason,
        message=it.message,
        since=it.since,
        remedy=remedies.text(remedies.FLEET[it.type], wajs=wajs or "SHA256"),
    )


def tried(it: Try) -> str:
    """What an operator asked to try, and with which session."""
    if it.wajs is not None:
        what = bundle(it.wajs)
    else:
        what = "what WhatsApp serves" if it.revision is None else f"WhatsApp Web {it.revision}"
    return f"{what} with {it.session or 'any session'}"


def bundle(wajs: str) -> str:
    """The bundle's digest, shortened."""
    return f"wa-js {wajs[:SHORT]}"


def _about(it: Announce) -> str:
    if it.wajs is not None and it.revision is None:
        return bundle(it.wajs)
    return f"WhatsApp Web {it.revision}" if it.revision is not None else "the version in use"


def _seen(it: Announce) -> str:
    return (EVIDENCE[it.evidence] if it.evidence else "its sessions fail") + _whose(it)


def _whose(it: Announce) -> str:
    names = ", ".join(it.sessions[:_SHOWN])
    more = f" and {len(it.sessions) - _SHOWN} more" if len(it.sessions) > _SHOWN else ""
    return f" ({names}{more})" if names else ""


def _gets(it: Announce, who: str = "all sessions get") -> str:
    return f"{who} {'what WhatsApp serves' if it.instead is None else f'version {it.instead}'}"
