"""The installed systemd unit."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from msgspec import Struct

from waguard.doctor.report import Check, Cli, failed, ok, skipped, warning

STEPS_SINCE: Final = 254  # systemd that knows RestartSteps=
_COMMENT: Final = ("#", ";")


class Unit(Struct, frozen=True, kw_only=True):
    """``installed`` None: there is no unit. ``shipped`` None: this installation carries none.
    ``refusal``, ``remedy``: why the configuration does not fit it. ``state``: of ``systemctl show``."""

    path: str = ""
    installed: str | None = None
    shipped: str | None = None
    shipped_path: str = ""
    drop_ins: tuple[str, ...] = ()
    refusal: str | None = None
    systemd: int | None = None
    has_steps: bool = True
    """The unit, or a drop-in for an older systemd, says how a restart is paced."""
    state: Mapping[str, str] | None = None


def unit(seen: Unit, cli: Cli) -> list[Check]:
    """Whether it is this version's, fits the configuration, and is what runs."""
    if seen.installed is None:
        return [skipped("unit", "no unit is installed")]
    checks = [*_text(seen, cli), *_state(seen.state or {})]
    if checks:
        return checks
    extra = f", with {', '.join(seen.drop_ins)}" if seen.drop_ins else ""
    known = "is installed" if seen.shipped is None else "is this version's"
    return [ok("unit", f"{seen.path} {known}{extra}")]


def _text(seen: Unit, cli: Cli) -> list[Check]:
    checks = []
    if seen.shipped is not None and _settings(seen.installed or "") != _settings(seen.shipped):
        checks.append(
            warning(
                "unit",
                f"{seen.path} is not the unit of this version",
                "Install this version's; put your own changes into a drop-in",
                f"install -m 0644 {seen.shipped_path} {seen.path} && systemctl daemon-reload",
            )
        )
    if seen.refusal:
        checks.append(
            failed(
                "unit", seen.refusal, "Install the drop-in that this prints", cli("config check")
            )
        )
    if seen.systemd is not None and seen.systemd < STEPS_SINCE and not seen.has_steps:
        checks.append(
            warning(
                "unit",
                f"systemd {seen.systemd} does not know RestartSteps=: restarts come at a fixed interval",
                "Install the drop-in for it",
                f"install -D -m 0644 {PurePosixPath(seen.shipped_path).with_name('before-254.conf')}"
                " /etc/systemd/system/waguard.service.d/before-254.conf && systemctl daemon-reload",
            )
        )
    return checks


def _settings(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(_COMMENT)]


def _state(state: Mapping[str, str]) -> list[Check]:
    checks = []
    if state.get("NeedDaemonReload") == "yes":
        checks.append(
            warning(
                "unit",
                "systemd has not read the unit again since it changed",
                "Reload the units, and restart waguard",
                "systemctl daemon-reload && systemctl restart waguard",
            )
        )
    if state.get("ActiveState") == "failed":
        result = state.get("Result", "unknown")
        checks.append(
            failed(
                "unit",
                f"systemd no longer restarts the unit: {result}",
                "Read why (journalctl -u waguard -n 50), then start it again",
                "systemctl reset-failed waguard && systemctl start waguard",
            )
        )
    if state.get("UnitFileState") == "disabled":
        checks.append(
            warning(
                "unit",
                "the unit is disabled: after a reboot no waguard runs",
                "Enable it",
                "systemctl enable waguard",
            )
        )
    return checks


def environment(names: Sequence[str], pid: int | None) -> list[Check]:
    """``names``: variables that the daemon has and this command has not."""
    return [
        warning(
            "configuration",
            f"the daemon (pid {pid}) has {name} in its environment, and this command has not: they"
            " may use different configurations",
            "Remove it from the unit, and set the key in the file",
            "systemctl show waguard -p Environment -p EnvironmentFiles",
        )
        for name in names
    ]
