"""The installed unit, what this version ships, and what systemd says of it."""

import re
import sys
from pathlib import Path
from typing import Final

import waguard
from waguard.config.sections import Config
from waguard.core.host import unit as units
from waguard.doctor.checks.unit import Unit
from waguard.doctor.probes.machine import Machine
from waguard.host.system import service_needs

# of a release that `make install` has built, else of the checkout
RELEASE: Final = Path(sys.prefix) / "share/waguard" / service_needs.UNIT
CHECKOUT: Final = Path(waguard.__file__).parents[1] / "systemd" / service_needs.UNIT
SHIPPED: Final = RELEASE if RELEASE.exists() else CHECKOUT
WITHIN: Final = 5.0  # s for systemctl
_PROPERTIES: Final = ("ActiveState", "Result", "NeedDaemonReload", "UnitFileState")


async def unit(machine: Machine, config: Config | None, shipped: Path = SHIPPED) -> Unit:
    """``config``: the unit's, to be compared with it."""
    files = service_needs.files(machine.root)
    if not files:
        return Unit()
    texts = [path.read_text(errors="replace") for path in files]
    refusal = None
    if config:
        refusal = _refusal(units.parse(texts), config)
    version = await machine.run(["systemctl", "--version"], within=WITHIN)
    found = re.match(r"systemd (\d+)", version.out)
    shown = await machine.run(
        ["systemctl", "show", service_needs.UNIT, *(f"-p{name}" for name in _PROPERTIES)],
        within=WITHIN,
    )
    pairs = (line.partition("=") for line in shown.out.splitlines())
    return Unit(
        path=str(files[0]),
        installed=texts[0],
        shipped=_text(shipped),
        shipped_path=str(shipped),
        drop_ins=tuple(path.name for path in files[1:]),
        refusal=refusal,
        systemd=int(found[1]) if found else None,
        has_steps=any("StartLimitBurst" in text for text in texts[1:]),
        state={name: value for name, _, value in pairs if name},
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _refusal(unit: units.Unit, config: Config) -> str | None:
    """Why the service cannot use a folder of the configuration's."""
    places = service_needs.writes(config)
    for key, place in places.items():
        if not unit.sees(place):
            return f"{place} ({key}) is hidden from {service_needs.UNIT}"
    for key, place in units.unwritable(unit, places).items():
        return f"{place} ({key}) cannot be written by {service_needs.UNIT}"
    for key, place in service_needs.executes(config).items():
        if not unit.executes(place):
            return f"{place} ({key}) cannot be executed by {service_needs.UNIT}"
    return None
