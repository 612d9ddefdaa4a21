"""etcd: whether its members are one cluster with a majority, with room, and quick enough for leases."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from waguard.doctor.report import Check, failed, ok, warning

NAME: Final = "etcd"
FULL: Final = 0.8  # of its quota, from which on it has to be compacted soon
SLOW: Final = 0.1  # s for 99 of 100 writes to its disk; etcd itself wants a tenth of it
KEPT: Final = 200_000  # revisions: 20 hosts write as many in 5 hours, and etcd is to keep one
CERTIFICATE: Final = 14.0  # days before its end
_DAY: Final = 86_400.0
_MB: Final = 1 << 20


class Endpoint(Struct, frozen=True, kw_only=True):
    """What an address of ``cluster.endpoints`` answers. ``error``: why there is no answer; then only ``refuses`` says
    more: it wants another login. Sizes are bytes, times seconds; None: it does not say."""

    url: str
    error: str | None = None
    refuses: bool = False
    cluster: str = ""
    member: str = ""
    leader: str = ""
    """Empty: there is none, so it has no majority."""
    size: int = 0
    quota: int | None = None
    slowest: float | None = None
    """99 of 100 writes to its disk take no longer."""
    certificate_ends: float | None = None
    """Unix time."""


class Listed(Struct, frozen=True, kw_only=True):
    """A member as the others know it."""

    member: str
    name: str
    urls: tuple[str, ...]


class Etcd(Struct, frozen=True, kw_only=True):
    """All of them. ``error``: why nobody was asked."""

    error: str | None = None
    endpoints: tuple[Endpoint, ...] = ()
    listed: tuple[Listed, ...] = ()
    alarms: tuple[str, ...] = ()
    compacts: bool | None = None
    """Whether what is older than ``KEPT`` revisions is gone; None: unknown, or it has not so many."""
    may: str | None = None
    """Why the keys of waguard cannot be read; None: they can."""
    is_open: bool = False
    """Whether nobody has to show a login or a certificate."""
    own_certificate_ends: float | None = None
    now: float = 0.0


def etcd(seen: Etcd) -> list[Check]:
    """One check for each fault, else one."""
    return list(_faults(seen)) or [ok(NAME, _healthy(seen))]


def of_owners(seen: Etcd, kept: str) -> list[Check]:
    """Whether it is the etcd that those rely on who own sessions in the database, of which ``kept`` is the id."""
    used = {it.cluster for it in seen.endpoints if it.cluster}
    if not kept or not used or kept in used:
        return []
    return [
        failed(
            NAME,
            f"the hosts that own the sessions in this database have their leases in another etcd (cluster_id {kept}) than"
            f" that of cluster.endpoints ({', '.join(sorted(used))})",
            "Correct cluster.endpoints; where etcd was replaced, end waguard on all other hosts, then accept it here",
            "waguard database accept",
        )
    ]


def _healthy(seen: Etcd) -> str:
    members = f"{len(_living(seen))} of {len(seen.listed) or len(seen.endpoints)} members answer"
    return f"{members}; it wants no login: let only the hosts reach it" if seen.is_open else members


def _faults(seen: Etcd) -> Iterator[Check]:
    if seen.error:
        yield failed(NAME, seen.error, "Correct the files of [cluster]")
        return
    answering = [it for it in seen.endpoints if it.error is None]
    yield from _certificates(seen)
    if not answering:
        yield from _unanswered(seen)
        return
    clusters = defaultdict(list)
    for it in answering:
        clusters[it.cluster].append(it.url)
    if len(clusters) > 1:
        said = "; ".join(f"{', '.join(urls)} ({it})" for it, urls in clusters.items())
        yield failed(
            NAME,
            f"cluster.endpoints names members of different etcd, by their cluster_id: {said}",
            "Name the members of one etcd only, the same on all hosts",
        )
        return
    if seen.may:
        yield failed(
            NAME,
            f"the keys below waguard/ cannot be read: {seen.may}",
            "Give the user of cluster.user_file the right to read and write keys that begin with waguard/",
            "etcdctl role grant-permission waguard readwrite --prefix waguard/",
        )
    yield from _members(seen, answering)
    yield from _room(seen, answering)
    for it in answering:
        if it.slowest is not None and it.slowest > SLOW:
            yield warning(
                NAME,
                f"{it.url}: 1 of 100 writes to its disk takes {it.slowest:g} s or longer: leases are renewed late",
                "Give etcd a quicker disk, or one of its own",
                f"curl -sS {it.url}/metrics | grep _duration_seconds_sum",
            )


def _unanswered(seen: Etcd) -> Iterator[Check]:
    for it in seen.endpoints:
        remedy = "Start etcd, or name its address in cluster.endpoints"
        if it.refuses:
            remedy = "Write a user of etcd, a colon and the password into cluster.user_file"
        yield failed(NAME, f"{it.url}: {it.error}", remedy, f"curl -sS {it.url}/health")


def _living(seen: Etcd) -> set[str]:
    return {it.member for it in seen.endpoints if it.error is None and it.leader}


def _members(seen: Etcd, answering: list[Endpoint]) -> Iterator[Check]:
    living = _living(seen)
    every = len(seen.listed) or len(
        seen.endpoints
    )  # a user with few rights may not ask for the list
    majority = every // 2 + 1
    if len(living) < majority:
        away = [it.url for it in seen.endpoints if not it.leader]
        yield failed(
            NAME,
            f"{len(living)} of {every} members work, and {majority} are needed: no lease is renewed",
            f"Start the others: {', '.join(away) or 'name all of them in cluster.endpoints'}",
            f"curl -sS {(away or [answering[0].url])[0]}/health",
        )
        return
    if every == majority:
        yield warning(
            NAME,
            f"etcd has {every} member{'' if every == 1 else 's'}, and none may be away for longer than the lease: all"
            " sessions would end",
            "Run three, on three machines",
        )
    more = len(living) - majority
    left = f"{len(living)} of {every} do, and {more or 'none'} of them may fail"
    if not seen.listed:
        for it in seen.endpoints:
            if it.error:
                yield _away(it.url, it.url, f"{it.error}; {left}")
        return
    named = {it.url for it in seen.endpoints}
    for one in seen.listed:
        url = one.urls[0] if one.urls else ""
        if one.member in living:
            continue
        if one.urls and named.isdisjoint(one.urls):
            yield warning(
                NAME,
                f"cluster.endpoints does not name member {one.name} ({url}): it is not asked where others fail",
                "Name all members in cluster.endpoints, the same on all hosts",
            )
        else:
            yield _away(f"member {one.name or one.member} ({url or 'never started'})", url, left)


def _away(who: str, url: str, why: str) -> Check:
    return warning(
        NAME,
        f"{who} does not answer: {why}",
        "Start it; where its machine is lost: `etcdctl member remove`, then `member add`",
        f"curl -sS {url}/health" if url else "etcdctl member list",
    )


def _room(seen: Etcd, answering: list[Endpoint]) -> Iterator[Check]:
    urls = ",".join(it.url for it in answering)
    for alarm in seen.alarms:
        yield failed(
            NAME,
            f"etcd's alarm {alarm} is on: it takes no write, so no lease is renewed"
            if alarm == "NOSPACE"
            else f"etcd's alarm {alarm} is on",
            "Compact and defragment it, then `etcdctl alarm disarm`"
            if alarm == "NOSPACE"
            else "Replace the member that is damaged",
            f"etcdctl --endpoints={urls} alarm list",
        )
    for it in answering:
        if it.quota and it.size > FULL * it.quota:
            yield warning(
                NAME,
                f"{it.url} has {it.size / _MB:.0f} of {it.quota / _MB:.0f} MB: when it is full it takes no write",
                "Compact and defragment it, or raise --quota-backend-bytes",
                f"etcdctl --endpoints={it.url} defrag",
            )
    if seen.compacts is False:
        yield warning(
            NAME,
            f"etcd keeps more than {KEPT:,} revisions: nothing compacts it, and it grows with each lease that is"
            " renewed",
            "Start each member with --auto-compaction-retention=1h, as etc/etcd/etcd.default has it",
            "systemctl restart etcd",
        )


def _certificates(seen: Etcd) -> Iterator[Check]:
    ends = {f"the certificate of {it.url}": it.certificate_ends for it in seen.endpoints}
    for name, at in {**ends, "cluster.certificate_file": seen.own_certificate_ends}.items():
        if at is None:
            continue
        days = (at - seen.now) / _DAY
        if days < CERTIFICATE:
            make = failed if days < 0 else warning
            how = f"ended {-days:.0f} days ago" if days < 0 else f"ends in {days:.0f} days"
            yield make(NAME, f"{name} {how}", "Issue a new one, and restart what uses it")
