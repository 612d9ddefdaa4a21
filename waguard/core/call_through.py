"""Which functions of wa-js may be called through the API: those that read. Pure.

What sends, deletes, logs out or changes would bypass the outbox and the session's lifecycle. What links a phone, asks
whether numbers exist or begins to follow somebody has routes of its own, or is what an account is banned for.
"""

import re
from typing import Final

_NAMESPACES: Final = frozenset(
    {
        *("blocklist", "cart", "catalog", "chat", "community", "conn", "contact", "group"),
        *("labels", "lists", "newsletter", "order", "privacy", "profile", "status"),
    }
)
_READS: Final = re.compile(r"(?:get|is|has|can|iAm)[A-Z]\w*|all|get|list|needsUpdate", re.ASCII)
_ASKS: Final = (
    "it asks WhatsApp whether a number exists: use GET /api/sessions/{session_id}/numbers/{numbers}"
)
_DENIED: Final = {
    "conn.getAuthCode": "it links a phone: use GET /api/sessions/{session_id}/qr",
    "contact.getPnLidEntry": _ASKS,
    "contact.getStatus": _ASKS,
    "chat.getLastSeen": "it follows somebody from then on",
}


def refusal(name: str) -> str | None:
    """Why the function must not be called; None: it reads."""
    namespace, _, function = name.partition(".")
    if why := _DENIED.get(name):
        return why
    if namespace not in _NAMESPACES or not _READS.fullmatch(function):
        return "it is no function of wa-js that only reads"
    return None
