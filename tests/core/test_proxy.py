"""How a proxy is written and named."""

import pytest

from waguard.core.proxy import parse, same

LOGIN = ("me", "hunter2 ü:@/")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
@pytest.mark.parametrize(
    "host", ["proxy.example", "10.0.0.1", "[2001:db8::1]", "a_1.-b.", "a." * 126 + "a", "a" * 63]
)
def test_a_proxy_is_named_without_its_login(scheme: str, host: str) -> None:
    server = f"{scheme}://{host}:3128"
    it = parse(f"{server}/", *LOGIN, mark="m")
    assert (it.server, it.user, it.password) == (server, *LOGIN)
    assert repr(it) == server, "as logs and errors would show it"
    assert parse(it.server, *LOGIN, mark="m") == it
    assert same(it, parse(server.upper().lower(), *LOGIN, mark="other"))
    assert not same(it, parse(server, "me", "another", mark="m"))
    assert not same(it, None)
    assert same(None, None)


@pytest.mark.parametrize(
    ("server", "user", "password", "words"),
    [
        ("http://me:hunter2@proxy:3128", None, None, "it has a login"),
        ("http://@proxy:3128", None, None, "it has a login"),
        ("proxy:3128", None, None, "it begins with none of"),
        ("socks4://proxy:1080", None, None, "it begins with none of"),
        ("", None, None, "it begins with none of"),
        ("http://proxy", None, None, "it names no host and port"),
        ("http://:3128", None, None, "it names no host and port"),
        ("http://proxy:0", None, None, "it names no host and port"),
        ("http://proxy:65536", None, None, "it is no address"),
        ("http://[::1:3128", None, None, "it is no address"),
        ("http://pro\nxy:3128", None, None, "it is no address"),
        ("http://pro xy:3128", None, None, "its host is no name"),
        ("http://próxy:3128", None, None, "its host is no name"),
        ("http://pro..xy:3128", None, None, "its host is no name"),
        ("http://a..b:3128", None, None, "its host is no name"),
        ("https://.proxy:3128", None, None, "its host is no name"),
        ("http://.:3128", None, None, "its host is no name"),
        (f"socks5://{'a' * 64}.example:1080", None, None, "its host is no name"),
        (f"socks5://{'a.' * 126}aa:1080", None, None, "its host is no name"),
        ("http://proxy:3128/path", None, None, "more than a host and a port"),
        ("http://proxy:3128?a", None, None, "more than a host and a port"),
        ("http://proxy:3128", None, "hunter2", "it has a password and no user"),
        ("http://proxy:3128", "m:e", "hunter2", "its user has a colon"),
        ("http://proxy:3128", "me", "hunter2\r\nHost: x", "printable"),
        ("socks5://proxy:3128", "ü" * 128, "hunter2", "1 to 255"),
        ("socks5://proxy:3128", "me", "hunter2\ud800", "its login is no text"),
    ],
)
def test_what_cannot_be_used_is_said_without_quoting_it(
    server: str, user: str | None, password: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        parse(server, user, password, mark="m")
    assert "hunter2" not in str(raised.value)
    assert "proxy:3128" not in str(raised.value)
