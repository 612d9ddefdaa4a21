"""What one key alone cannot say: checks of the whole configuration."""

import os
import re
from collections.abc import Collection

from waguard.config.addresses import is_address, is_loopback, public_refusal
from waguard.config.errors import refused
from waguard.config.key_file import KEY_LENGTH, has_own_key
from waguard.config.passwords import is_database
from waguard.config.sections import Browser, Cluster, Config, Versions
from waguard.core import call_through
from waguard.core import outgoing_address as address
from waguard.core.alerts import quiet
from waguard.core.host import chromium_switches
from waguard.core.lease import LEND_MARGIN, terms
from waguard.core.webhooks import stored
from waguard.core.webhooks.delivery import EVENTS
from waguard.errors import ConfigError

# sun_path holds 108 bytes with its NUL; below the runtime folder lie /workers/<12 hex>.sock
_SOCKET_PATH_LIMIT = 107
STANDBY_RENEWALS = 3
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EXTENSION_ID = re.compile(r"[a-p]{32}")
_OF_TLS = ("ca_file", "certificate_file", "private_key_file")
_SOCKET_NAME = len("/workers/0123456789ab.sock")
DATABASE_SCHEMES = (
    "sqlite+aiosqlite://",
    "mysql+asyncmy://",
    "mariadb+asyncmy://",
    "postgresql+asyncpg://",
)


def cross_check(config: Config) -> None:
    """Raises ``ConfigError`` for the first key that does not fit the others or this machine."""
    runtime = os.fsencode(config.paths.runtime)
    if len(runtime) + _SOCKET_NAME > _SOCKET_PATH_LIMIT:
        raise ConfigError(
            f"{config.paths.runtime} is too long for Unix sockets ({len(runtime)} bytes)",
            field="paths.runtime",
            value=str(config.paths.runtime),
            remedy=f"use a folder of at most {_SOCKET_PATH_LIMIT - _SOCKET_NAME} bytes, e.g. /run/waguard",
        )
    if not config.database.url.startswith(DATABASE_SCHEMES):
        raise ConfigError(
            "this kind of database is not supported (value not shown)",
            field="database.url",
            remedy=f"begin with {', '.join(DATABASE_SCHEMES)}",
        )
    if not is_database(config.database.url):
        remedy = "write SCHEME://USER:PASSWORD@HOST:PORT/NAME; in user and password @ is %40, : %3A and / %2F"
        raise refused("database.url", None, "it cannot be read as an address", remedy)
    _check_addresses(config)
    _check_switches(config.browser)
    _check_extension(config.whatsapp.passkey_extension)
    _check_call_through(config.whatsapp.call_through)
    _check_events(config.webhook.events)
    _check_stored(config.webhook.stored)
    _check_quiet(config.alerts.quiet)
    if config.restart.max_delay < config.restart.base_delay:
        raise ConfigError(
            f"{config.restart.max_delay} is less than restart.base_delay ({config.restart.base_delay})",
            field="restart.max_delay",
            value=config.restart.max_delay,
            remedy="use at least restart.base_delay",
        )
    _check_versions(config.versions)
    _check_standby(config)
    _check_shared(config)
    if config.cluster.engine != "none":
        _check_cluster(config)
    if config.send.gap[0] > config.send.gap[1]:
        raise refused(
            "send.gap", list(config.send.gap), "the minimum is above the maximum", "[2, 6]"
        )
    if not config.api.host.strip():
        raise refused("api.host", config.api.host, "it is empty", "use 127.0.0.1 or ::1")
    if not is_loopback(config.api.host) and not has_own_key(config.api.key_file):
        raise refused(
            "api.host",
            config.api.host,
            "other machines can reach it, and there is no safe key of your own",
            f"write keys of at least {KEY_LENGTH} characters into {config.api.key_file}, or use 127.0.0.1",
        )


def _check_switches(browser: Browser) -> None:
    for argument in browser.extra_args:
        if refusal := chromium_switches.refusal(
            argument, sandbox=browser.sandbox, beside=browser.extra_args
        ):
            shown = chromium_switches.shown(argument)
            raise refused("browser.extra_args", shown, refusal.why, refusal.remedy)


def _check_extension(given: str) -> None:
    if given and not _EXTENSION_ID.fullmatch(given):
        why = "it is not the id of an extension"
        remedy = "use the 32 letters, a to p, that chrome://extensions shows"
        raise refused("whatsapp.passkey_extension", given, why, remedy)


def _check_call_through(names: Collection[str]) -> None:
    for name in names:
        if why := call_through.refusal(name):
            remedy = "name functions that read, as chat.getMessages; leave it out"
            raise refused("whatsapp.call_through", name, why, remedy)


def _check_standby(config: Config) -> None:
    """What is lent to workers has to outlast a few renewals."""
    its = terms(orphan_grace=config.worker.orphan_grace, margin=config.lease.margin)
    if config.lease.standby and its.lasts < LEND_MARGIN + STANDBY_RENEWALS * its.renewed_every:
        raise refused(
            "lease.margin",
            config.lease.margin,
            f"with lease.standby the lease lasts {its.lasts:g} s, which is too short for workers to live by it",
            "use 15, and at least 5 for worker.orphan_grace",
        )


def _check_shared(config: Config) -> None:
    if config.database.key_file and config.database.url.startswith("sqlite"):
        raise refused(
            "database.key_file",
            str(config.database.key_file),
            "credentials are shared through a server's database, and SQLite is a file of this host",
            "use PostgreSQL or MariaDB on both hosts, or remove the key",
        )


