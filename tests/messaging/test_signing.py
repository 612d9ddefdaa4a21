"""Where the secrets come from."""

from pathlib import Path

import pytest

from waguard.errors import ConfigError
from waguard.messaging.webhooks.signing import read_secrets


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"one", (b"one",)),
        (b"  one \n", (b"one",)),
        (b"new\r\nold\r\n", (b"new", b"old")),
        (b"\n\nnew\n\n old\n", (b"new", b"old")),
        (b"with a space in it\n", (b"with a space in it",)),
        (b" \n", ()),
    ],
)
def test_one_secret_a_line(tmp_path: Path, content: bytes, wanted: tuple[bytes, ...]) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_secrets(path) == wanted
    assert read_secrets(None) == ()


def test_a_secret_that_others_can_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("one")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users") as caught:
        read_secrets(path)
    assert caught.value.remedy == f"chmod 600 {path}"


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secrets(path)
    path.write_text("sesame1\nsesame2\nsesame3\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        read_secrets(path)
    assert "sesame" not in caught.value.line()
    assert caught.value.field == "webhook.secret_file"
