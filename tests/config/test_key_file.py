"""A host that others can reach needs safe keys of its user's own."""

from pathlib import Path
from typing import Final

import pytest

from tests.config.configured import loaded, refusal
from waguard.config.addresses import is_loopback
from waguard.config.key_file import GENERATED_KEY_MARK, KEY_LENGTH

LONG_KEY: Final = "k" * KEY_LENGTH


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_key_of_ones_own(host: str) -> None:
    assert is_loopback(host)
    assert loaded(f"[api]\nhost = '{host}'").api.host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.1", "localhost."]
)
def test_anything_else_does(host: str, folder: Path) -> None:
    assert not is_loopback(host)
    error = refusal(f"[api]\nhost = '{host}'")
    assert error.field == "api.host"
    assert str(folder / "state/api-key") in error.line()
    assert str(KEY_LENGTH) in error.line()


@pytest.mark.parametrize(
    ("keys", "enough"),
    [
        (f"{LONG_KEY}\n", True),
        (f"# ours\n\n  {LONG_KEY}  \n{LONG_KEY}2\n", True),
        (f"{LONG_KEY}\r\n", True),
        (f"{GENERATED_KEY_MARK}\n{LONG_KEY}\n", False),
        (f"{GENERATED_KEY_MARK}\r\n{LONG_KEY}\r\n", False),
        (LONG_KEY[1:], False),
        (f"{LONG_KEY}\nsecret\n", False),
        ("  # a comment that is long enough to be a key\n", False),
        ("", False),
        (b"\xff" * 40, False),
    ],
)
def test_every_key_of_ones_own_must_be_safe(keys: str | bytes, enough: bool) -> None:  # noqa: FBT001  # a column of the table
    Path("state").mkdir()
    Path("state/api-key").write_bytes(keys if isinstance(keys, bytes) else keys.encode())
    open_to_all = "[api]\nhost = '0.0.0.0'"
    if enough:
        assert loaded(open_to_all).api.host == "0.0.0.0"
    else:
        assert refusal(open_to_all).field == "api.host"
