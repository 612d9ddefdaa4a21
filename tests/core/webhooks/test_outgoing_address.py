"""Who may be called by a webhook."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waguard.core.outgoing_address import encoded, refusal, url_refusal

NEVER = (
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "not an address",
)
PRIVATE = (
    "127.0.0.1",
    "127.8.9.1",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "fd12::1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "240.0.0.1",
)
PUBLIC = ("93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_refused_even_where_private_ones_are_allowed(address: str) -> None:
    assert refusal(address, allow_private=True)
    assert refusal(address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_only_where_the_configuration_says_so(address: str) -> None:
    assert refusal(address, allow_private=True) is None
    assert "allow_private" in (refusal(address, allow_private=False) or "")


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_allowed(address: str) -> None:
    assert refusal(address, allow_private=False) is None


@given(st.ip_addresses(v=4))
def test_an_address_is_the_same_in_its_ipv6_dress(address: ipaddress.IPv4Address) -> None:
    for allow in (True, False):
        plain = refusal(str(address), allow_private=allow)
        assert bool(refusal(f"::ffff:{address}", allow_private=allow)) == bool(plain)
        assert bool(refusal(f"64:ff9b::{address}", allow_private=allow)) == bool(plain)


@given(st.ip_addresses())
def test_whoever_may_be_called_without_leave_may_be_with_it(address: object) -> None:
    if refusal(str(address), allow_private=False) is None:
        assert refusal(str(address), allow_private=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/",
        "file:///etc/passwd",
        "http:///hook",
        "http://",
        "host/hook",
        "",
        "http://h:0/",
        "http://h:99999/",
        "http://[::1/",
        "http://a b/",
        "http://h/\n",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://h/" + "x" * 2_000,
        "http://a..b/",
        "http://.a/",
        "http://./",
        "http://..localhost/",
        f"http://{'a' * 64}.example/",
        "http://a." + "\u00e9" * 63 + "/",
    ],
)
def test_what_is_no_address_for_a_webhook(url: str) -> None:
    assert url_refusal(url, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://LOCALHOST.:80/",
        "http://a.localhost/",
        "http://127.0.0.1:8000/h",
    ],
)
def test_this_machine_is_allowed_only_as_a_private_address(url: str) -> None:
    assert url_refusal(url, allow_private=True) is None
    assert url_refusal(url, allow_private=False)


@pytest.mark.parametrize("host", ["a" * 63, "a.b.", "a_b", "a-.\u00e9", "[2606:2800:220:1::1]"])
def test_a_name_that_can_be_resolved(host: str) -> None:
    assert url_refusal(f"http://{host}/", allow_private=False) is None


def test_a_name_is_checked_when_it_is_resolved() -> None:
    assert url_refusal("https://app.example/hook?x=1", allow_private=False) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example/my pic.png", "http://a.example/my%20pic.png"),
        (" https://a.example/a%20b?c=d e#f g\n", "https://a.example/a%20b?c=d%20e#f%20g"),
        ("http://a.example?b c", "http://a.example?b%20c"),
        ("http://a b/c d", "http://a b/c%20d"),
        ("http://a b", "http://a b"),
        ("http://a.example/a\tb\nc", "http://a.example/a\tb\nc"),
        ("a b", "a b"),
    ],
)
def test_spaces_are_encoded_where_they_cannot_change_the_host(url: str, expected: str) -> None:
    assert encoded(url) == expected
