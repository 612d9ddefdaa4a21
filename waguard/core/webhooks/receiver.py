"""What the answers so far say about one receiver: does it work, and whose fault is a refusal. Pure.

One message that is refused while other chats are served is refused for its own sake. What is refused
alike, whatever it is, is the receiver's fault: its circuit opens, everything waits, and the heads of
different chats are tried in turn. Refusals from before it worked again count against nobody.
"""

from msgspec import Struct

from waguard.core.replace import replace
from waguard.core.webhooks import circuit as circuits
from waguard.core.webhooks.circuit import CLOSED, Circuit, CircuitPolicy
from waguard.core.webhooks.delivery import Answer
from waguard.core.webhooks.pending import Key


class Success(Struct, frozen=True):
    """A delivery of this partition worked. ``at``: monotonic seconds."""

    key: Key
    at: float


class Receiver(Struct, frozen=True, kw_only=True):
    """``failing_since``: unix time since which no attempt worked; None: the last one did."""

    circuit: Circuit = CLOSED
    failing_since: float | None = None
    error: str = ""
    """The error of the last failure."""
    advice: str = ""
    """What that means, where everything is refused so."""
    refused: tuple[Key, ...] = ()
    """Partitions, two at most, that were refused since the last success, and not for their own sake."""
    served: int = 0
    """Deliveries that worked."""
    stored_count: int = 0
    """Those of them that were seen in the receiver's table."""
    refused_count: int = 0
    """Webhooks that were refused, however often."""
    unstored: bool = False
    """The last failure was a 2xx, and the message was not stored."""
    worked: tuple[Success, ...] = ()
    """The newest successes of two different partitions."""
    stored: tuple[Success, ...] = ()
    """The newest such successes of messages that were seen in the receiver's table."""
    spells: int = 0
    """How often it refused everything alike, and then worked again."""

    @property
    def refuses_alike(self) -> bool:
        """Whether more than one partition was refused since it last worked."""
        return len(self.refused) > 1


def succeeded(receiver: Receiver, key: Key, *, at: float, stored: bool = False) -> Receiver:
    """After a delivery that worked; ``stored``: it was seen in the receiver's table."""
    closed = circuits.worked(receiver.circuit, now=at)
    success = Success(key, at)
    return Receiver(
        circuit=closed,
        worked=_newest(receiver.worked, success),
        stored=_newest(receiver.stored, success) if stored else receiver.stored,
        spells=receiver.spells + receiver.refuses_alike,
        served=receiver.served + 1,
        stored_count=receiver.stored_count + stored,
        refused_count=receiver.refused_count,
    )


def failed(  # noqa: PLR0913 - what a refusal says, each by its name
    policy: CircuitPolicy,
    receiver: Receiver,
    key: Key,
    answer: Answer,
    *,
    at: float,
    wall: float,
    jitter: float,
    first: bool = True,
    own: bool = False,
) -> Receiver:
    """After a delivery that did not. One partition alone opens no circuit while another one is known to work.
    ``first``: of this webhook; ``own``: it is refused for its own sake."""
    refused = tuple(it for it in receiver.refused if it != key)
    if not own:
        refused = receiver.refused if key in receiver.refused else (*refused, key)[:2]
    circuit = receiver.circuit
    if len(refused) > 1 or other(receiver.worked, key) is None or circuit.opened_until is not None:
        circuit = circuits.failed(
            policy, circuit, now=at, jitter=jitter, answers=answer.status is not None
        )
    return replace(
        receiver,
        circuit=circuit,
        failing_since=wall if receiver.failing_since is None else receiver.failing_since,
        error=answer.summary(),
        advice=advice_on(answer),
        refused=refused,
        refused_count=receiver.refused_count + first,
        unstored=receiver.unstored if own else answer.accepted,
    )


def replaced(receiver: Receiver) -> Receiver:
    """Another one at its place: what the first one refused says nothing of this one, and counts against nobody."""
    return Receiver(
        spells=receiver.spells + 1,
        served=receiver.served,
        stored_count=receiver.stored_count,
        refused_count=receiver.refused_count,
    )


def quiet(receiver: Receiver, *, until: float) -> Receiver:
    """The receiver asks for a pause (monotonic time)."""
    return replace(receiver, circuit=circuits.quiet(receiver.circuit, until=until))


def other(successes: tuple[Success, ...], key: Key) -> float | None:
    """When another partition worked last (monotonic); None: none has."""
    return max((it.at for it in successes if it.key != key), default=None)


def advice_on(answer: Answer) -> str:
    """What a receiver that answers everybody so is in need of; "": it may just be away."""
    match answer.status:
        case None:
            return ""
        case 401 | 403:
            return (
                "its secret is not that of webhook.secret_file, or one of the two clocks is wrong"
            )
        case 404 | 405:
            return "webhook.url is not its route"
        case int(status) if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            return "is it installed? webhook.url has to name where it leads, or its installation has to be ended"
        case _ if answer.accepted:
            return "it answers 2xx and stores nothing: can it write its database?"
        case _:
            return "its own log says why"


def _newest(known: tuple[Success, ...], success: Success) -> tuple[Success, ...]:
    """Keep the newest of two partitions: with it, whichever asks finds another one."""
    return (success, *[it for it in known if it.key != success.key][:1])
