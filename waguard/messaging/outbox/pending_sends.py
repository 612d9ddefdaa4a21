"""What is known in memory of the messages that are sent, and of which one a request is a repetition."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from waguard.core.messages.repetitions import REPEATED_FOR, Earlier
from waguard.core.messages.send_states import ACTIONS, AT_SERVER, State
from waguard.errors import ConflictError, RefusedError, WaguardError
from waguard.messaging.outbox.commands import Command, kind_of, size_of
from waguard.messaging.outbox.repetitions import fingerprint, identity, repeats
from waguard.ports.outbox import Outgoing, StateUpdate
from waguard.ports.outcomes import UNCERTAIN, Acked, NotSent, Outcome, Refused, Uncertain


class Options(Struct, frozen=True, kw_only=True):
    """How a message is to be sent. ``send_at`` is unix time."""

    key: str | None = None
    """Requests with the same one are the same message."""
    later: bool = False
    """Nobody waits for its outcome; it waits for its session as long as that takes."""
    queue: bool = False
    """Nobody waits for the outcome, where it cannot go now."""
    send_at: float | None = None
    bulk_id: str | None = None
    scope: str = ""
    """What else makes it the same message; the address of its file stands for its content."""
    fetch: Callable[[], Awaitable[Command]] | None = None
    """Gets the message with its file, once it is known that the request is no repetition."""


def _future() -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    # a result that nobody waits for any more is no "exception was never retrieved"
    future.add_done_callback(lambda it: it.cancelled() or it.exception())
    return future


@dataclass(slots=True, eq=False)
class PendingSend:
    """One message. ``stored`` is its id once it is kept, ``done`` its outcome."""

    session_id: str
    workspace_id: int
    chat: str
    chat_key: str
    """The chat, by whatever name it goes: what has the same goes in the order of acceptance."""
    kind: str
    message_id: str
    fingerprint: str
    key: str | None = None
    queued: bool = False
    """Nobody waits for its outcome."""
    may_queue: bool = False
    """The message may wait, where it cannot go now."""
    held: bool = False
    """The message is a first contact, and those paused when it was tried."""
    id: int = 0
    command: Command | None = field(default=None, repr=False)
    """None: it is not kept yet, or is to be read from its row when its turn comes."""
    size: int = 0
    """Bytes of its file, as far as is known."""
    send_at: float | None = None
    expires_at: float | None = None
    bulk_id: str | None = None
    phone: str | None = None
    """Digits of the number that it belongs to; None: to the first one of its session."""
    abandoned: WaguardError | None = None
    """Why it must not wait any more."""
    stored: "asyncio.Future[int]" = field(default_factory=_future)
    done: "asyncio.Future[Outcome]" = field(default_factory=_future)
    waits: "asyncio.Future[None]" = field(default_factory=_future)
    """Done as soon as nobody waits for its outcome any more, for it may wait."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """The command may have left."""
    doubtful: bool = False
    """Whether its row says that it has begun is not known, for the database went away."""
    rests_until: float = 0.0
    """Time of the loop; it is not tried again before."""
    again_after: tuple[int, int] = (0, 0)
    """The newest id that waited when it was last tried in vain, and how many such tries the session has had; zeros: it was
    not tried in vain."""
    owed: StateUpdate | None = None
    """What is to be kept with the news that its reply was written."""
    replies: int = 0
    """That are still to be written."""
    replied: bool = False
    """A reply was written."""
    kept_since: float | None = None
    """When its reply could not be written, or is kept for its key; None: still to be tried."""
    left: bool = False
    """By an earlier run: it may take days until its outcome is known."""
    seen: int | None = None
    """As ``NewMessage`` has it."""
    lost: bool = False
    """Another host owns its session: nothing more of it is sent here, or written but that it was answered."""

    def set_command(self, command: Command) -> None:
        """What is to be sent."""
        self.command, self.kind, self.size = command, kind_of(command), size_of(command)

    @property
    def ident(self) -> tuple[str, ...]:
        """What makes a request the same message."""
        return identity(self.session_id, self.key, self.fingerprint)

    @property
    def name(self) -> tuple[str, str]:
        """What distinguishes it from every other message."""
        return self.session_id, self.message_id

    @property
    def is_action(self) -> bool:
        """Whether it changes a message, and makes none."""
        return self.kind in ACTIONS

    @property
    def reports(self) -> tuple[str, str] | None:
        """The message's name, where the application may have to hear more than the reply has said."""
        if not self.done.done():
            return None
        more = self.queued or isinstance(self.outcome, Acked | Uncertain)
        return self.name if more else None

    @property
    def waited_for(self) -> bool:
        """Whether its outcome is still to come, and somebody wants it."""
        return not self.queued and not self.done.done()

    @property
    def is_awaited(self) -> bool:
        """Whether a request waits for its outcome now."""
        return self.replies > 0 and not self.queued

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None: it has not, or in a bug."""
        if not self.done.done() or self.done.exception():
            return None
        return self.done.result()

    def resolve(self, outcome: Outcome) -> None:
        """Give the message its outcome, which it had, or which turned out later."""
        if self.done.done() and self.lost:
            return
        if self.done.done():
            self.done = _future()
        self.done.set_result(outcome)

    def lose(self, *, under_way: bool) -> None:
        """Whoever waits for it is answered what is certain: where it is kept and has not begun, the session's next
        owner sends it; of one that is ``under_way`` nobody here will know the outcome."""
        self.owed = self.command = None
        if self.stored.done() and not self.done.done():
            if under_way:
                self.resolve(Uncertain())
            else:
                self.queued = True
                if not self.waits.done():
                    self.waits.set_result(None)
        self.lost = True

    def may_have_happened(self) -> bool:
        """A repetition of it must get its result; of any other end it is a second chance."""
        return not self.done.done() or isinstance(self.outcome, Acked | Refused | Uncertain)


class PendingSends:
    """Those that a request could be about; ``clock`` is monotonic. At most ``kept_at_most`` results are kept
    for the same request."""

    def __init__(self, clock: Callable[[], float], *, kept_at_most: int) -> None:
        self._clock = clock
        self._kept_at_most = kept_at_most
        self._known: dict[tuple[str, ...], PendingSend] = {}

    def __len__(self) -> int:
        return len(self._known)

    def under_way(self, session_id: str) -> int:
        """How many requests of a session wait for their outcome."""
        known = self._known.values()
        return sum(it.session_id == session_id and it.waited_for for it in known)

    def same(self, pending: PendingSend) -> PendingSend | None:
        """The message that this one repeats. Raises ``KeyReusedError``."""
        self.forget()
        known = self._known.get(pending.ident)
        if known is None:
            return None
        earlier = Earlier(
            fingerprint=known.fingerprint, may_have_happened=known.may_have_happened()
        )
        return known if repeats(pending.fingerprint, earlier) else None

    def add(self, pending: PendingSend, *, age: float | None = None) -> None:
        """``age``: of one that an earlier run left without a reply."""
        if age is not None:
            pending.kept_since, pending.left = self._clock() - age, True
        self._known[pending.ident] = pending

    def of(self, sessions: Collection[str]) -> list[PendingSend]:
        """Those of some sessions."""
        return [it for it in self._known.values() if it.session_id in sessions]

    def drop(self, pending: PendingSend) -> None:
        """Forget what is no message any more, or was answered, or is another host's."""
        if self._known.get(pending.ident) is pending:
            del self._known[pending.ident]

    def lose(self, pending: PendingSend, *, under_way: bool) -> None:
        """As ``PendingSend.lose``. Once it is kept its row knows of a repetition, and of who has answered it since."""
        pending.lose(under_way=under_way)
        if pending.key is not None or pending.stored.done():
            self.drop(pending)

    def answered(self, pending: PendingSend) -> bool:
        """A reply was written; whether it was the first one for this message."""
        if pending.key is None:
            known = self._known.get(pending.ident)
            if known and known.name == pending.name:  # read from its row again, it is not the same
                self.drop(known)
        else:
            pending.kept_since = self._clock()
        first, pending.replied = not pending.replied, True
        return first

    def unanswered(self, pending: PendingSend) -> None:
        """The reply could not be written: the same request gets this result for a while."""
        pending.kept_since = self._clock()
        self.forget()

    def forget(self) -> None:
        """Results that were kept for too long, and the oldest of too many."""
        kept = sorted(
            (pending.kept_since, ident)
            for ident, pending in self._known.items()
            if pending.kept_since is not None and (pending.left or pending.done.done())
        )
        too_old = self._clock() - REPEATED_FOR
        too_many = len(kept) - self._kept_at_most
        for index, (since, ident) in enumerate(kept):
            if since < too_old or index < too_many:
                del self._known[ident]


