"""What the API is given."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from dataclasses import field as hidden
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web
from msgspec import Struct, field

from waguard.api.auth import Keys
from waguard.api.key_table import IssuedKeys
from waguard.config.sections import Config
from waguard.core.keys import Caller
from waguard.core.lease import HeldElsewhere
from waguard.core.metrics.tally import Tally
from waguard.host.files.media import MediaFolder
from waguard.host.memory.history_file import HistoryFile
from waguard.messaging.deferred_files import DeferredFiles
from waguard.messaging.health import MessageHealth
from waguard.messaging.outbox.bulk import Bulks
from waguard.messaging.outbox.fetch import Fetcher
from waguard.messaging.outbox.outbox import Outbox
from waguard.messaging.outbox.outgoing_files import OutgoingFiles
from waguard.messaging.outbox.voice import Voices
from waguard.messaging.webhooks.webhooks import Webhooks
from waguard.ports.bus import BusEvent
from waguard.ports.logs import LogLevels
from waguard.ports.messages import MessageStore
from waguard.ports.outbox import OutboxStore
from waguard.ports.passkeys import Passkeys
from waguard.ports.proxies import Proxies
from waguard.ports.sessions import Health, Reconciliation, Sessions
from waguard.ports.store import AuditEntry, DatabaseControl, GroupRelease, Store
from waguard.ports.versions import VersionControl

if TYPE_CHECKING:  # one host alone imports nothing of it
    from waguard.core.cluster.forwarded_request import ForwardedRequest
    from waguard.core.issued_keys import IssuedKey
    from waguard.ports.cluster import HostNumbers, Hosts, KeyRows, Ownership


class Events(Protocol):
    """The bus, as far as the API uses it."""

    @property
    def extent(self) -> tuple[int, int]:
        """Which events are known still: those after the first id, up to the second."""

    def subscribe(
        self, last_id: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[BusEvent]]:
        """What happened after ``last_id``, then what happens."""

    def publish(
        self,
        event: str,
        session_id: str | None,
        workspace_id: int | None,
        data: Mapping[str, Any],
    ) -> BusEvent:
        """Notify every listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the API needs where several hosts own the sessions."""

    ownership: "Ownership"
    hosts: "Hosts"
    numbers: "Callable[[], HostNumbers]"
    """Off memory; no I/O."""
    address: str
    """The base URL of this host's API, as the others have it."""
    instance_url: str
    """What webhooks of this host carry as ``X-Instance-Url``; its replies have it, too."""
    key: bytes = hidden(repr=False)
    """What ``cluster.key_file`` holds: hosts sign with it what they forward."""
    start: Callable[[], str]
    """Which start of the daemon this is, as its host's record says."""
    keys: "KeyRows"
    store_left: Callable[[str, int | None, bytes], Awaitable[None]]
    """Stores what another host has received: see ``supervision.cluster.left_events``."""
    asked: Callable[[str], None] = lambda _: None
    """Called with the host that asks this one what a person must act on."""
    digests: Callable[[], Mapping[str, str | None]] = hidden(default=dict, repr=False)
    """Digests of secrets that all hosts have alike, by the keys that name their files."""


class ApiDeps(Struct, frozen=True, kw_only=True):
    """Everything outside the API; ``config`` is read at each use, a reload reaches it."""

    config: Callable[[], Config]
    keys: Keys
    issued_keys: IssuedKeys
    sessions: Sessions
    passkeys: Passkeys
    proxies: Proxies
    reconciler: Reconciliation
    health: Callable[[], Health]
    """Read off memory; no I/O."""
    store: Store
    database: DatabaseControl
    audit: Callable[[AuditEntry], None]
    """Appends to the audit log; never waits."""
    events: Events
    outbox: Outbox
    bulks: Bulks
    fetcher: Fetcher
    outgoing: OutboxStore
    messages: MessageStore
    media: MediaFolder
    outgoing_files: OutgoingFiles
    deferred: DeferredFiles
    webhooks: Webhooks
    message_health: MessageHealth
    history: HistoryFile
    log: LogLevels
    versions: VersionControl
    restored: GroupRelease
    standby: Callable[[], HeldElsewhere | None] = lambda: None
    """Who has the database's lease while this daemon waits for it."""
    voices: Voices = field(default_factory=Voices)
    tally: Tally = field(default_factory=Tally)
    """What was counted since the start."""
    cluster: Cluster | None = None
    """None: there is one host."""
    require_room: Callable[[], None] = lambda: None
    """Raises ``WaguardError`` while new work would end badly."""


class Seals(Protocol):
    """Knows what other hosts forward."""

    def is_one(self, text: str) -> bool:
        """Whether another host has made it within the last minute, for this one."""

    def opened(self, request: web.Request, shown: Sequence[str]) -> "ForwardedRequest | None":
        """What is said of this request in what it shows as its key; None: nothing. Once: a copy of it says nothing. Raises
        ``WaguardError`` where it is sealed for another start of this host."""

    async def carries(self, it: "ForwardedRequest", request: web.Request) -> bool:
        """Whether the request, which was read, carries what was sealed."""


class Confirmations(Protocol):
    """Knows of replies to forwarded sends whether the clients of the other hosts have them."""

    async def decided(self, chat: tuple[str, str]) -> None:
        """Wait until that is known of all replies about a chat of a session that are written; some seconds at most."""

    def expect(
        self, request: web.Request, response: web.Response, chat: tuple[str, str]
    ) -> "asyncio.Future[bool] | None":
        """Whether the client has the reply that is written next; None: nobody else says so."""

    def confirm(self, nonce: str) -> None:
        """The client has the reply to the forwarded request with this nonce."""


class KeySharing(Protocol):
    """Has all hosts accept the same issued keys. ``read`` and ``learn`` raise ``DatabaseUnavailableError``."""

    async def read(self) -> None:
        """Know what the others have made and revoked."""

    async def learn(self) -> None:
        """So, and have the file know it a moment later: whoever waits for this may have others wait for the file."""

    async def announce(self) -> None:
        """Have the others read a key that was made here."""

    async def spread(self, key: "IssuedKey") -> list[str]:
        """Have all refuse a key that was revoked here. The hosts that have not said that they do, and "the database" where
        its table has not said so in a few seconds: it is written later."""

    def end(self, sha256: str, by: str) -> None:
        """Another host has revoked it."""


DEPS = web.AppKey("deps", ApiDeps)
SEALS: web.AppKey[Seals] = web.AppKey("seals", Seals)
ASK_HOSTS: "web.AppKey[Callable[[str], Awaitable[dict[str, Any]]]]" = web.AppKey("ask_hosts")
"""What each other host that lives answers to a GET of this path, by name; None: nothing, or it refuses."""
KEY_SHARING: web.AppKey[KeySharing] = web.AppKey("key_sharing", KeySharing)
CONFIRMATIONS: web.AppKey[Confirmations] = web.AppKey("confirmations", Confirmations)
"""These four only in a cluster."""
BODY = web.RequestKey("body", dict[str, Any])
CALLER = web.RequestKey("caller", Caller)
"""Who has shown a key, or needs none on the local socket."""
BODY_BYTES = web.RequestKey("body_bytes", bytearray)
"""The body as it came, unpacked."""
FORWARDED: "web.RequestKey[ForwardedRequest]" = web.RequestKey("forwarded")
"""What the host says that has forwarded the request."""
ELSEWHERE = web.RequestKey("elsewhere", bool)
"""The request is another host's; whether that one has answered it."""
SESSION = web.RequestKey("session", str)
"""The session that a change concerns, where its path does not name one."""
