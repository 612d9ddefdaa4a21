"""The sections of the configuration: each key with its type and its default, in one place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from waguard.config.bounds import (
    Bytes,
    Count,
    Delay,
    FileSize,
    HostLease,
    Inline,
    LeaseMargin,
    Limit,
    LongSeconds,
    Percent,
    Port,
    Rate,
    Seconds,
    SentinelInterval,
    Share,
    Size,
)
from waguard.core.versions.version_rules import Mode, VersionRules
from waguard.core.webhooks.delivery import OLD_SERVICE


class Reloadable(msgspec.Struct, frozen=True, kw_only=True):
    """A section that a running daemon takes over from a configuration that is read again."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """Where the HTTP API listens, which keys it takes, and what others call it by."""

    host: str = "127.0.0.1"
    port: Port = 3001
    public_url: str | None = None
    key_file: Path = Path("state/api-key")
    keyless_loopback: bool = False


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Folders; all are created 0700."""

    sessions: Path = Path("sessions")
    runtime: Path = Path("run")
    state: Path = Path("state")


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """SQLAlchemy URL with an async driver, and what encrypts the credentials that hosts share through it."""

    url: str = ""
    key_file: Path | None = None


class Lease(Reloadable, frozen=True, kw_only=True):
    """For how much longer than ``worker.orphan_grace`` no other daemon takes the database over, and whether a second
    daemon waits for that."""

    margin: LeaseMargin = 15.0
    standby: bool = False


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Where the leases of several hosts are that share the sessions, and what this host is to the others. With
    ``engine`` "none" nothing else here has an effect."""

    engine: Literal["none", "etcd", "database"] = "none"
    endpoints: tuple[str, ...] = ()
    ca_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    user_file: Path | None = None
    host: str = ""
    """Never empty where there is an engine."""
    address: str = ""
    lease: HostLease | None = None
    key_file: Path | None = None
    max_sessions: Limit = 0

    @property
    def lasts(self) -> float:
        """Seconds that a host's lease is valid without a renewal. A database takes longer to be restarted or to fail
        over than three etcd."""
        return self.lease or (60.0 if self.engine == "database" else 10.0)

    @property
    def secret_files(self) -> Mapping[str, Path]:
        """Files that nobody else may read, by the keys that name them; none without an engine."""
        keys = ("key_file", "private_key_file", "user_file") if self.engine != "none" else ()
        named = {f"cluster.{key}": getattr(self, key) for key in keys}
        return {key: path for key, path in named.items() if path is not None}


class Browser(Reloadable, frozen=True, kw_only=True):
    """Which Chromium, and what more it is given."""

    executable: str | None = None
    flavour: Literal["chromium", "headless-shell"] = "chromium"
    extra_args: tuple[str, ...] = ()
    launch_timeout: Seconds = 30.0
    sandbox: bool = True
    keep_previous: bool = False


class WhatsApp(Reloadable, frozen=True, kw_only=True):
    """The page, the script injected into it and what the API may call of it, and what to do when another client takes over."""

    url: str = "https://web.whatsapp.com/"
    wajs: Path | None = None
    on_conflict: Literal["park", "takeover"] = "park"
    passkey_extension: str = ""
    presence: Literal["", "unavailable"] = ""
    call_through: tuple[str, ...] = ()


class Versions(Reloadable, frozen=True, kw_only=True):
    """Which version of WhatsApp Web sessions get. ``core/versions/version_rules.py`` has the reasons."""

    mode: Mode = "react"
    good_after: Seconds = 1800.0
    well_for: Seconds = 60.0
    trial_limit: Seconds = 600.0
    pause: Seconds = 900.0
    canary_after: Seconds = 3600.0
    canary_for: Seconds = 1800.0


class Restore(Reloadable, frozen=True, kw_only=True):
    """Bringing sessions up when the daemon starts."""

    timeout: Seconds = 25.0
    concurrency: Count = 2


class Admission(Reloadable, frozen=True, kw_only=True):
    """What the host must have left before a session starts; memory in MB, pressure in percent."""

    session_memory: Size = 200
    memory_reserve: Size = 300
    memory_pressure: Percent = 20.0


class Fleet(Reloadable, frozen=True, kw_only=True):
    """When more than ``threshold`` of the sessions fail alike, restarts wait for a canary."""

    threshold: Share = 0.5
    minimum: Count = 3
    network: Literal["auto", "off"] = "auto"


class Worker(Reloadable, frozen=True, kw_only=True):
    """The worker processes; ``memory_limit`` in MB with their browsers, 0: none."""

    orphan_grace: Delay = 60.0
    measure_interval: Seconds = 15.0
    memory_limit: Size = 0


class Profiles(Reloadable, frozen=True, kw_only=True):
    """Copies of the credentials, and what is kept of damaged profiles; sizes in MB."""

    cache_limit: Size = 300
    quarantine_days: Count = 30
    quarantine_limit: Size = 2000


class Reconcile(msgspec.Struct, frozen=True, kw_only=True):
    """Comparing database, memory and processes."""

    interval: Seconds = 30.0


class Restart(Reloadable, frozen=True, kw_only=True):
    """At most ``intensity`` restarts in ``period`` seconds, then the session is parked and tried again
    at growing intervals."""

    intensity: Count = 5
    period: Seconds = 300.0
    base_delay: Delay = 1.0
    max_delay: Delay = 60.0
    stable_after: Seconds = 300.0


class Send(Reloadable, frozen=True, kw_only=True):
    """How long a send waits for its session, for WhatsApp's answer, and for its server's ack; for
    how long a reply that was not written may be asked for again."""

    wait: Delay = 20.0
    timeout: Seconds = 30.0
    ack_limit: Seconds = 60.0
    reply_grace: Seconds = 120.0
    check_first_contact: bool = True
    fetch_timeout: Seconds = 15.0
    allow_private: bool = False
    rate: Rate = 0.0
    burst: Count = 5
    gap: tuple[Delay, Delay] = (0.0, 0.0)
    bulk_gap: Delay = 1.0


class Limits(Reloadable, frozen=True, kw_only=True):
    """How much is begun at a time, and what must stay free on the disks (MB, 0: nothing)."""

    disk_reserve: Size = 200
    sends_in_flight: Count = 50
    requests: Count = 200


class Webhook(Reloadable, frozen=True, kw_only=True):
    """Where events are delivered, the secret that signs them, and where the receiver keeps messages."""

    url: str | None = None
    secret_file: Path | None = None
    give_up_after: LongSeconds = 2_592_000.0
    allow_private: bool = False
    hold: bool = True
    hold_limit: LongSeconds = 900.0
    events: tuple[str, ...] = OLD_SERVICE
    fields: Literal["application", "all"] = "application"
    stored: str | None = None
    inline_limit: Inline = 16 << 20
    body_limit: Bytes = 8 << 20  # PHP's post_max_size, by default


class Alerts(Reloadable, frozen=True, kw_only=True):
    """Who hears of a condition that a person must act on, when not, and who hears that waguard itself lives."""

    destination_file: Path | None = None
    quiet: str = ""
    page_url: str | None = None
    heartbeat_url: str | None = None


class Inbox(Reloadable, frozen=True, kw_only=True):
    """Which chats are received beside those with one person, when what was missed is read, and how
    often what could not be decrypted is looked up."""

    broadcasts: bool = False
    channels: bool = False
    groups: bool = True
    backfill_after_pairing: Delay = 600.0
    undecryptable_interval: Seconds = 3600.0


class Sentinel(Reloadable, frozen=True, kw_only=True):
    """Which sessions write to their own number now and then, so that it is known whether they work."""

    sessions: tuple[str, ...] = ()
    interval: SentinelInterval = 3600.0


class Media(Reloadable, frozen=True, kw_only=True):
    """How long received files are kept, how many MB of them, and how large one may be, either way (MB)."""

    keep_days: Count = 30
    limit: Size = 4096
    file_limit: FileSize = 128


class Retention(Reloadable, frozen=True, kw_only=True):
    """Days that the database keeps what was received and sent, webhooks that nobody took, and the
    trail."""

    inbox_days: Count = 30
    outbox_days: Count = 30
    dead_days: Count = 30
    audit_days: Count = 90


Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Log(Reloadable, frozen=True, kw_only=True):
    """What is logged, and how it looks."""

    level: Level = "INFO"
    format: Literal["auto", "text", "json"] = "auto"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured."""

    api: Api = Api()
    paths: Paths = Paths()
    database: Database = Database()
    lease: Lease = Lease()
    cluster: Cluster = Cluster()
    browser: Browser = Browser()
    whatsapp: WhatsApp = WhatsApp()
    versions: Versions = Versions()
    restore: Restore = Restore()
    admission: Admission = Admission()
    fleet: Fleet = Fleet()
    worker: Worker = Worker()
    profiles: Profiles = Profiles()
    reconcile: Reconcile = Reconcile()
    restart: Restart = Restart()
    send: Send = Send()
    limits: Limits = Limits()
    webhook: Webhook = Webhook()
    alerts: Alerts = Alerts()
    inbox: Inbox = Inbox()
    sentinel: Sentinel = Sentinel()
    media: Media = Media()
    retention: Retention = Retention()
    log: Log = Log()


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Config)
}
RELOADABLE: Final = frozenset(
    name for name, section in SECTIONS.items() if issubclass(section, Reloadable)
)


def version_rules(config: Config) -> VersionRules:
    """For the core: as many pages are loaded at a time as sessions start."""
    sections = msgspec.structs.asdict(config.versions)
    return VersionRules(**sections, places=config.restore.concurrency)
