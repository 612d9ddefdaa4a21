"""What makes two requests the same message, and the refusal of a key that was used for another one.

``core.messages.repetitions`` has the rule.
"""

import hashlib

from waguard.core.messages.repetitions import Earlier, Relation, relation
from waguard.errors import WaguardError
from waguard.messaging.outbox.commands import Command, body_of
from waguard.wire.calls import SendMedia


class KeyReusedError(WaguardError):
    """The idempotency key belongs to another message."""

    status = 422

    def __init__(self) -> None:
        super().__init__(
            "the key was used for another message",
            field="idempotency_key",
            remedy="use a new key for each message; a repetition has the same body",
        )


def repeats(fingerprint: str, earlier: Earlier) -> bool:
    """Whether a request with this ``fingerprint`` repeats the earlier one. Raises ``KeyReusedError``."""
    found = relation(fingerprint, earlier)
    if found is Relation.KEY_REUSED:
        raise KeyReusedError
    return found is Relation.REPETITION


def identity(session_id: str, key: str | None, fingerprint: str) -> tuple[str, ...]:
    """What an earlier request must have for this one to be about the same message."""
    return ("same", fingerprint) if key is None else ("key", session_id, key)


def fingerprint(
    session_id: str, command: Command, scope: str = "", send_at: float | None = None
) -> str:
    """A digest of what makes two messages the same; at another time it is another one."""
    content = command.content if isinstance(command, SendMedia) and not scope else scope.encode()
    due = () if send_at is None else (repr(send_at).encode(),)
    digest = hashlib.sha256()
    for part in (session_id.encode(), body_of(command), content, *due):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
