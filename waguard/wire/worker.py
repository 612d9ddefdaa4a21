"""How a worker is started, and how it is known: its spec on stdin, its record on the disk."""

from msgspec import Struct

from waguard.core.messages.received_media import MEDIA_LIMIT
from waguard.core.proxy import Proxy
from waguard.wire.bounds import Word


class LogSettings(Struct, frozen=True, kw_only=True):
    """What a worker logs, and how it looks; as ``[log]`` has it."""

    level: Word = "INFO"
    format: Word = "auto"


class StoredDocument(Struct, frozen=True, kw_only=True):
    """WhatsApp Web's index document of an earlier load, to be served instead of the network's."""

    revision: int
    """WhatsApp's number of that version; the page's own is compared with it."""
    path: str
    """The document's file in the store: an absolute path."""


class WorkerSpec(Struct, frozen=True, kw_only=True):
    """All that a worker gets at its start (on stdin, as JSON)."""

    instance: str
    session: str
    generation: int
    workspace: int
    profile: str
    """The Chromium profile: an absolute path."""
    snapshots: str
    """Where copies of this session's credentials lie: an absolute path."""
    quarantine: str
    """Where a damaged profile is moved to: an absolute path."""
    snapshot_interval: float
    """Seconds between two copies of a connected session."""
    cache_limit: int
    """Bytes of Chromium's caches, above which they are emptied at a start."""
    socket: str
    """Unix socket to listen on: an absolute path, at most 107 bytes."""
    record: str
    """Where to write the worker's record: an absolute path."""
    temporary: str
    """A folder for Chromium's own temporary files; its path is short."""
    url: str
    wajs: str | None
    """wa-js to inject; None: the packed one, whose sha256 is checked."""
    wajs_sha256: str | None = None
    """In hex; checked before ``wajs`` is injected. None: an operator named that file, it is not checked."""
    document: StoredDocument | None = None
    """What to serve as WhatsApp's page; None: what the network serves."""
    documents: str | None = None
    """The folder to keep documents of new versions in: an absolute path; None: none is kept."""
    presence: str = ""
    """"unavailable": the page says so after each load, and its phone notifies; "": what the page does by itself."""
    left_out: tuple[str, ...] = ()
    """How the ids of chats end of which nothing is reported."""
    inline_limit: int = MEDIA_LIMIT
    """Bytes of a file that comes with its message; a larger one is deferred."""
    file_limit: int = MEDIA_LIMIT
    """Bytes of a file that is taken at all."""
    executable: str | None
    flavour: str
    extra_args: tuple[str, ...]
    launch_timeout: float
    orphan_grace: float
    heartbeat: float
    heartbeats: str | None = None
    """The file with the slots of all workers: an absolute path. None: heartbeats are sent."""
    slot: int = 0
    """The number of the worker's slot in it."""
    sandbox: bool = True
    """Chromium's own."""
    proxy: Proxy | None = None
    """The session's own, with its login; None: the host's own way."""
    log: LogSettings = LogSettings()
    lent_until: float | None = None
    """As ``Lend`` has it, until the first one comes."""
    waits: bool = False
    """Start Chromium only when the daemon says so (``StartBrowser``)."""

    def marks(self) -> dict[str, str]:
        """Environment variables by which the worker and its browser are known."""
        return {
            "WAGUARD_INSTANCE": self.instance,
            "WAGUARD_SESSION": self.session,
            "WAGUARD_GENERATION": str(self.generation),
            "WAGUARD_RECORD": self.record,
        }


class WorkerRecord(Struct, frozen=True, kw_only=True):
    """``<runtime>/workers/<key>.json``: how a worker is known, also to the next daemon."""

    pid: int
    start_time: int
    """Clock ticks since boot: field 22 of /proc/PID/stat."""
    boot_id: str
    instance: str
    session: str
    generation: int
    profile: str
    socket: str
    protocol: int = 1
    """``PROTOCOL`` of the worker; the first version did not write it."""
