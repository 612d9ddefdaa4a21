"""Which daemon is examined: one that neither starts nor ends, where that can be had."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.config.sections import Config
from waguard.doctor.advice import Here, advised
from waguard.doctor.checks.instance import Instance, Socket
from waguard.doctor.probes import instance as probes
from waguard.doctor.probes.machine import Machine
from waguard.doctor.report import Check, Cli
from waguard.doctor.timings import Timings
from waguard.host.system import service_needs

_POLL: Final = 0.2  # s


def cli(option: Path | None, machine: Machine) -> Cli:
    """How this waguard is called in a remedy."""
    return Cli(str(option) if option else None, machine.command)


def advised_on(checks: Sequence[Check], machine: Machine, cli: Cli) -> list[Check]:
    """See ``advice.advised``; the machine is read now."""
    unit = bool(service_needs.files(machine.root))
    return advised(checks, Here(spared=machine.spared, has=machine.has, unit=unit), cli)


async def begun(machine: Machine, config: Config, timings: Timings) -> Instance:
    """The daemon, when it neither starts nor ends any more; as it is, where that takes too long."""
    seen, left = await instance(machine, config, timings), timings.begins
    while left > 0 and seen.lives and seen.socket in {Socket.ABSENT, Socket.REFUSED}:
        await asyncio.sleep(_POLL)
        seen, left = await instance(machine, config, timings), left - _POLL
    return seen


async def instance(machine: Machine, config: Config, timings: Timings) -> Instance:
    """As it is now."""
    return await asyncio.to_thread(
        probes.instance, machine, config.paths.runtime, within=timings.daemon
    )
