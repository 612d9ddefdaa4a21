"""Which Chromium switches of the configuration are allowed. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

_PORT: Final = "any local user could take the session over through a port"
_PIPE: Final = "the browser is driven through a pipe of the worker's"
_CERTIFICATES: Final = "somebody in the network could impersonate WhatsApp"
REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "remote-debugging-port": _PORT,
        "remote-debugging-address": _PORT,
        "remote-debugging-targets": _PORT,
        "remote-debugging-socket-name": _PIPE,
        "remote-debugging-io-pipes": _PIPE,
        "remote-debugging-pipe": _PIPE,
        "remote-allow-origins": _PIPE,
        "user-data-dir": "the session's profile is the worker's to choose",
        "single-process": "a crash of the page would take the browser and unsaved storage with it",
        "disable-web-security": "any page could read WhatsApp's",
        "disable-site-isolation-trials": "any page could read WhatsApp's memory",
        "allow-running-insecure-content": _CERTIFICATES,
        "ignore-certificate-errors": _CERTIFICATES,
        "allow-insecure-localhost": _CERTIFICATES,
    }
)
_KEYS_TRUSTED: Final = "ignore-certificate-errors-spki-list"
_NOWHERE_ELSE: Final = "MAP * ~NOTFOUND"
"""The end of resolver rules by which Chromium reaches nothing but what they name: so the stand-in is tried."""
_PROXY: Final = "proxy-server"
OF_PROXIES: Final = frozenset(
    {_PROXY, "no-proxy-server", "proxy-pac-url", "proxy-auto-detect", "proxy-bypass-list"}
)
"""Switches about the way of all sessions; one with a proxy of its own has none of them."""
WITHOUT_SANDBOX: Final = frozenset(
    {
        "no-sandbox",
        "disable-setuid-sandbox",
        "disable-namespace-sandbox",
        "disable-seccomp-filter-sandbox",
        "no-zygote-sandbox",
    }
)


class Refusal(Struct, frozen=True):
    """``why`` follows the argument, ``remedy`` is what to do."""

    why: str
    remedy: str


def parse(argument: str) -> tuple[str, str]:
    """A switch as name and value; Chromium takes one dash for two, and drops spaces around."""
    name, _, value = argument.strip().lstrip("-").partition("=")
    return name.strip(), value


def shown(argument: str) -> str:
    """For people: without a proxy's login."""
    name, value = parse(argument)
    return f"--{name}=…" if name == _PROXY and "@" in value else argument


def refusal(argument: str, *, sandbox: bool, beside: Iterable[str] = ()) -> Refusal | None:
    """Why Chromium is not started with this argument, ``beside`` these; None: it is allowed."""
    name, value = parse(argument)
    if not argument.strip().startswith("-") or not name or "\0" in argument:
        return Refusal("it is not a switch", "write it as --name or --name=value")
    if name in REFUSED:
        return Refusal(REFUSED[name], f"remove --{name}")
    if name == _KEYS_TRUSTED and not any(_leads_nowhere_else(it) for it in beside):
        return Refusal(f"{_CERTIFICATES}, with a key of that list", f"remove --{name}")
    if name == _PROXY and "@" in value:
        return Refusal(
            "Chromium takes no login for a proxy from there, and reaches nothing",
            "give each session its `proxy`, with username and password (`waguard sessions proxy NAME --set SERVER`), or name"
            " one without a login",
        )
    if sandbox and name in WITHOUT_SANDBOX:
        return Refusal(
            "a page that breaks out of Chromium would have the rights of this user",
            f"remove --{name}, or set browser.sandbox = false too",
        )
    return None


def _leads_nowhere_else(argument: str) -> bool:
    name, value = parse(argument)
    return name == "host-resolver-rules" and _NOWHERE_ELSE in value
