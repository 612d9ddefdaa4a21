"""The text of an entry of the audit log, as a timeline shows it. Pure."""

from waguard.core.incidents import changes, sentences
from waguard.core.incidents.changes import CHANGE
from waguard.core.incidents.entries import Entry
from waguard.core.incidents.kinds import BACK, FLEET_RESULTS


def text(entry: Entry) -> str:
    """What happened, or what somebody asked for, and what came of it."""
    if entry.kind == CHANGE:
        return changes.done(entry) or f"{entry.before}: {entry.after}"
    if entry.kind == "status":
        words: str | None = f"it was {entry.before}, and is {entry.after}"
    else:
        words = sentences.done(entry) or BACK.get(entry.kind) or FLEET_RESULTS.get(entry.kind)
    if not words:
        return entry.reason or entry.kind.replace("_", " ")
    return f"{words}: {entry.reason}" if entry.reason and entry.reason not in words else words
