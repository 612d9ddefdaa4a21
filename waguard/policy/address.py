"""Which addresses may be called that others name. Pure: a name is judged again when it is resolved."""

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URL_LIMIT: Final = 2_000  # characters

# where clouds hand out credentials to whoever asks from the machine itself; most of them are
# link-local, these are not: Azure, Oracle, Alibaba, AWS by IPv6
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254"))
)
_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


@lru_cache(maxsize=1_024)  # each webhook asks for one of a few
def url_refusal(url: str, *, allow_private: bool) -> str | None:
    """Why ``url`` may not be called, as far as it shows without a look-up; None: it may."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port  # the port raises above 65535
    except ValueError:
        return "it is no address"
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return "it is no http or https address"
    if len(url) > URL_LIMIT or not url.isprintable() or any(c.isspace() for c in url):
        return "it is too long or has a character that belongs in no address"
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return refusal("127.0.0.1", allow_private=allow_private)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return refusal(host, allow_private=allow_private)


def refusal(address: str, *, allow_private: bool) -> str | None:
    """Why a connection to this IP address is refused; None: it may be made."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "it is no IP address"
    return _judge(found, allow_private=allow_private)


def _judge(address: Address, *, allow_private: bool) -> str | None:
    for inner in _inside(address):
        if why := _judge(inner, allow_private=allow_private):
            return why
    if address in _METADATA or address.is_link_local:
        return "it is a link-local or metadata address"
    if address.is_unspecified or (address.version == 4 and address in _THIS_NETWORK):  # noqa: PLR2004 - IPv4
        return "it is an unspecified address"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "it is a multicast or broadcast address"
    # all that is not for the whole Internet: loopback, private, shared (RFC 6598), reserved
    if not allow_private and not address.is_global and not _inside(address):
        return "it is a private address (allow_private)"
    return None


def _inside(address: Address) -> tuple[Address, ...]:
    """The IPv4 address that an IPv6 one leads to: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()
