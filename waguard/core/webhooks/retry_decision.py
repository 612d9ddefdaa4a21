"""What follows from the answer to one attempt: done, tried again, looked up again, or a dead letter. Pure."""

from msgspec import Struct

from waguard.core.backoff import backoff
from waguard.core.replace import replace
from waguard.core.webhooks.delivery import SERVER_ERROR, TOO_MANY, Answer, Cause
from waguard.core.webhooks.pending import Key
from waguard.core.webhooks.receiver import Receiver, other
from waguard.core.webhooks.retry_policy import DeliveryPolicy, given_up

# s; a receiver that served another partition so shortly before works, as far as can be known
RIGHT_AFTER = 5.0
RELAPSES = (
    5  # refusals right after others were served, which separate a bad message from a bad spell
)
RELAPSE_PAUSE = 30.0  # s between two that count
SERVED_EACH = 5
"""Others that are served for each one that is refused: those are refused for their own sake. A receiver that
is away every now and then refuses more of them."""
# refusals that concern the request as it is: they do not pass by themselves, and harm nobody soon
_OF_THE_REQUEST = range(400, SERVER_ERROR)
_MAY_PASS = frozenset({401, 403, 404, 405, 408, 425, TOO_MANY})

OWN_FAULTS = (Cause.UNSTORED, Cause.REFUSED)


class Head(Struct, frozen=True, kw_only=True):
    """What is known about the first webhook of a partition since this daemon tries it."""

    refusals: int = 0
    """Since ``spell`` began."""
    spell: int = -1
    """``Receiver.spells`` when it was refused last."""
    refused_since: float = 0.0
    """Monotonic: the first of these refusals."""
    separate: int = 0
    """How many of them are ``least_refused`` apart, and others were served between each two: as many spells of
    the receiver's would explain them."""
    separate_at: float = 0.0
    """Monotonic: the last of those."""
    relapses: int = 0
    """How often it was refused right after another partition had been served."""
    relapsed_at: float | None = None
    """Monotonic: the last of these refusals that was counted."""
    served_before: int = 0
    """``Receiver.served`` when it was refused first; ``stored_count`` where it was accepted."""
    refused_before: int = 0
    """``Receiver.refused_count`` then, with it."""
    by_itself: Cause | None = None
    """The webhook is refused for its own sake, and what kind of refusal that is: this says nothing about the receiver, and
    excuses no other one. An earlier daemon may have seen that."""
    own_refusals: int = 0
    """How many of the last refusals, in a row, may have been for its own sake, all of one kind."""
    own_since: float = float("-inf")
    """Monotonic: the first of these; an earlier daemon may have seen it."""
    lookups: int = 0
    """How often it was looked for since its request got no complete reply."""
    unstored: bool = False
    """The webhook was accepted, and not stored."""
    lookup_first: bool = False
    """An earlier daemon may have delivered it."""


class Delivered(Struct, frozen=True):
    """The receiver has it. ``listed``: why a person should check it all the same."""

    listed: str | None = None


class Retry(Struct, frozen=True):
    """Try again after ``delay`` seconds; ``everyone``: no other delivery either until then.

    ``asked``: not sooner, whatever others answer: the receiver named the time itself, or it is a bug of waguard's.
    """

    delay: float
    everyone: bool = False
    asked: bool = False


class LookupAgain(Struct, frozen=True):
    """The receiver may still store it: look for it, and send it again only when it is not there by then."""


class Dead(Struct, frozen=True):
    """The webhook is a dead letter: not tried again until a person says so."""

    why: str
    cause: Cause = Cause.REFUSED


Decision = Delivered | Retry | LookupAgain | Dead


class Tried(Struct, frozen=True, kw_only=True):
    """The attempt that was answered. ``head`` counts the refusal, ``attempt`` (from 1) the attempt;
    ``at``: now,
    ``since``: since when it is tried, both monotonic; ``expired``: that is longer ago than ``give_up_after``,
    ``long``: than ``only_chat``, of time in which a daemon lived."""

    key: Key
    head: Head
    attempt: int
    at: float
    since: float
    expired: bool
    long: bool


def decide(
    policy: DeliveryPolicy, receiver: Receiver, tried: Tried, answer: Answer, *, jitter: float
) -> Decision:
    """``receiver`` knows of this answer. ``jitter`` is uniform in [0, 1)."""
    if answer.delivered:
        wrong = answer.status is not None and not answer.accepted
        return Delivered(
            f"stored, {answer.summary()}: check its file, if it has one" if wrong else None
        )
    if answer.refused:
        return Dead(answer.summary())
    if tried.expired:
        return Dead(given_up(policy, tried.attempt, answer.summary()), Cause.EXPIRED)
    if answer.may_still_work:
        return LookupAgain()
    if answer.status == TOO_MANY:
        asked = answer.retry_after
        quiet = policy.too_many_pause if asked is None else _bounded(policy, asked)
        return Retry(quiet, everyone=True, asked=True)
    if dead := _own_fault(policy, receiver, tried, answer):
        return dead
    if answer.bug:
        ceiling = backoff(policy.base_delay, tried.attempt - 1, longest=policy.max_bug_delay)
        return Retry(ceiling * jitter, asked=True)
    if answer.retry_after is not None:
        return Retry(_bounded(policy, answer.retry_after), asked=True)
    return Retry(_delay(policy, tried, answer, jitter))


