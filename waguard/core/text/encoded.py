"""Values as JSON, for receivers of webhooks, and to know how large they are. Pure."""

import json

import msgspec


def encoded(value: object) -> bytes:
    """The value as JSON, whatever it has in it."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError):
        # half a surrogate pair, or a bug: a damaged text is better than none
        return json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace")
