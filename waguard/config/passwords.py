"""Addresses and the passwords in them: none is shown."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

HAS_PASSWORD: Final = re.compile(r"://[^/]*@")
# greedy: a password may hold anything, and of what is behind it rather too much is left out
_PASSWORDS: Final = re.compile(
    r"(://[^/:@]*:).*(?=@)|([?&]\w*(?i:pass|secret|token|key)\w*=)[^&\s]*"
)


def without_passwords(text: str) -> str:
    """For people: addresses without the passwords in them."""
    return _PASSWORDS.sub(lambda found: f"{found[1] or found[2]}***", text)


def passwords(url: str) -> tuple[str, ...]:
    """The password of an address, as it is written there and as it is; () where it has none."""
    written = urlsplit(url).password
    return (written, unquote(written)) if written else ()
