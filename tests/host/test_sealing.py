"""What only the holder of the key file reads."""

import pytest

from waguard.host.files.sealing import seal, unseal
from waguard.host.small_file import UnreadableError

KEY, OTHER = bytes(32), bytes([1]) * 32


def test_what_was_sealed_is_read_with_the_same_key_in_the_same_place_alone() -> None:
    sealed = seal(KEY, b"credentials", b"here")
    assert unseal(KEY, sealed, b"here") == b"credentials"
    assert b"credentials" not in sealed
    assert seal(KEY, b"credentials", b"here") != sealed, "each piece has a key of its own"
    changed = bytes([sealed[-1] ^ 1])
    for key, content, about in (
        (OTHER, sealed, b"here"),
        (KEY, sealed, b"there"),
        (KEY, sealed[:-1] + changed, b"here"),
        (KEY, sealed[:20], b"here"),
        (KEY, b"", b"here"),
    ):
        with pytest.raises(UnreadableError):
            unseal(key, content, about)