def counted(
    policy: DeliveryPolicy, receiver: Receiver, head: Head, key: Key, answer: Answer, *, at: float
) -> Head:
    """After one more refusal (monotonic time), of which ``receiver`` does not know yet."""
    unstored = answer.accepted
    served = other(receiver.stored if unstored else receiver.worked, key)
    apart = head.relapsed_at is None or at - head.relapsed_at >= RELAPSE_PAUSE
    if served is not None and at - served <= RIGHT_AFTER and apart:
        head = replace(head, relapses=head.relapses + 1, relapsed_at=at)
    head = _counted_own(_compared(head, receiver, answer), answer, at)
    if head.spell < 0 or (head.spell != receiver.spells and not is_its_own(head, answer)):
        head = replace(head, refusals=0, spell=receiver.spells, refused_since=at, separate=0)
    long = at - head.separate_at >= policy.least_refused
    if not head.separate or (long and _since(served, head.separate_at)):
        head = replace(head, separate=head.separate + 1, separate_at=at)
    return replace(head, refusals=head.refusals + 1, unstored=unstored)


def _counted_own(head: Head, answer: Answer, at: float) -> Head:
    """A refusal of another kind, or one that says nothing of the message, begins a new count."""
    if not _may_be_its_own(answer):
        return replace(head, own_refusals=0)
    if head.own_refusals and head.unstored == answer.accepted:
        return replace(head, own_refusals=head.own_refusals + 1)
    return replace(head, own_refusals=1, own_since=at)


def _compared(head: Head, receiver: Receiver, answer: Answer) -> Head:
    """With those that were served, and refused, since it was refused first."""
    count = receiver.stored_count if answer.accepted else receiver.served
    if head.spell < 0 or head.unstored != answer.accepted:
        others = receiver.refused_count + (head.spell < 0)
        return replace(head, served_before=count, refused_before=others)
    refused = receiver.refused_count - head.refused_before
    if count - head.served_before < SERVED_EACH * (1 + refused) or not _may_be_its_own(answer):
        return head
    return replace(head, by_itself=_cause(answer))


def is_its_own(head: Head, answer: Answer) -> bool:
    """Whether this refusal is for the sake of the message."""
    return _may_be_its_own(answer) and head.by_itself is _cause(answer)


def _may_be_its_own(answer: Answer) -> bool:
    """A receiver that is in trouble refuses otherwise, and for a while everybody."""
    return answer.accepted or _is_final(answer)


def _cause(answer: Answer) -> Cause:
    return Cause.UNSTORED if answer.accepted else Cause.REFUSED


def _own_fault(
    policy: DeliveryPolicy, receiver: Receiver, tried: Tried, answer: Answer
) -> Dead | None:
    unstored, head, own = answer.accepted, tried.head, is_its_own(tried.head, answer)
    alike = any(key != tried.key for key in receiver.refused)
    served = other(receiver.stored if unstored else receiver.worked, tried.key)
    if tried.long and (_since(served, tried.since) or (answer.status is not None and not alike)):
        minutes = policy.only_chat / 60
        return Dead(f"{answer.summary()}; tried for {minutes:g} min", Cause.EXPIRED)
    if answer.status is None:  # without any answer it is the receiver's, whoever else is there
        return None
    enough = len(policy.unstored_pauses) + 1 if unstored else policy.refusals
    tries = head.refusals if _may_be_its_own(answer) else head.separate
    tries = head.own_refusals if own else tries
    alone = (own or _since(served, head.refused_since)) and not alike and tries >= enough
    again = head.relapses >= RELAPSES
    if (again or alone) and (not unstored or _lasts(policy, tried, own=own)):
        return Dead(f"{answer.summary()}; other chats were served meanwhile", _cause(answer))
    return None


def _lasts(policy: DeliveryPolicy, tried: Tried, *, own: bool) -> bool:
    """Whether it is not stored for so long that no spell of the receiver's explains it."""
    since = max(tried.since, tried.head.own_since) if own else tried.since
    return tried.at - since >= sum(policy.unstored_pauses)


def _is_final(answer: Answer) -> bool:
    """Whether it is about the request as it is: that does not pass by itself."""
    return answer.status in _OF_THE_REQUEST and answer.status not in _MAY_PASS


def _since(served: float | None, then: float) -> bool:
    return served is not None and served >= then


def _bounded(policy: DeliveryPolicy, asked: float) -> float:
    return min(max(asked, 0.0), policy.longest_retry_after)


def _delay(policy: DeliveryPolicy, tried: Tried, answer: Answer, jitter: float) -> float:
    n = tried.head.refusals - 1
    if answer.accepted:
        return _nth(policy.unstored_pauses, n)
    ceiling = backoff(policy.base_delay, tried.attempt - 1, longest=policy.max_delay)
    if _is_final(answer):
        return ceiling * jitter
    return ceiling * jitter if n == 0 else max(ceiling * jitter, _nth(policy.refused_pauses, n - 1))


def _nth(pauses: tuple[float, ...], n: int) -> float:
    return pauses[min(n, len(pauses) - 1)]
