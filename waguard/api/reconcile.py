"""/api/reconcile: the difference between database, memory and host, and its correction."""

from aiohttp import web

from waguard.api.deps import DEPS
from waguard.api.route import Done, route
from waguard.core.keys import Right
from waguard.core.reconcile import Correction, Finding


class Corrections(Done, kw_only=True):
    """What was corrected."""

    corrections: list[Correction]


class Difference(Corrections, kw_only=True):
    """What would be corrected, and what is only reported."""

    findings: list[Finding]


@route(Right.READ)
async def difference(request: web.Request) -> Difference:
    """What database, memory and host disagree about. Changes nothing."""
    corrections, findings = await request.app[DEPS].reconciler.difference()
    return Difference(corrections=list(corrections), findings=list(findings))


@route(Right.OPERATE)
async def now(request: web.Request) -> Corrections:
    """Correct it now."""
    return Corrections(corrections=list(await request.app[DEPS].reconciler.correct()))
