"""What is known of the old service, the application and the configuration before the cut-over."""

from collections.abc import Mapping

from msgspec import Struct, field

from waguard.doctor.checks.database import Row
from waguard.doctor.checks.stored import Stored


class Pm2(Struct, frozen=True, kw_only=True):
    """A PM2 that runs. ``apps``: the command of each process that it keeps; ``starts_at_boot``: the
    unit that brings it back."""

    pid: int
    user: str
    apps: tuple[str, ...]
    starts_at_boot: str | None = None


class CronLine(Struct, frozen=True, kw_only=True):
    """One that restarts the old service. ``user``: of a crontab; None: a file of the system."""

    path: str
    number: int
    text: str
    user: str | None = None


class Listener(Struct, frozen=True, kw_only=True):
    """Who has a port of the old service."""

    port: int
    pid: int | None
    command: str


class Secret(Struct, frozen=True, kw_only=True):
    """A key or a secret of the application's, without its value. ``known``: waguard has it, too; None:
    what waguard has cannot be read."""

    name: str
    length: int
    known: bool | None


class Env(Struct, frozen=True, kw_only=True):
    """The application's ``.env``, and the old service's beside it."""

    path: str
    error: str | None = None
    kept_at: float | None = None
    """When the copy for the way back was made that lies beside it, unix time; None: there is none."""
    keys: tuple[Secret, ...] = ()
    secret: Secret | None = None
    instances: int = 1
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Where it calls the old service, by the name of the variable."""
    url: str | None = None
    """APP_URL: where its webhooks arrive, and its files lie."""
    database: str | None = None
    """driver://host:port/name, without user and password."""
    remote_auth: bool = False


class Settings(Struct, frozen=True, kw_only=True):
    """What waguard's configuration says of it."""

    path: str
    key_file: str
    least: int
    port: int
    public: str
    keyless: bool
    allow_private: bool
    hook: str | None
    secret_file: str | None
    database: str
    """driver://host:port/name, without user and password."""
    sessions: str
    stored: str | None


class Seen(Struct, frozen=True, kw_only=True):
    """All that is known of the old service and the application."""

    settings: Settings
    env: Env | None
    pm2: tuple[Pm2, ...] = ()
    pm2_users: tuple[str, ...] = ()
    """Whose PM2 has saved a list that may have the old service, whether it runs or not."""
    cron: tuple[CronLine, ...] = ()
    listeners: tuple[Listener, ...] = ()
    archives: tuple[str, ...] = ()
    """RemoteAuth's, below ``paths.sessions``."""
    with_profile: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    """Sessions whose profile the old service beside the ``.env`` used after the one in waguard's place."""
    rows: tuple[Row, ...] | None = None
    stored: Stored | None = None
    """The application's table of messages; None: the database does not answer."""
    up: bool = False

    @property
    def accounts(self) -> tuple[Row, ...] | None:
        """The application's rows; None: unknown, or ``database.url`` names another database yet."""
        return None if self._is_elsewhere else self.rows

    @property
    def messages(self) -> Stored | None:
        """What was seen of the application's table of messages."""
        return None if self._is_elsewhere else self.stored

    @property
    def _is_elsewhere(self) -> bool:
        env = self.env
        return bool(env and env.database and env.database != self.settings.database)
