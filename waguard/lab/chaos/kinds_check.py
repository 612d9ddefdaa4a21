"""Whether what is more than a text came whole, and what changes a message happened once. Pure.

That it came, once and in order, is checked as for every message (``message_check``). Excused is what is said
to be unknown: an act that is uncertain, a vote while the page was loaded again.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from waguard.lab.chaos.kinds import Coming

DONE: Final = frozenset({"sent", "delivered", "read"})
NEVER_LEFT: Final = frozenset({"refused", "failed", "cancelled"})

Name = tuple[str, str]
"""A message: its session, and the part of its id that stays where its chat gets another one."""


class Act(NamedTuple):
    """What changes a message; ``target`` is the part of its id that stays."""

    session: str
    target: str
    kind: str
    text: str = ""


class Arrived(Struct, frozen=True, kw_only=True):
    """A message as a webhook has it. ``file``: the SHA-256 of the content in it, "" where there is none."""

    content: Mapping[str, Any]
    people: frozenset[str] = frozenset()
    file: str = ""


class Vote(Struct, frozen=True, kw_only=True):
    """A vote in the poll ``poll``. ``watched``: the page that was there has stayed, and never reported it."""

    poll: Name
    options: tuple[str, ...]
    watched: bool = False


class KindsCheck(Struct, frozen=True, kw_only=True):
    """Everybody's, at the end."""

    coming: Mapping[Name, Coming] = field(default_factory=dict)
    arrived: Mapping[Name, Sequence[Arrived]] = field(default_factory=dict)
    """By each webhook that the application handled."""
    files: Mapping[Name, str] = field(default_factory=dict)
    """The SHA-256 of what ``media.url`` has, or why it has nothing."""
    again: int = 0
    """Files that were not fetched, and asked for once more."""
    votes: Sequence[Vote] = ()
    counted: Sequence[Vote] = ()
    """Votes in waguard's inbox."""
    reported: Sequence[tuple[Name, str]] = ()
    """The poll and the event id of each webhook of a vote."""
    going: Mapping[Name, Mapping[str, Any]] = field(default_factory=dict)
    """What WhatsApp's server must have of what was sent, if it has it."""
    at_server: Mapping[Name, Mapping[str, Any]] = field(default_factory=dict)
    acts: Sequence[tuple[Act, str]] = ()
    """What the application asked for, and the answer that it got."""
    outbox: Sequence[tuple[Act, str]] = ()
    """Acts and their states, in the order of acceptance."""
    acted: Sequence[Act] = ()
    """What WhatsApp's server has of them, in its order for each message."""
    sent_of_acts: Collection[str] = ()
    """Ids of acts of which the application got a ``message_sent``."""
    left: Sequence[str] = ()
    """Files that are no whole ones."""


def broken(check: KindsCheck) -> list[str]:
    """What does not agree, in sentences."""
    return [
        *_whole(check),
        *_votes(check),
        *_sent(check),
        *_acts(check),
        *_order(check),
        *(f"an act was reported as a message: {one}" for one in check.sent_of_acts),
        *(f"a file was left behind: {one}" for one in check.left),
    ]


def kinds(check: KindsCheck) -> Counter[str]:
    """How many came of each kind."""
    return Counter(one.kind for one in check.coming.values())


def states(check: KindsCheck) -> Counter[str]:
    """How many acts ended how; the outbox decides, as it learns more later."""
    said = dict(check.outbox)
    return Counter(said.get(act, answer) for act, answer in check.acts)


def without_page(check: KindsCheck) -> int:
    """How many votes nobody reported."""
    counted = {one.poll for one in check.counted}
    return sum(one.poll not in counted for one in check.votes)


def not_at_server(check: KindsCheck) -> list[Act]:
    """Deletions of which the page said that it did them, and the server never heard: wa-js waits for no answer."""
    return [act for act, state in check.outbox if _is_unheard(act, state, set(check.acted))]


def _is_unheard(act: Act, state: str, acted: Collection[Act]) -> bool:
    return act.kind == "revoke" and state in DONE and act not in acted


