"""End all that dead daemons and dead workers left running: at a start of the daemon, and at each reconcile."""

from collections.abc import Collection

from waguard.core.host.strays import Foreign
from waguard.ports.store import AuditEntry
from waguard.supervision.session.session_context import SessionContext


async def sweep(ctx: SessionContext, kept: Collection[int]) -> tuple[Foreign, ...]:
    """End and record it; what is not waguard's. ``kept``: pids of adopted workers; what this daemon started is kept
    anyway. Raises ``WaguardError``."""
    paths = ctx.config().paths
    swept = await ctx.spawn.sweep(
        records=str(paths.runtime / "workers"), profiles=str(paths.sessions), kept=kept
    )
    for stray in swept.ended:
        await ctx.store.record(
            AuditEntry(
                session_id=stray.session,
                kind="stray_ended",
                reason=stray.command,
                evidence={"pid": stray.pid},
            )
        )
    return swept.foreign
