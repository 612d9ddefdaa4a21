"""Whether this host has a way out: default routes and the links that they leave by."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from waguard.policy.network import Reading, shown

_UP: Final = 0x1  # linux/route.h RTF_UP
_REJECT: Final = 0x200  # RTF_REJECT: "unreachable", which is no way out
_NO_LINK: Final = "0"


def read(root: Path = Path("/")) -> Reading:
    """A look at ``root``'s proc and sys, which takes about 0.1 ms and waits for nothing."""
    tables = [_text(root / "proc/net/route"), _text(root / "proc/net/ipv6_route")]
    if tables[0] is None:
        return Reading()
    interfaces = {*_ipv4(tables[0]), *_ipv6(tables[1] or "")} - {"lo"}
    carriers = [_carrier(root / "sys/class/net" / name) for name in interfaces]
    return Reading(route=bool(interfaces), carrier=shown(carriers))


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _carrier(interface: Path) -> bool | None:
    """The kernel refuses the question (EINVAL) while the interface is switched off."""
    said = _text(interface / "carrier")
    return None if said is None else said.strip() != _NO_LINK


def _ipv4(table: str) -> Iterator[str]:
    """Interface, destination, gateway, flags, 3 counters, mask …, in hexadecimal."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and {words[1], words[7]} == {"00000000"} and _is_way(words[3]):  # noqa: PLR2004
            yield words[0]


def _ipv6(table: str) -> Iterator[str]:
    """Destination, its prefix, source, its prefix, next hop, metric, 2 counters, flags, interface."""
    for line in table.splitlines():
        words = line.split()
        if len(words) > 9 and words[1] == "00" and _is_way(words[8]):  # noqa: PLR2004
            yield words[9]


def _is_way(flags: str) -> bool:
    bits = int(flags, 16)
    return bool(bits & _UP) and not bits & _REJECT
