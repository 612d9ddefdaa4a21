"""Which Chromium switches of the configuration are allowed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

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
WITHOUT_SANDBOX: Final = frozenset(
    {
        "no-sandbox",
        "disable-setuid-sandbox",
        "disable-namespace-sandbox",
        "disable-seccomp-filter-sandbox",
        "no-zygote-sandbox",
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """``why`` follows the argument, ``remedy`` is what to do."""

    why: str
    remedy: str


def parse(argument: str) -> tuple[str, str]:
    """A switch as name and value; Chromium takes one dash for two, and drops spaces around."""
    name, _, value = argument.strip().lstrip("-").partition("=")
    return name.strip(), value


def refusal(argument: str, *, sandbox: bool) -> Refusal | None:
    """Why Chromium is not started with this argument; None: it is allowed."""
    name, _ = parse(argument)
    if not argument.strip().startswith("-") or not name or "\0" in argument:
        return Refusal("it is not a switch", "write it as --name or --name=value")
    if name in REFUSED:
        return Refusal(REFUSED[name], f"remove --{name}")
    if sandbox and name in WITHOUT_SANDBOX:
        return Refusal(
            "a page that breaks out of Chromium would have the rights of this user",
            f"remove --{name}, or set browser.sandbox = false too",
        )
    return None