def _check_cluster(config: Config) -> None:
    cluster = config.cluster
    if config.database.url.startswith("sqlite"):
        why = "hosts share their sessions through a server's database, and SQLite is a file of this host"
        remedy = 'use PostgreSQL or MariaDB for database.url, or engine = "none"'
        raise refused("cluster.engine", cluster.engine, why, remedy)
    if config.lease.standby:
        why = "the hosts of a cluster take sessions over from each other, and none waits for all of them"
        raise refused("lease.standby", True, why, "remove it, or cluster.engine")  # noqa: FBT003 - the value
    if config.database.key_file:
        why = "the hosts of a cluster share credentials by cluster.key_file"
        remedy = "write it as cluster.key_file, on each host"
        raise refused("database.key_file", str(config.database.key_file), why, remedy)
    if cluster.key_file is None:
        why = "without it the next host of a session would need a scan"
        remedy = "name one and the same file on each host; make it: (umask 077; openssl rand -hex 32 > FILE)"
        raise refused("cluster.key_file", None, why, remedy)
    if not _HOST_NAME.fullmatch(cluster.host):
        why = "it is not the name of a host"
        remedy = "use at most 64 letters, digits, dots and dashes, which no other host of the cluster has"
        raise refused("cluster.host", cluster.host, why, remedy)
    if bad := "it is empty" if not cluster.address else public_refusal(cluster.address):
        remedy = "name the address by which other hosts call this one's API: http://host:3001"
        raise refused("cluster.address", cluster.address, bad, remedy)
    if cluster.engine == "etcd":
        _check_etcd(cluster)


def _check_etcd(cluster: Cluster) -> None:
    remedy = 'name all members of etcd: ["https://etcd1:2379", "https://etcd2:2379"]'
    if not cluster.endpoints:
        raise refused("cluster.endpoints", [], "etcd needs one at least", remedy)
    for one in cluster.endpoints:
        if why := public_refusal(one):
            raise refused("cluster.endpoints", one, why, remedy)
    if (cluster.certificate_file is None) != (cluster.private_key_file is None):
        missing = "certificate_file" if cluster.certificate_file is None else "private_key_file"
        why = "a certificate and its private key belong together"
        raise refused(f"cluster.{missing}", None, why, "name both files, or none")
    given = [key for key in _OF_TLS if getattr(cluster, key) is not None]
    plain = [one for one in cluster.endpoints if not one.startswith("https://")]
    if given and plain:
        why = f"it is not encrypted, and cluster.{given[0]} has no effect on it"
        raise refused("cluster.endpoints", plain[0], why, "begin each with https://")


def _check_versions(versions: Versions) -> None:
    low, high = versions.well_for, versions.trial_limit
    if high < low:
        why = f"it is less than versions.well_for ({low})"
        raise refused("versions.trial_limit", high, why, "use at least versions.well_for")


def require_sandbox(browser: Browser, *, root: bool) -> None:
    """Raises ``ConfigError`` where Chromium would run as root, which it does without its sandbox
    only, and nobody has said that this is wanted."""
    if root and browser.sandbox:
        raise ConfigError(
            "as root Chromium cannot have its sandbox",
            field="browser.sandbox",
            value=True,
            remedy="run waguard as another user, see README.md, or accept the risk: "
            "browser.sandbox = false, or WAGUARD_BROWSER__SANDBOX=false before the command",
        )


def _check_events(events: Collection[str]) -> None:
    if unknown := sorted(set(events) - EVENTS):
        known = ", ".join(sorted(EVENTS))
        raise refused("webhook.events", unknown[0], "there is no such event", f"known: {known}")


def _check_stored(key: str | None) -> None:
    if key is None:
        return
    try:
        stored.parse(key)
    except ValueError as error:
        remedy = f"name a table and a column of database.url: {stored.DROP_IN}"
        raise refused("webhook.stored", key, str(error), remedy) from None


def _check_quiet(hours: str) -> None:
    try:
        quiet.parse(hours)
    except ValueError as error:
        raise refused(
            "alerts.quiet", hours, str(error), 'use "22:00-07:00", or "" for none'
        ) from None


def _check_addresses(config: Config) -> None:
    for name, url in (
        ("api.public_url", config.api.public_url),
        ("whatsapp.url", config.whatsapp.url),
        ("webhook.url", config.webhook.url),
        ("alerts.page_url", config.alerts.page_url),
        ("alerts.heartbeat_url", config.alerts.heartbeat_url),
    ):
        if url is not None and not is_address(url):
            raise refused(name, url, "it is not an address", "use http://host/… or https://host/…")
    hook = config.webhook.url
    if hook and (why := address.url_refusal(hook, allow_private=True)):
        raise refused("webhook.url", hook, why, "name the application's own address")
    beat = config.alerts.heartbeat_url
    if beat and (why := address.url_refusal(beat, allow_private=True)):
        raise refused("alerts.heartbeat_url", beat, why, "name the address that is to be called")
    page = config.alerts.page_url
    if page and (why := public_refusal(page)):
        raise refused(
            "alerts.page_url", page, why, "name the address of the status page: https://host/…"
        )
    public = config.api.public_url
    if public and (why := public_refusal(public)):
        raise refused(
            "api.public_url", public, why, "name the address that others use: https://host/…"
        )
