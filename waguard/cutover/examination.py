"""Read what the cut-over needs, and make the plan of it."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from waguard.config.sections import Config
from waguard.core.profile.before_start import Missing
from waguard.cutover import probes
from waguard.cutover.checks.plan import TITLES, Plan, plan, way_back
from waguard.cutover.checks.seen import Seen
from waguard.doctor import phase
from waguard.doctor.checks.database import Row
from waguard.doctor.checks.instance import Instance, Socket
from waguard.doctor.probes import database as database_probes
from waguard.doctor.probes import profiles as profile_probes
from waguard.doctor.probes import receiver as receiver_probes
from waguard.doctor.probes import stored as stored_probes
from waguard.doctor.probes.machine import Machine
from waguard.doctor.report import Check
from waguard.doctor.timings import TIMINGS
from waguard.errors import ConfigError
from waguard.host import configuration_file


class Cutover(Struct, frozen=True, kw_only=True):
    """The plan, and the way back as sentences with their commands."""

    plan: Plan
    back: Sequence[tuple[str, str]]

    @property
    def steps(self) -> Sequence[tuple[str, Sequence[Check]]]:
        """Their titles, and what each has to do."""
        return [(TITLES[step], checks) for step, checks in self.plan.items()]


async def examine(
    option: Path | None,
    environ: Mapping[str, str],
    env: Path | None,
    machine: Machine,
) -> Cutover:
    """Read only. Raises ``ConfigError`` where waguard's own configuration is not valid, and where this user
    sees nothing of its folders."""
    cli = phase.cli(option, machine)
    found, reading = configuration_file.read(option, environ, system_file=machine.system_file)
    config = reading.config
    daemon = await phase.instance(machine, config, TIMINGS)
    if daemon.socket is Socket.DENIED:
        raise ConfigError(
            f"this user may not look into {daemon.runtime}: nothing is compared",
            remedy="run `sudo waguard doctor --cutover`, or ask as the daemon's user",
        )
    running = machine.processes()
    database = await database_probes.database(config.database.url)
    called = await receiver_probes.call_back(config, daemon, None)
    folder = await asyncio.to_thread(profile_probes.folder, machine, config.paths.sessions)
    with_profile = {one.session for one in folder.profiles if not isinstance(one.finding, Missing)}
    seen = Seen(
        settings=probes.settings(config, found.path, called.url, _port(config, daemon)),
        env=probes.env(env, config) if env else None,
        pm2=probes.pm2(machine, running),
        pm2_users=await asyncio.to_thread(probes.pm2_users, machine.root, env),
        cron=probes.cron(machine.root),
        listeners=probes.listeners(machine, config, running, daemon.pid if daemon.up else None),
        archives=folder.archives,
        with_profile=frozenset({*with_profile, *folder.old}),
        later=await _later(env, config, database.rows or ()),
        rows=database.rows,
        stored=await stored_probes.stored(config.database.url, config.webhook.stored),
        up=daemon.up,
    )
    return Cutover(plan=plan(seen, cli), back=way_back(seen))


async def _later(env: Path | None, config: Config, rows: Sequence[Row]) -> frozenset[str]:
    if env is None:
        return frozenset()
    return await asyncio.to_thread(probes.later, env, config.paths.sessions, rows)


def _port(config: Config, daemon: Instance) -> int:
    return urlsplit(daemon.api or "").port or config.api.port