def _whole(check: KindsCheck) -> Iterator[str]:
    for name, owed in check.coming.items():
        for arrived in check.arrived.get(name, ()):
            if dict(arrived.content) != dict(owed.content):
                yield f"{_named(name, owed.kind)}: {dict(arrived.content)}, not {dict(owed.content)}"
            if arrived.people != owed.people:
                yield f"{_named(name, owed.kind)}: the people are {sorted(arrived.people)}, not {sorted(owed.people)}"
            if arrived.file not in {"", owed.file}:
                yield f"{_named(name, owed.kind)}: another file came with it"
        if name in check.arrived and owed.file and (found := check.files.get(name)) != owed.file:
            yield f"{_named(name, owed.kind)}: its file is not whole: {found}"


def _votes(check: KindsCheck) -> Iterator[str]:
    owed = {one.poll: one for one in check.votes}
    counts = Counter(one.poll for one in check.counted)
    for one in check.counted:
        if one.poll not in owed or one.options != owed[one.poll].options:
            yield f"{_named(one.poll, 'poll')}: nobody voted {one.options}"
    for poll, vote in owed.items():
        if counts[poll] > 1:
            yield f"{_named(poll, 'poll')}: its vote was counted {counts[poll]} times"
        if not counts[poll] and vote.watched:
            yield f"{_named(poll, 'poll')}: its vote is lost"
        events = {event_id for of, event_id in check.reported if of == poll}
        if len(events) != min(counts[poll], 1):
            yield f"{_named(poll, 'poll')}: its vote came in as {len(events)} events"


def _sent(check: KindsCheck) -> Iterator[str]:
    for name, owed in check.going.items():
        has = check.at_server.get(name)
        if has is None:
            continue
        revoked = {"type"} if has.get("type") == "revoked" else set()
        if wrong := {key for key, value in owed.items() if has.get(key) != value} - revoked:
            yield f"{_named(name, owed['type'])}: the server has other {', '.join(sorted(wrong))}"


def _acts(check: KindsCheck) -> Iterator[str]:
    counts, said, asked = Counter(check.acted), dict(check.outbox), dict(check.acts)
    for act in counts.keys() - asked.keys():
        yield f"{_act(act)}: nobody asked for it"
    for act, answer in check.acts:
        count, state = counts[act], said.get(act, answer)
        if count > 1:
            yield f"{_act(act)} happened {count} times"
        if count == 0 and state in DONE and not _is_unheard(act, state, counts):
            yield f"{_act(act)} is {state}, and the server never heard of it"
        if count == 1 and state in NEVER_LEFT | {"none"}:
            yield f"{_act(act)} is {state}, and it happened"
        if state == "cancelled" and not _is_replaced(act, check.outbox):
            yield f"{_act(act)} is cancelled, and nothing took its place"


def _is_replaced(act: Act, outbox: Sequence[tuple[Act, str]]) -> bool:
    """Whether a newer one of its kind, or a deletion, concerns the same message."""
    order = [one for one, _ in outbox]
    newer = order[order.index(act) + 1 :] if act in order else []
    same = (one for one in newer if (one.session, one.target) == (act.session, act.target))
    return any(one.kind in {act.kind, "revoke"} for one in same)


def _order(check: KindsCheck) -> Iterator[str]:
    """What happened to a message happened in the order of acceptance."""
    accepted = {act: place for place, (act, _) in enumerate(check.outbox)}
    by_message: defaultdict[Name, list[Act]] = defaultdict(list)
    for act in check.acted:
        if act in accepted:
            by_message[act.session, act.target].append(act)
    for acts in by_message.values():
        for before, after in pairwise(acts):
            if accepted[before] > accepted[after]:
                yield f"{_act(before)} overtook {_act(after)}"


def _named(name: Name, kind: object) -> str:
    return f"{name[0]}: {kind} {name[1]}"


def _act(act: Act) -> str:
    return f"{act.session}: {act.kind} “{act.text}” of {act.target}"
