"""Hosts' leases in etcd, by its JSON gateway: one key for each host, changed by compare-and-set on its revision.

Reads are linearizable, as etcd's are by default: a member that is cut off from the others does not answer them.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec

from waguard.cluster.etcd_gateway import Gateway, Login, unavailable
from waguard.cluster.record_format import decode, encode
from waguard.config.sections import Cluster
from waguard.core.cluster.records import Found, HostRecord
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.ownership import require_private
from waguard.host.small_file import UnreadableError

DEADLINE: Final = 1.4  # s for a call, with all endpoints that it tries; a keeper waits for 1.5 s
IDLE: Final = 3.0  # s without a change, when some host should have renewed its lease


class _KeyValue(msgspec.Struct):
    key: bytes
    mod_revision: int
    value: bytes = b""


class _Header(msgspec.Struct):
    revision: int = 0


class _Range(msgspec.Struct):
    header: _Header
    kvs: list[_KeyValue] = []


class _Response(msgspec.Struct):
    response_range: _Range | None = None


class _Txn(msgspec.Struct):
    header: _Header
    succeeded: bool = False
    responses: list[_Response] = []


class _Event(msgspec.Struct):
    kv: _KeyValue
    type: str = "PUT"


class _Watched(msgspec.Struct):
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: list[_Event] = []


class _WatchLine(msgspec.Struct):
    result: _Watched | None = None
    error: Any = None


class EtcdLeases:
    """Fills ``ports.cluster.HostLeases``. ``installation``: whose the database is, so that several clusters may use one
    etcd; ``deadline`` and ``idle`` are seconds. Nothing is connected before the first call."""

    def __init__(
        self,
        endpoints: Sequence[str],
        installation: str,
        *,
        tls: ssl.SSLContext | None = None,
        login: Login | None = None,
        deadline: float = DEADLINE,
        idle: float = IDLE,
    ) -> None:
        self._gateway = Gateway(endpoints, tls=tls, login=login, deadline=deadline)
        self._folder = f"waguard/{installation}/hosts/".encode()
        # all keys that begin with it: the last byte counted up is the first that does not
        end = self._folder[:-1] + bytes([self._folder[-1] + 1])
        self._every = {"key": self._folder, "range_end": end}
        self._idle = idle

    async def read(self, host: str) -> Found | None:
        """See ``ports.cluster.HostLeases``."""
        found, _ = await self._gateway.call("kv/range", {"key": self._key(host)}, _Range)
        return self._found(found.kvs[0]) if found.kvs else None

    async def hosts(self) -> Sequence[Found]:
        """See ``ports.cluster.HostLeases``."""
        return [self._found(it) for it in (await self._all()).kvs]

    async def put(self, record: HostRecord, revision: int) -> int | None:
        """See ``ports.cluster.HostLeases``."""
        key, value = self._key(record.host), encode(record)
        txn = {
            "compare": [_has(key, revision)],
            "success": [{"request_put": {"key": key, "value": value}}],
            "failure": [{"request_range": {"key": key}}],
        }
        answer, repeated = await self._gateway.call("kv/txn", txn, _Txn)
        if answer.succeeded:
            return answer.header.revision
        kept = [kv for it in answer.responses if it.response_range for kv in it.response_range.kvs]
        if repeated and kept and kept[0].value == value:
            return kept[0].mod_revision  # an earlier try was written, and its answer was lost
        return None

    async def delete(self, host: str, revision: int) -> bool:
        """See ``ports.cluster.HostLeases``."""
        key = self._key(host)
        txn = {
            "compare": [_has(key, revision)],
            "success": [{"request_delete_range": {"key": key}}],
            "failure": [{"request_range": {"key": key}}],
        }
        answer, repeated = await self._gateway.call("kv/txn", txn, _Txn)
        left = any(it.response_range and it.response_range.kvs for it in answer.responses)
        # an earlier try may have done it, and its answer was lost
        return answer.succeeded or (repeated and not left)

    async def changes(self) -> AsyncIterator[Sequence[Found]]:
        """See ``ports.cluster.HostLeases``."""
        first = await self._all()
        hosts = {it.key: it for it in first.kvs}
        yield [self._found(it) for it in hosts.values()]
        reported, written = first.header.revision, 0
        async with aclosing(self._events(reported + 1)) as watched:
            async for events in watched:
                if not events:
                    # a watch has no heartbeat: one that hangs looks as if nobody renewed a lease any more
                    if written > reported:
                        raise unavailable("its watch does not report what was written")
                    written = max((it.mod_revision for it in (await self._all()).kvs), default=0)
                    continue
                reported = events[-1].kv.mod_revision
                for event in events:
                    if event.type == "DELETE":
                        hosts.pop(event.kv.key, None)
                    else:
                        hosts[event.kv.key] = event.kv
                yield [self._found(it) for it in hosts.values()]

    @property
    def cluster(self) -> str:
        """The id of this etcd, which no other one has; empty: it has not answered yet."""
        return self._gateway.cluster

    async def close(self) -> None:
        """See ``ports.cluster.HostLeases``."""
        await self._gateway.close()

    def _key(self, host: str) -> bytes:
        return self._folder + host.encode()

    def _found(self, it: _KeyValue) -> Found:
        host = it.key.removeprefix(self._folder).decode(errors="replace")
        return Found(decode(it.value, host), it.mod_revision)

    async def _all(self) -> _Range:
        found, _ = await self._gateway.call("kv/range", self._every, _Range)
        return found

    async def _events(self, revision: int) -> AsyncGenerator[Sequence[_Event]]:
        """What changes from ``revision`` on; nothing: nothing came for a while."""
        wanted = {"create_request": {**self._every, "start_revision": revision}}
        watch = self._gateway.lines("watch", wanted, idle=self._idle)
        async with aclosing(watch) as answer:
            async for lines in answer:
                if not lines:
                    yield ()
                for line in lines:
                    if events := _watched(line).events:
                        yield events


def _has(key: bytes, revision: int) -> dict[str, Any]:
    """What a transaction compares: the revision of a key that is not there is 0."""
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision}


def _watched(line: bytes) -> _Watched:
    """Raises ``EngineUnavailableError`` where the watch is over."""
    try:
        said = msgspec.json.decode(line, type=_WatchLine, strict=False)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise unavailable(f"what it reports is not etcd's: {error}") from error
    if said.result is None:
        raise unavailable(f"it ended the watch: {said.error}")
    if said.result.compact_revision:
        raise unavailable("the changes since the last read were compacted")
    if said.result.canceled:
        raise unavailable(f"it ended the watch: {said.result.cancel_reason}")
    return said.result


def connect(cluster: Cluster, installation: str) -> EtcdLeases:
    """As it is configured; its files are read now, once. Raises ``ConfigError``."""
    return EtcdLeases(cluster.endpoints, installation, tls=tls_of(cluster), login=login_of(cluster))


def tls_of(cluster: Cluster) -> ssl.SSLContext | None:
    """How its members are known, and this host to them. Raises ``ConfigError``."""
    if not any(one.startswith("https://") for one in cluster.endpoints):
        return None
    field, path = "cluster.ca_file", cluster.ca_file
    try:
        context = ssl.create_default_context(cafile=path)
        if cluster.certificate_file is not None and cluster.private_key_file is not None:
            require_private("cluster.private_key_file", cluster.private_key_file)
            field, path = "cluster.certificate_file", cluster.certificate_file
            context.load_cert_chain(path, cluster.private_key_file, password=_no_password)
    except OSError as error:  # also ssl.SSLError
        why = error.strerror or str(error)
        remedy = "name files in PEM that this user can read, and the key of this certificate"
        raise ConfigError(f"{path}: {why}", field=field, value=str(path), remedy=remedy) from None
    return context


def _no_password() -> str:
    """An encrypted key would be asked for at the terminal."""
    return ""


def login_of(cluster: Cluster) -> Login | None:
    """Read who waguard is to etcd, of ``cluster.user_file``. Raises ``ConfigError``."""
    path = cluster.user_file
    if path is None:
        return None
    require_private("cluster.user_file", path)
    try:
        first = small_file.read(path, named=True).decode().partition("\n")[0].strip()
    except (OSError, UnreadableError, UnicodeError) as error:
        why = f"{path} cannot be read: {error}"
    else:
        user, colon, password = first.partition(":")
        if user and colon and password:
            return Login(user, password)
        why = f"the first line of {path} is not user:password"
    remedy = "write etcd's user, a colon and the password into its first line"
    raise ConfigError(why, field="cluster.user_file", value=str(path), remedy=remedy)
