"""The hosts of a cluster: whether each reaches the others, and has what all must have alike."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from msgspec import Struct, field

from waguard.core.cluster.forwarded_request import MOST_OFF
from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning

NAME: Final = "hosts"
OFF: Final = 10.0  # s between two clocks: a third of what the hosts forgive each other
_SYNC: Final = "timedatectl set-ntp true"


class Host(Struct, frozen=True, kw_only=True):
    """A living host, asked from here at the address that it names to the others. ``status`` None: no answer."""

    host: str
    address: str
    here: bool = False
    status: int | None = None
    error: str | None = None
    ahead: float | None = None
    """Seconds that its clock is ahead of this one's; a date has whole ones only."""
    answers: str = ""
    """The name of the host that answers there."""
    version: str = ""
    public_url: str = ""
    public_is_loopback: bool = False
    """And the hosts are on several machines."""
    digests: Mapping[str, str | None] = field(default_factory=dict)
    """Digests of secrets, by the keys that name their files."""


def hosts(seen: Sequence[Host] | None, cli: Cli) -> list[Check]:
    """One check for each fault, else one. ``seen`` None: the daemon here does not say which there are."""
    if seen is None:
        return [skipped(NAME, "no daemon here says which hosts there are")]
    answering = [it for it in seen if it.status == HTTPStatus.OK and it.answers == it.host]
    faults = [
        *(check for it in seen for check in _reached(it)),
        *_versions(answering, cli),
        *_secrets(answering),
        *_public(answering),
    ]
    names = ", ".join(it.host for it in seen)
    return faults or [ok(NAME, f"{names}: each answers here, and what must be alike is")]


def _reached(it: Host) -> Iterator[Check]:
    who = f"{it.host} ({it.address})"
    asked = f"curl -sS -i {it.address}/health"
    if it.status is None:
        yield failed(
            NAME,
            f"{who} cannot be reached from here: {it.error}",
            "See that cluster.address of that host is its own, and that these hosts are let in there",
            asked,
        )
        return
    late = it.ahead is not None and abs(it.ahead) > MOST_OFF
    if it.ahead is not None and abs(it.ahead) > OFF:
        more = f": above {MOST_OFF:g} s no host takes what another one forwards"
        make = failed if late else warning
        yield make(
            NAME,
            f"the clock of {who} is {abs(it.ahead):.0f} s {'ahead of' if it.ahead > 0 else 'behind'} this one's{more}",
            "Synchronize both clocks",
            _SYNC,
        )
    if it.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        if not late:
            yield failed(
                NAME,
                f"{who} does not know what this host seals: cluster.key_file is not the same on both",
                "Copy cluster.key_file of one host to all others, and restart them",
                "sha256sum /etc/waguard/shared-key",
            )
    elif it.status != HTTPStatus.OK:
        yield warning(
            NAME,
            f"{who} answers {it.status} when it is asked what it has alike: it may be of another version",
            "Upgrade all hosts to the same waguard",
            asked,
        )
    elif it.answers != it.host:
        yield failed(
            NAME,
            f"{who}: {it.answers} answers there",
            "Set cluster.address to each host's own address: not one that moves, or that all have",
            asked,
        )


def _versions(answering: Sequence[Host], cli: Cli) -> Iterator[Check]:
    by = defaultdict(list)
    for it in answering:
        by[it.version].append(it.host)
    if len(by) > 1:
        said = "; ".join(f"{', '.join(names)}: {version}" for version, names in by.items())
        yield warning(
            NAME, f"hosts have different versions: {said}", "Upgrade the others", cli("hosts")
        )


def _secrets(answering: Sequence[Host]) -> Iterator[Check]:
    here = next((it for it in answering if it.here), None)
    if here is None:
        return
    for key, digest in here.digests.items():
        other = [it.host for it in answering if it.digests.get(key, digest) != digest]
        if other:
            yield failed(
                NAME,
                f"{key} is not the same on {', '.join(other)} as here: who is accepted by one host is refused by another",
                f"Copy the file of one host to the others, and reload them: {key}",
                "systemctl reload waguard",
            )


def _public(answering: Sequence[Host]) -> Iterator[Check]:
    by = defaultdict(list)
    for it in answering:
        by[it.public_url].append(it.host)
        if it.public_is_loopback and len(answering) > 1:
            yield failed(
                NAME,
                f"webhooks of {it.host} name {it.public_url}, which is each machine itself",
                "Set api.public_url of that host to its own address",
            )
    for url, names in by.items():
        if len(names) > 1:
            yield failed(
                NAME,
                f"webhooks of {' and '.join(names)} name the same address {url}: the application calls back where the"
                " session is not",
                "Set api.public_url to each host's own address",
            )
