"""Which settings all hosts of a cluster have to have alike, and which hosts have others. Pure.

A session that moves takes nothing of these along: with another receiver or secret its webhooks would be lost or refused,
with another key no host could read its credentials. Values are compared as digests under the shared key: a host's lease
has no secret in it.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from waguard.core.cluster.records import HostRecord

KEY: Final = "cluster.key_file"
_PURPOSE: Final = b"waguard-settings-1"
_DIGITS: Final = 12  # enough for a few hosts; without the key no guess of a secret can be tried
_SHOWN: Final = 3  # hosts


def wajs_of(version: str) -> str:
    """The name of the wa-js in use: compared among hosts of one version of waguard, for an upgrade goes host by host."""
    return f"wa-js of waguard {version}"


def digests(key: bytes, values: Mapping[str, object]) -> Mapping[str, str]:
    """By name; ``key`` is what ``cluster.key_file`` holds."""
    own = hmac.digest(key, _PURPOSE, "sha256")  # the same file encrypts credentials
    named = {KEY: "", **{name: repr(value) for name, value in values.items()}}
    return {
        name: hmac.digest(own, f"{name}\n{value}".encode(), "sha256").hex()[:_DIGITS]
        for name, value in named.items()
    }


def digests_of_secrets(
    key: bytes, secrets: Mapping[str, Iterable[bytes]]
) -> Mapping[str, str | None]:
    """By name, in whichever order a setting has its secrets; None: it has none."""
    named = {name: sorted(values) for name, values in secrets.items()}
    found = digests(key, named)
    return {name: found[name] if values else None for name, values in named.items()}


def differences(own: Mapping[str, str], peers: Iterable[HostRecord]) -> Mapping[str, list[str]]:
    """The hosts that have another value, by its name. What a record does not name is not compared: another version of
    waguard may not know it. Where the shared key differs, nothing else can be compared."""
    found: dict[str, list[str]] = {}
    for it in peers:
        others = [name for name, digest in own.items() if it.settings.get(name, digest) != digest]
        for name in [KEY] if KEY in others else others:
            found.setdefault(name, []).append(it.host)
    return found


def is_everybodys(key: bytes, peers: Iterable[HostRecord]) -> bool:
    """Whether no living host has another ``cluster.key_file`` than this one, as far as they say."""
    return not differences(digests(key, {}), (it for it in peers if it.alive))


def difference_words(found: Mapping[str, list[str]]) -> str | None:
    """None: there is none."""
    parts = []
    for name, hosts in sorted(found.items()):
        some = sorted(hosts)
        more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
        verb = "has" if len(some) == 1 else "have"
        what = name if " " in name else f"`{name}`"
        parts.append(f"{', '.join(some[:_SHOWN])}{more} {verb} another {what} than this host")
    return "; ".join(parts) or None
