"""How long the shell of messages waits, and how much it takes. Tests pass less."""

from typing import Final

from msgspec import Struct


class SendTimings(Struct, frozen=True, kw_only=True):
    """Times of the outbox, in seconds."""

    margin: float = 30.0
    """Beyond the waiting and the send itself; supervision has an end of its own well before."""
    reply_margin: float = 5.0
    """Beyond that, for a request that waits for another one's message."""
    keeping: float = 2.0
    """That a reply "not sent" waits for the database to know it."""
    undecided: float = 1.0
    """Until a message is withdrawn again that a transaction may still keep …"""
    undecided_times: int = 60
    """… and how often."""
    retry: float = 1.0
    """Until a session is asked again that was not ready, and a message that did not leave."""
    pause_check: float = 5.0
    """Until it is asked again whether first contacts pause: that may end before its time."""
    longest_rest: float = 60.0
    """For which a first contact that was held is not tried."""
    file_rest: float = 30.0
    """Until the other hosts are asked again for a file that did not come."""
    hope: float = 60.0
    """That a session is waited for; then it is asked again whether there is such a session."""
    polls: tuple[float, ...] = (0.0, 2.0, 10.0, 60.0)
    """Before each question for an outcome that was lost."""
    release: float = 5.0
    """At the release of a session, for what is on its way; then its next owner looks."""
    poll_retry: float = 2.0
    """Until such a question is repeated that could not be asked."""


class SendBounds(Struct, frozen=True, kw_only=True):
    """Bounds of the outbox, at most."""

    waiting: int = 50_000
    """Messages that wait; one takes about 2 kB of memory."""
    kept: int = 1_000
    """Results that are kept in memory for a repetition of their request."""
    watched: int = 1_000
    """Messages without an answer that a late ack resolves in memory, too; it moves the rows of all."""
    chats_at_once: int = 8
    """Chats of a session that are written to at the same time."""


class WebhookTimings(Struct, frozen=True, kw_only=True):
    """Times of the webhooks, in seconds."""

    retry: float = 1.0
    """Until the database is asked again."""
    attempt: float = 30.0
    """For an attempt: the application works within its answer, and does not notice a repetition."""
    connect: float = 10.0
    """For a connection, within that."""
    last_answer: float = 5.0
    """At the end for what is in flight: cut off, it would be repeated."""
    file: float = 10.0
    """For the disk to read a file."""


SEND: Final = SendTimings()
BOUNDS: Final = SendBounds()
WEBHOOK: Final = WebhookTimings()
