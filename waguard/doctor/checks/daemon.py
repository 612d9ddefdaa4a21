"""What a daemon that answers says of itself, of its sessions and of its database."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from waguard.doctor.report import Check, Cli, failed, ok, warning

Answer = Mapping[str, Any]
_COMMAND: Final = re.compile(r"`waguard (?!doctor`)([^`]+)`")
RECENT: Final = 86_400.0  # s; an older refusal may have been repaired since


def health(answer: Answer, cli: Cli) -> list[Check]:
    """``answer``: GET /health/detailed. Each condition, and each problem that no condition names."""
    conditions: Sequence[Answer] = answer.get("conditions") or []
    problems: Sequence[str] = answer.get("problems") or []
    said = [str(one.get("message")) for one in conditions]
    checks = [_condition(one, cli) for one in conditions] + [
        warning("health", problem, "Read what happened", cli("why"))
        for problem in problems
        if not any(message in problem for message in said)
    ]
    sessions: Answer = answer.get("sessions") or {}
    connected, total = sessions.get("connected", 0), sessions.get("total", 0)
    return checks or [ok("health", f"{connected} of {total} sessions are connected")]


def _condition(one: Answer, cli: Cli) -> Check:
    session = one.get("session_id")
    remedy = str(one.get("remedy") or "Read what happened")
    if one.get("type") == "standby":  # which is meant
        return ok("health", str(one.get("message")))
    named = _COMMAND.search(remedy)
    why = f"why {session}" if session else "why"
    return warning(
        "health",
        f"{session or 'all sessions'}: {one.get('message')}",
        remedy,
        cli(named[1] if named else why),
    )


def agreement(before: Answer, answer: Answer, cli: Cli) -> list[Check]:
    """Both: GET /api/reconcile, what the daemon would correct, and what only a person can. Only what it
    would have corrected a moment ago, too, is said."""
    earlier: Sequence[Answer] = before.get("corrections") or []
    corrections = [one for one in answer.get("corrections") or [] if one in earlier]
    findings: Sequence[Answer] = answer.get("findings") or []
    checks = [
        failed(
            "agreement",
            f"{one['session']}: {one['reason']} ({one['before']} → {one['after']})",
            "Correct it now; the daemon does so by itself within reconcile.interval",
            cli("reconcile"),
        )
        for one in corrections
    ]
    checks += [
        warning(
            "agreement",
            f"{one['session']}: {one['about']}",
            "Decide which one is right",
            cli("reconcile --dry-run"),
        )
        for one in findings
    ]
    return checks or [ok("agreement", "database, memory and host agree")]


def signature(dead: Sequence[Answer], now: float, cli: Cli) -> Check:
    """``dead``: the newest dead letters. The receiver answers 401 to a signature that is not its own."""
    refused = [one for one in dead if "answered 401" in str(one.get("error"))]
    if not refused:
        return ok("signature", "no webhook was refused for its signature")
    last = str(refused[0].get("died_at"))
    make = failed if now - datetime.fromisoformat(last).timestamp() < RECENT else warning
    return make(
        "signature",
        f"webhooks refused by the receiver with 401: {len(refused)}, the last one at {last}: its secret is"
        " another one, or its clock is wrong",
        "Write the receiver's secret into webhook.secret_file, reload, and deliver them again",
        f"systemctl reload waguard && {cli('webhooks replay --all')}",
    )
