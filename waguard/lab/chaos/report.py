"""What a campaign came to, for people and for machines."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict


class Healed(Struct, frozen=True):
    """One fault and the seconds from its end until all was well, which were to be ``bound`` at most."""

    fault: str
    seconds: float
    bound: float


class Line(Struct, frozen=True):
    """One kind of fault; ``median``, ``worst`` and the widest ``bound`` in seconds."""

    fault: str
    count: int
    median: float
    worst: float
    bound: float


class Messages(Struct, frozen=True, kw_only=True):
    """What came in and went out meanwhile."""

    incoming: int
    undecryptable: int
    """Messages of these that the browsers could not decrypt at first."""
    uncertain: int
    """Messages of these that the application may have dropped, and waguard lists."""
    lost: int
    """Messages of these of which the application has no row, and that waguard does not list."""
    repeated: int
    """Rows too many of what came in, excused or not."""
    overtaken: int
    """Rows that have a later message of their chat before them."""
    misfiled: int
    """Rows under another contact, of what came in or went out."""
    outgoing: Mapping[str, int]
    """How many sends ended how."""
    sent_twice: int
    """Rows too many of what went out."""
    on_phone: int
    """Messages that were written on the phone."""
    unseen: int
    """Messages of these, and of what was sent, of which the application has no row."""
    kinds: Mapping[str, int]
    """What came in, by kind."""
    files_again: int
    """Files of these that were not fetched, and asked for again."""
    votes: int
    votes_without_page: int
    """Votes of these that came while no page was there."""
    acts: Mapping[str, int]
    """How many reactions, edits and deletions ended how."""
    deletions_unheard: int
    """Deletions of these that the page did, and WhatsApp's server never heard of."""


class Outcome(Struct, frozen=True, kw_only=True):
    """One campaign. ``broken`` are the invariants that did not hold, in sentences."""

    seed: int
    sessions: int
    healed: Sequence[Healed]
    broken: Sequence[str] = ()
    manual_steps: int = 0
    """What a person had to do that was not to scan after an unlink, or a loss without any copy."""
    left_out: Sequence[str] = ()
    """Faults that cannot be made here."""
    messages: Messages | None = None
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 only when nothing was broken."""
        return 1 if self.broken or self.manual_steps else 0


def by_kind(healed: Iterable[Healed]) -> list[Line]:
    """In the order of their names."""
    kinds: defaultdict[str, list[Healed]] = defaultdict(list)
    for one in healed:
        kinds[one.fault].append(one)
    return [
        Line(
            fault,
            len(some),
            median(one.seconds for one in some),
            max(one.seconds for one in some),
            max(one.bound for one in some),
        )
        for fault, some in sorted(kinds.items())
    ]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """One line of a report file."""
    return {
        "seed": outcome.seed,
        "sessions": outcome.sessions,
        "faults": len(outcome.healed),
        "by_kind": {
            line.fault: {
                "count": line.count,
                "median": round(line.median, 2),
                "worst": round(line.worst, 2),
                "bound": line.bound,
            }
            for line in by_kind(outcome.healed)
        },
        "broken": list(outcome.broken),
        "manual_steps": outcome.manual_steps,
        "left_out": list(outcome.left_out),
        "messages": outcome.messages and asdict(outcome.messages),
        "seconds": round(outcome.seconds, 1),
    }
