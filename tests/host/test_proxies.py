"""The files of sessions' own proxies: written whole, for this user alone, and never taken for nothing."""

import os
from pathlib import Path

import msgspec
import pytest

from waguard.core.proxy import Proxy, parse
from waguard.host.memory import proxies
from waguard.host.memory.proxies import ProxyUnreadableError

PROXY = parse("socks5://proxy.example:1080", "me", "hunter2", mark="m1")
OTHER = parse("http://10.0.0.1:3128", None, None, mark="m2")


def test_a_proxy_comes_back_and_nobody_else_reads_it(tmp_path: Path) -> None:
    assert proxies.read(tmp_path, "s") is None
    proxies.write(tmp_path, "s", None)
    for it in (PROXY, OTHER):
        proxies.write(tmp_path, "s", it)
        assert proxies.read(tmp_path, "s") == it
    path = tmp_path / "proxies/s.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert proxies.files(tmp_path) == [path]
    assert proxies.read(tmp_path, "t") is None
    proxies.write(tmp_path, "s", None)
    assert proxies.read(tmp_path, "s") is None
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"\xff", b"[" * 4_000, b'{"version":1}'),
        proxies.encode("other", PROXY),
        proxies.encode("s", PROXY).replace(b'"version":1', b'"version":2'),
        proxies.encode("s", PROXY).replace(b"socks5", b"hunter2"),
        proxies.encode("s", PROXY) + b" " * proxies.LIMIT,
    ],
)
def test_what_is_damaged_is_not_nothing_and_stays_as_evidence(
    tmp_path: Path, content: bytes
) -> None:
    proxies.write(tmp_path, "s", OTHER)
    path = proxies.path_of(tmp_path, "s")
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(ProxyUnreadableError) as raised:
            proxies.read(tmp_path, "s")
        assert str(path) in raised.value.line()
        assert "hunter2" not in raised.value.line()
    proxies.write(tmp_path, "s", PROXY)
    assert proxies.read(tmp_path, "s") == PROXY
    evidence = path.with_name("s.json.unreadable")
    assert evidence.read_bytes() == content
    proxies.write(tmp_path, "s", None)
    assert list(path.parent.iterdir()) == [evidence]
    evidence.rename(path.with_name("s.json.7.unreadable"))  # see ``small_file.quarantine``
    proxies.write(tmp_path, "s", PROXY)
    proxies.purge(tmp_path, "s")
    assert list(path.parent.iterdir()) == []


def test_a_draft_that_a_killed_daemon_left_goes_with_it(tmp_path: Path) -> None:
    """It has a login, too."""
    path = proxies.path_of(tmp_path, "s")
    others = [path.with_name(it) for it in ("s2.json", "s2.json.new", "s-.json.unreadable")]
    for remove in (proxies.purge, lambda state, it: proxies.write(state, it, None)):
        proxies.write(tmp_path, "s", PROXY)
        for it in (path.with_name("s.json.new"), *others):
            it.write_bytes(path.read_bytes())
        remove(tmp_path, "s")
        assert sorted(path.parent.iterdir()) == sorted(others)


def test_what_lies_in_its_place_is_not_followed_or_waited_for(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    proxies.write(tmp_path, "target", PROXY)
    path = proxies.path_of(tmp_path, "s")
    for make in (Path.mkdir, os.mkfifo, lambda it: it.symlink_to("target.json")):
        with subtests.test(make=make):
            make(path)
            with pytest.raises(ProxyUnreadableError):
                proxies.read(tmp_path, "s")
            proxies.write(tmp_path, "s", None)
            assert proxies.read(tmp_path, "s") is None
    assert proxies.read(tmp_path, "target") == PROXY


def test_a_disk_that_cannot_be_read_or_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "proxies").write_text("no folder")
    with pytest.raises(ProxyUnreadableError):
        proxies.read(tmp_path, "s")
    with pytest.raises(OSError, match=r"Not a directory|cannot be opened"):
        proxies.write(tmp_path, "s", PROXY)
    assert (tmp_path / "proxies").read_text() == "no folder"


@pytest.mark.parametrize("name", ["../s", "a/b", "", ".", "x" * 300, "ü", "a\0"])
def test_a_name_that_the_api_does_not_know_has_no_file(tmp_path: Path, name: str) -> None:
    assert proxies.read(tmp_path, name) is None
    proxies.purge(tmp_path, name)
    with pytest.raises(ValueError, match="no proxy"):
        proxies.write(tmp_path, name, PROXY)
    assert list(tmp_path.iterdir()) == []


def test_a_version_before_would_not_ignore_a_field(tmp_path: Path) -> None:
    """What an earlier waguard wrote is read; see ``VERSION``."""
    earlier = b'{"version":1,"session":"s","mark":"m1","server":"socks5://proxy.example:1080","user":"me","password":"hunter2"}'
    assert proxies.encode("s", PROXY) == earlier
    assert proxies.decode(earlier, "s") == PROXY
    assert isinstance(msgspec.json.decode(earlier), dict)
    assert isinstance(PROXY, Proxy)
