"""Which addresses waguard may call when somebody else names them. Pure: a name is checked again when it is
resolved."""

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from yarl import URL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

URL_LIMIT: Final = 2_000  # characters
PATH_LIMIT: Final = 64  # characters, of a redirect's path in a log
LABEL_LIMIT: Final = 63  # characters between two dots of a name (RFC 1035, 2.3.4)

# where clouds hand out credentials to whoever asks from the machine itself; most of them are
# link-local, these are not: Azure, Oracle, Alibaba; by IPv6 AWS, Google, Oracle, Scaleway
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            *("168.63.129.16", "192.0.0.192", "100.100.100.200"),
            *("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"),
        ),
    )
)
ODD: Final = "it is too long or has a character that belongs in no address"
_AFTER_HOST: Final = re.compile(r"(\w+://[^/?#]*)(.*)", re.DOTALL)
_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")
# an IPv4 address in their last 32 bits: NAT64, the one for a network's own use, "compatible" (RFC 4291)
_IPV4_LAST: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
_ISATAP: Final = 0x5EFE  # RFC 5214: before the IPv4 address; 0x0200 is the bit "globally unique"
_ISATAP_UNIQUE: Final = 0x0200_5EFE
_UNICAST: Final = ipaddress.ip_network("2000::/3")  # all that IANA has given out so far


@lru_cache(maxsize=1_024)  # each webhook asks for one of a few
def url_refusal(url: str, *, allow_private: bool) -> str | None:
    """Why ``url`` may not be called, as far as it shows without a look-up; None: it may."""
    if len(url) > URL_LIMIT or not url.isprintable() or any(c.isspace() for c in url):
        return ODD
    try:
        parts = _parsed(url)
        host = parts.raw_host or ""
    except ValueError:  # also for a port above 65535, and for half a surrogate pair
        return "it is not an address"
    escaped = "%" in host and ":" not in host  # only before the zone of an IPv6 address
    if parts.scheme not in {"http", "https"} or not host or escaped or parts.port == 0:
        return "it is not an http or https address"
    name = host.rstrip(".")
    if ":" not in name and any(not 0 < len(part) <= LABEL_LIMIT for part in name.split(".")):
        # IDNA refuses it: instead of searching it up a resolver raises an error of the encoding
        return f"a part of its host name is empty or longer than {LABEL_LIMIT} characters"
    if name == "localhost" or name.endswith(".localhost"):
        return refusal("127.0.0.1", allow_private=allow_private)
    if ":" in name or name.rpartition(".")[2].isdigit():  # no top-level domain is a number
        return refusal(name, allow_private=allow_private)
    return None


def encoded(url: str) -> str:
    """Without blanks at its ends, and with those behind its host as %20: many programs write and take them so."""
    found = _AFTER_HOST.fullmatch(url := url.strip())
    return found[1] + found[2].replace(" ", "%20") if found else url


def has_user(url: str) -> bool:
    """Whether an address that is one names a user or a password."""
    parts = _parsed(url)
    return parts.raw_user is not None or parts.raw_password is not None


def _parsed(url: str) -> "URL":
    """As the HTTP client reads it: it turns other scripts' digits, dots and letters into ASCII.
    Otherwise one address would be checked and another one called."""
    from yarl import URL  # noqa: PLC0415 - 17 ms that a start without webhooks does not pay

    return URL(url)


@lru_cache(maxsize=1_024)  # as above
def refusal(address: str, *, allow_private: bool) -> str | None:
    """Why a connection to this IP address is refused; None: it may be made."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "it is not an IP address"
    return _check(found, allow_private=allow_private)


def _check(address: Address, *, allow_private: bool) -> str | None:
    for inner in _inside(address):
        if why := _check(inner, allow_private=allow_private):
            return why
    if address in _METADATA or address.is_link_local:
        return "it is a link-local or metadata address"
    if address.is_unspecified or (address.version == 4 and address in _THIS_NETWORK):  # noqa: PLR2004 - IPv4
        return "it is an unspecified address"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "it is a multicast or broadcast address"
    if not allow_private and not _inside(address) and not _is_public(address):
        return "it is a private address (allow_private)"
    return None


def _is_public(address: Address) -> bool:
    """For the whole Internet: not loopback, private, shared (RFC 6598), site-local, reserved."""
    return address.is_global and (isinstance(address, ipaddress.IPv4Address) or address in _UNICAST)


def _inside(address: Address) -> tuple[Address, ...]:
    """The IPv4 address that an IPv6 one leads to: mapped, compatible, 6to4, Teredo, NAT64, ISATAP."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    number = int(address)
    in_last = any(address in network for network in _IPV4_LAST) and number > 1  # not :: and ::1
    if in_last or (number >> 32) & 0xFFFF_FFFF in {_ISATAP, _ISATAP_UNIQUE}:
        return (ipaddress.IPv4Address(number & 0xFFFF_FFFF),)
    return ()


def path_of(location: str) -> str:
    """Where a redirect leads on its host, for a person to read: no query, nothing but plain characters."""
    if not location:
        return ""
    try:
        path = urlsplit(location).path
    except ValueError:
        return ""
    return path[:PATH_LIMIT] if re.fullmatch(r"[A-Za-z0-9_/.~-]*", path) else ""
