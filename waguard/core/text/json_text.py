"""What a JSON text has in it, found without decoding it. The cost is linear in its length."""

import json
import re
from itertools import accumulate, islice
from typing import Final

Text = bytes | bytearray

VALUES: Final = 100_000  # of objects and arrays; one uses up to a hundred bytes when it is decoded
DEPTH: Final = 64  # nested objects and arrays; encoding recurses
CANDIDATES: Final = 64  # places at which a text may have its key

_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # one without an end, too
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# each character as it is, or escaped
_API_KEY: Final = b"".join(
    b"(?:%c|\\\\u(?i:%04x))" % (character, character) for character in b"api_key"
)
_KEY: Final = re.compile(
    b'"' + _API_KEY + rb'"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.){1,4096}+")', re.DOTALL
)


def excess(text: Text) -> tuple[str, str] | None:
    """Why it is not to be decoded, and the remedy; None: it may be, if it is JSON at all."""
    if _values(text) <= DEPTH:  # nearly every text
        return None
    bare = _without_strings(text)
    if bare is None or _values(bare) > VALUES:
        return "holds too many values", f"send at most {VALUES}"
    # at most VALUES brackets open, and a text ends where all are closed
    brackets = bare.translate(None, _NO_BRACKETS)[: 2 * VALUES]
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > DEPTH:
        return "is nested too deeply", f"nest at most {DEPTH} levels"
    return None


def _without_strings(text: Text) -> bytearray | None:
    """None: the text has more strings than a key for each value allows."""
    bare, end = bytearray(), 0
    for number, string in enumerate(_STRING.finditer(text)):
        if number > 2 * VALUES:
            return None
        bare += text[end : string.start()]
        end = string.end()
    return bare + text[end:]


def _values(text: Text) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def keys(text: Text) -> list[str]:
    """The values of ``api_key`` at any depth. This quick search may return too many, and misses none of the
    first ``CANDIDATES``."""
    found = (_decoded(match[1]) for match in islice(_KEY.finditer(text), CANDIDATES))
    return [one for one in found if one is not None]


def _decoded(string: bytes) -> str | None:
    try:
        return str(json.loads(string))
    except ValueError:
        return None
