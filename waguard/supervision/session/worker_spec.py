"""What a worker gets at its start."""

from typing import Final

from waguard.config.sections import Config
from waguard.core.messages.inbox import left_out
from waguard.core.replace import replace
from waguard.host.memory.proxies import ProxyUnreadableError
from waguard.ports.store import SessionRow
from waguard.profile import layout, snapshots
from waguard.profile.layout import Places
from waguard.supervision.session.session_context import SessionContext
from waguard.wire.heartbeat_slots import NAME
from waguard.wire.worker import LogSettings, WorkerSpec

OTHER_PROXY: Final = "the session's proxy was changed"
HEARTBEAT: Final = 1.0  # s; the limits of what does not answer (core/session/probe.py) count on it


def worker_spec(
    ctx: SessionContext, row: SessionRow, at: Places, *, slot: int = 0, waits: bool = False
) -> WorkerSpec:
    """As it is now. ``at``: where the session's profile and the copies of it lie; ``slot``: see ``WorkerSpec``. Raises
    ``ProxyUnreadableError``."""
    config = ctx.config()
    given = ctx.versions.for_worker(row.session_id)
    name = layout.key(row.session_id)
    workers = config.paths.runtime / "workers"
    return WorkerSpec(
        instance=ctx.instance,
        session=row.session_id,
        generation=row.generation,
        workspace=row.workspace_id,
        profile=str(at.profile),
        snapshots=str(at.snapshots),
        quarantine=str(at.quarantine),
        snapshot_interval=snapshots.INTERVAL,
        cache_limit=config.profiles.cache_limit << 20,
        socket=str(workers / f"{name}.sock"),
        record=str(workers / f"{name}.json"),
        temporary=str(layout.temporary(config.paths.runtime, name)),
        url=config.whatsapp.url,
        wajs=str(given.wajs) if given.wajs else None,
        wajs_sha256=given.sha256,
        document=given.document,
        documents=str(given.documents) if given.documents else None,
        presence=config.whatsapp.presence,
        left_out=left_out(
            broadcasts=config.inbox.broadcasts,
            channels=config.inbox.channels,
            groups=config.inbox.groups,
        ),
        inline_limit=config.webhook.inline_limit,
        file_limit=config.media.file_limit << 20,
        executable=ctx.browsers.config().browser.executable,
        flavour=config.browser.flavour,
        extra_args=config.browser.extra_args,
        launch_timeout=config.browser.launch_timeout,
        orphan_grace=config.worker.orphan_grace,
        heartbeat=HEARTBEAT,
        heartbeats=str(config.paths.runtime / NAME),
        slot=slot,
        sandbox=config.browser.sandbox,
        proxy=ctx.proxies.read(row.session_id),
        log=log_settings(config),
        lent_until=ctx.lent_until(),
        waits=waits,
    )


def holds(ctx: SessionContext, spec: WorkerSpec | None, row: SessionRow, at: Places) -> bool:
    """Whether a worker with ``spec`` (None: unknown) does what one that is started now would. How to log, and how long it
    may live, reaches a running worker."""
    if spec is None:
        return False
    try:
        now = worker_spec(ctx, row, at)
    except ProxyUnreadableError:
        return False  # the next one says so
    sent = replace(now, log=spec.log, lent_until=spec.lent_until)
    return replace(sent, waits=spec.waits, slot=spec.slot) == spec


def has_proxy(ctx: SessionContext, session: str) -> bool:
    """Whether it has a proxy of its own, even one that cannot be read."""
    try:
        return bool(ctx.proxies.mark(session))
    except ProxyUnreadableError:
        return True


def has_other_proxy(ctx: SessionContext, session: str, mark: str | None) -> bool:
    """Whether it goes another way than its worker, which has the proxy of this ``mark``, or none."""
    try:
        return (mark or "") != ctx.proxies.mark(session)
    except ProxyUnreadableError:
        return False  # unknown is not changed


def log_settings(config: Config) -> LogSettings:
    """How its workers log."""
    return LogSettings(level=config.log.level, format=config.log.format)
