"""The key that Chromium is told to trust: for one run, or for all of one file."""

from pathlib import Path

import pytest

from waguard.errors import WaguardError
from waguard.lab.standin.certificate import make_certificate

HOST = "web.whatsapp.com"


def test_a_key_file_keeps_the_pin_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state/standin.key"
    first = make_certificate(HOST, key_file=path)[1]
    assert make_certificate(HOST, key_file=path)[1] == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_without_a_file_each_run_has_its_own() -> None:
    assert make_certificate(HOST)[1] != make_certificate(HOST)[1]


@pytest.mark.parametrize("content", [b"", b"half a k"])
def test_a_file_that_holds_no_key_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "standin.key"
    path.write_bytes(content)
    with pytest.raises(WaguardError, match=r"standin\.key"):
        make_certificate(HOST, key_file=path)
    assert path.read_bytes() == content
