"""What has to be the same on all hosts and that nobody may see: its digest, which only holders of the shared key can
compare with a guess. Pure."""

import hmac
from collections.abc import Iterable
from typing import Final

_PURPOSE: Final = b"waguard-alike-1"
_SHOWN: Final = 16  # hexadecimal digits: enough for a few hosts, and no check of a guessed secret offline without the key


def digest(field: str, secrets: Iterable[bytes], key: bytes) -> str | None:
    """A digest of all secrets of a setting, in any order; None: it has none. ``key``: what ``cluster.key_file`` holds."""
    own = hmac.digest(key, _PURPOSE, "sha256")  # the same file encrypts credentials
    each = sorted(hmac.digest(own, secret, "sha256") for secret in secrets)
    if not each:
        return None
    return hmac.digest(own, field.encode() + b"".join(each), "sha256").hex()[:_SHOWN]
