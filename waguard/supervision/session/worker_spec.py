"""What a worker gets at its start."""

from typing import Final

from waguard.config.sections import Config
from waguard.core.messages.inbox import left_out
from waguard.ports.store import SessionRow
from waguard.profile import layout, snapshots
from waguard.profile.layout import Places
from waguard.supervision.versions.observer import Given
from waguard.wire.heartbeat_slots import NAME
from waguard.wire.worker import LogSettings, WorkerSpec

HEARTBEAT: Final = 1.0  # s; the limits of what does not answer (core/session/probe.py) count on it


def worker_spec(  # noqa: PLR0913 - what one worker gets
    row: SessionRow,
    at: Places,
    config: Config,
    given: Given,
    *,
    instance: str,
    lent_until: float | None,
    slot: int,
    waits: bool = False,
) -> WorkerSpec:
    """``at``: where the session's profile and the copies of it lie. ``given``: what its page is loaded
    with. ``lent_until``: see ``SessionContext``; ``slot``: see ``WorkerSpec``."""
    name = layout.key(row.session_id)
    workers = config.paths.runtime / "workers"
    return WorkerSpec(
        instance=instance,
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
        left_out=left_out(
            broadcasts=config.inbox.broadcasts,
            channels=config.inbox.channels,
            groups=config.inbox.groups,
        ),
        executable=config.browser.executable,
        flavour=config.browser.flavour,
        extra_args=config.browser.extra_args,
        launch_timeout=config.browser.launch_timeout,
        orphan_grace=config.worker.orphan_grace,
        heartbeat=HEARTBEAT,
        heartbeats=str(config.paths.runtime / NAME),
        slot=slot,
        sandbox=config.browser.sandbox,
        log=log_settings(config),
        lent_until=lent_until,
        waits=waits,
    )


def log_settings(config: Config) -> LogSettings:
    """How its workers log."""
    return LogSettings(level=config.log.level, format=config.log.format)