def new_message_id(chat: str) -> str:
    """``true_<wid>_<ID>``, as WhatsApp Web makes them."""
    return f"true_{chat}_3EB0{secrets.token_hex(9).upper()}"


def new_pending_send(
    session_id: str, workspace_id: int, command: Command, options: Options
) -> PendingSend:
    """Make a pending send of a message that is not kept yet."""
    return PendingSend(
        session_id=session_id,
        workspace_id=workspace_id,
        chat=command.chat,
        chat_key=command.chat,
        kind=kind_of(command),
        message_id=new_message_id(command.chat),
        fingerprint=fingerprint(session_id, command, options.scope, options.send_at),
        key=options.key,
        queued=options.later or options.send_at is not None,
        may_queue=options.queue,
        size=size_of(command),
        send_at=options.send_at,
        bulk_id=options.bulk_id,
    )


def of_row(row: Outgoing) -> PendingSend:
    """One that was kept before."""
    pending = PendingSend(
        session_id=row.session_id,
        workspace_id=row.workspace_id,
        chat=row.chat,
        chat_key=row.chat,
        kind=row.kind,
        message_id=row.message_id,
        fingerprint=row.fingerprint,
    )
    apply_row(pending, row)
    return pending


def apply_row(pending: PendingSend, row: Outgoing) -> None:
    """What the row says is true of it."""
    pending.id, pending.message_id, pending.key = row.id, row.message_id, row.key
    pending.queued, pending.replied = row.queued, row.answered
    pending.send_at, pending.expires_at = row.send_at, row.expires_at
    pending.bulk_id, pending.phone = row.bulk_id, row.phone
    if row.state is not State.ACCEPTED:
        pending.begun.set()
    if row.state not in {State.ACCEPTED, State.SENDING}:
        pending.resolve(result_of(row))
    pending.stored.set_result(row.id)


def result_of(row: Outgoing) -> Outcome:
    """What the one who sent it was answered, or would have been."""
    if row.state in AT_SERVER:
        at = int(row.updated_at) if row.sent_at is None else row.sent_at
        return Acked(row.message_id, at)
    match row.state:
        case State.REFUSED:
            return Refused(RefusedError(row.error or "WhatsApp refused the message"))
        case State.UNCERTAIN | State.SENDING:
            return Uncertain(row.error or UNCERTAIN)
        case _:
            error = ConflictError(f"it was {row.state}", remedy="send it as a new message")
            return NotSent(error)
