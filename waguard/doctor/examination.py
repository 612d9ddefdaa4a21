"""Run all probes and all checks."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from waguard.config.key_file import KEY_LENGTH
from waguard.config.reading import ENV_PREFIX, Reading
from waguard.config.sections import Config
from waguard.core.profile.ownership import Us
from waguard.doctor import phase
from waguard.doctor.checks import daemon as answers
from waguard.doctor.checks import database as databases
from waguard.doctor.checks import files, host, instance, profiles, receiver, stored, unit, versions
from waguard.doctor.checks.instance import Instance, Socket
from waguard.doctor.probes import database as database_probes
from waguard.doctor.probes import files as file_probes
from waguard.doctor.probes import host as host_probes
from waguard.doctor.probes import instance as instance_probes
from waguard.doctor.probes import profiles as profile_probes
from waguard.doctor.probes import receiver as receiver_probes
from waguard.doctor.probes import stored as stored_probes
from waguard.doctor.probes import unit as unit_probes
from waguard.doctor.probes import versions as version_probes
from waguard.doctor.probes.instance import Daemon
from waguard.doctor.probes.machine import Machine
from waguard.doctor.report import Check, Cli, Result, failed, skipped
from waguard.doctor.timings import TIMINGS, Timings
from waguard.errors import ConfigError
from waguard.host import configuration_file
from waguard.host.configuration_file import Found
from waguard.host.system import service_needs

NAMES: Final = (
    "configuration",
    "owners",
    "keys",
    "secret",
    "proxies",
    "instance",
    "socket",
    "port",
    "unit",
    "chromium",
    "sandbox",
    "wa-js",
    "versions",
    "disk",
    "memory",
    "pressure",
    "limits",
    "clock",
    "network",
    "database",
    "migrations",
    "lease",
    "rows",
    "stored",
    "agreement",
    "profiles",
    "backup",
    "strays",
    "receiver",
    "signature",
    "call-back",
    "etcd",
    "connections",
    "hosts",
    "health",
)
"""Every check, in the order of the report."""
OF_CLUSTER: Final = ("etcd", "connections", "hosts")
"""Those that there are only where several hosts are configured."""

_TRIES: Final = 3
Section = Callable[[], Awaitable[Sequence[Check]]]


async def examine(
    option: Path | None,
    environ: Mapping[str, str],
    machine: Machine,
    timings: Timings = TIMINGS,
) -> list[Check]:
    """Every check. Changes nothing, and starts Chromium only on an empty profile of its own."""
    cli = phase.cli(option, machine)
    located = _configuration(option, environ, machine, cli)
    if isinstance(located, Check):
        checks = [located, *_unit_only(await _unit(machine, None, cli))]
        rest = skipped("configuration", "nothing else is checked without a valid one")
        return phase.advised_on([*checks, rest], machine, cli)
    found, reading = located
    tries = _TRIES
    while True:
        daemon = await phase.begun(machine, reading.config, timings)
        if daemon.socket is Socket.DENIED:  # what this user does not see would be misjudged
            return instance.instance(daemon)
        checks = await _Examination(machine, cli, found, reading, environ, daemon, timings).run()
        tries -= 1
        if not tries or await phase.instance(machine, reading.config, timings) == daemon:
            return phase.advised_on(checks, machine, cli)
        # it started or ended meanwhile, and half of this is about another one


def _unit_only(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.result is not Result.SKIPPED]


def _configuration(
    option: Path | None, environ: Mapping[str, str], machine: Machine, cli: Cli
) -> tuple[Found, Reading] | Check:
    try:
        found, reading = configuration_file.read(option, environ, system_file=machine.system_file)
        configuration_file.require_nothing_left_behind(found, reading)
    except ConfigError as error:
        where = f"{error.field}: " if error.field else ""
        remedy = error.remedy or "Correct it"
        return failed("configuration", f"{where}{error.message}", remedy, cli("config check"))
    return found, reading


async def _unit(machine: Machine, config: Config | None, cli: Cli) -> list[Check]:
    return unit.unit(await unit_probes.unit(machine, config), cli)


class _Examination:
    """One, of one configuration."""

    def __init__(
        self,
        machine: Machine,
        cli: Cli,
        found: Found,
        reading: Reading,
        environ: Mapping[str, str],
        daemon: Instance,
        timings: Timings,
    ) -> None:
        self._machine = machine
        self._cli = cli
        self._found = found
        self._reading = reading
        self._config: Config = reading.config
        self._environ = environ
        self._daemon = daemon
        self._timings = timings
        self._who = _who(self._config, found, daemon)

    async def run(self) -> list[Check]:
        """All sections side by side; one that breaks leaves the others."""
        sections: dict[str, Section] = {
            "configuration": self._configuration,
            "owners": self._files,
            "instance": self._instance,
            "unit": self._unit,
            "chromium": self._browser,
            "disk": self._host,
            "network": self._network,
            "database": self._database,
            "strays": self._strays,
            "receiver": self._receiver,
            "versions": self._versions,
            "health": self._health,
        }
        if self._config.cluster.engine != "none":
            sections["hosts"] = self._cluster
        done = await asyncio.gather(*(_guarded(name, run) for name, run in sections.items()))
        checks = [check for section in done for check in section]
        order = {name: place for place, name in enumerate(NAMES)}
        return sorted(checks, key=lambda check: order[check.name])

    async def _configuration(self) -> list[Check]:
        lines = configuration_file.hidden_lines(self._reading)
        path = self._found.path
        retired = self._reading.retired
        own = host.configured(lines, retired, str(path) if path else None, self._cli)
        return own + self._elsewhere()

    def _elsewhere(self) -> list[Check]:
        """What the daemon's environment has beside this one's."""
        pid = self._daemon.pid
        if not self._daemon.up or pid is None:
            return []
        theirs = self._machine.environment(pid)
        named = (n for n in theirs if n.startswith(ENV_PREFIX) and "__" in n)
        other = sorted(n for n in named if self._environ.get(n) != theirs[n])
        return unit.environment(other, pid)

    async def _files(self) -> list[Check]:
        config, who, cli = self._config, self._who, self._cli
        keys, up = file_probes.keys(config.api.key_file), self._daemon.up
        return [
            *files.owners(file_probes.owned(self._reading), who, cli),
            files.keys(keys, who, cli, least=KEY_LENGTH, up=up),
            files.secrets(file_probes.secrets(config), url=config.webhook.url),
            files.kept_back(file_probes.kept_back(config)),
        ]

    async def _instance(self) -> list[Check]:
        seen = instance_probes.port(self._machine, self._config, self._daemon)
        return [*instance.instance(self._daemon), instance.port(seen, self._daemon)]

    async def _unit(self) -> list[Check]:
        config = self._config if self._found.of_unit else None
        return await _unit(self._machine, config, self._cli)

    async def _browser(self) -> list[Check]:
        other = (self._who.uid, self._who.gid) if self._is_root_for_another else None
        seen = await host_probes.browser(self._machine, self._config, other)
        timeout = self._config.browser.launch_timeout
        script = host_probes.script(self._machine, self._config)
        return [*host.browser(seen, timeout=timeout), host.script(script)]

    @property
    def _is_root_for_another(self) -> bool:
        return os.geteuid() == 0 and self._who.uid != 0

    async def _host(self) -> list[Check]:
        machine, config, reserve = self._machine, self._config, self._config.limits.disk_reserve
        pid = self._daemon.pid if self._daemon.lives else None
        return [
            *host.disks(
                {
                    key: (str(folder), machine.space(host_probes.nearest(folder)))
                    for key, folder in host_probes.folders(config).items()
                },
                reserve=reserve,
            ),
            *host.memory(machine.left(pid), host_probes.needs(config)),
            *host.limits(host_probes.limits(machine, self._daemon)),
        ]

    async def _network(self) -> list[Check]:
        url, proxied = self._config.whatsapp.url, host_probes.is_proxied(self._config)
        error = None if proxied else await host_probes.connect(url)
        return [host.network(url, error, proxied=proxied)]

    async def _database(self) -> list[Check]:
        """And what depends on its rows, and on its clock."""
        config, machine, cli = self._config, self._machine, self._cli
        here = config.cluster.host if config.cluster.engine != "none" else None
        seen = await database_probes.database(config.database.url, here)
        key = config.webhook.stored
        table = await stored_probes.stored(config.database.url, key) if key else None
        ahead = {} if seen.now is None else {"the database's clock": seen.now - machine.now()}
        found, date = await receiver_probes.receiver(config.webhook.url)
        if (by := receiver_probes.ahead(date, machine.now())) is not None:
            ahead["the receiver's clock"] = by
        folder = await asyncio.to_thread(profile_probes.folder, machine, config.paths.sessions)
        runtime = str(config.paths.runtime.resolve())
        return [
            *databases.database(seen, self._daemon, runtime, cli, standby=config.lease.standby),
            databases.rows(seen, self._daemon),
            stored.stored(table, key, cli),
            *profiles.profiles(folder, seen.rows, cli),
            await self._backup(),
            *host.clock(host_probes.clock(machine, config, ahead)),
            receiver.receiver(found, cli),
        ]

    async def _backup(self) -> Check:
        last, unknown = await asyncio.to_thread(
            profile_probes.last_backup, self._config.paths.state
        )
        timer = profile_probes.backup_timer(self._machine)
        return profiles.backup(last, unknown, now=self._machine.now(), timer=timer)

    async def _strays(self) -> list[Check]:
        """Those that are there at two moments: a worker that begins or ends has no record for one."""
        first = await asyncio.to_thread(profile_probes.strays, self._machine, self._config)
        if first and self._daemon.lives:
            await asyncio.sleep(self._timings.again)
            again = await asyncio.to_thread(profile_probes.strays, self._machine, self._config)
            first = [one for one in first if one in again]
        return profiles.strays(first, self._daemon, self._cli)

    async def _receiver(self) -> list[Check]:
        health = await self._ask("/health/detailed")
        seen = await receiver_probes.call_back(self._config, self._daemon, health)
        return [receiver.call_back(seen, self._daemon)]

    async def _versions(self) -> list[Check]:
        """Which are known, as the daemon has them, and whether they can be read."""
        kept = await asyncio.to_thread(version_probes.kept, self._config.paths.state)
        answer, now = await self._ask("/api/versions"), self._machine.now()
        mode = self._config.versions.mode
        return [versions.versions(kept, answer, mode=mode, now=now, cli=self._cli)]

    async def _cluster(self) -> list[Check]:
        """What several hosts need besides."""
        from waguard.doctor import cluster  # noqa: PLC0415 - few have several

        return await cluster.checks(self._config, self._cli, self._ask)

    async def _health(self) -> list[Check]:
        """What the daemon itself knows."""
        names = ("agreement", "signature", "health")
        if not self._daemon.up:
            return [skipped(name, "no daemon answers") for name in names]
        health, compared, dead = await asyncio.gather(
            self._ask("/health/detailed"), self._compared(), self._ask("/api/webhooks/dead")
        )
        cli, now, silent = (
            self._cli,
            self._machine.now(),
            "the daemon does not answer this question",
        )
        return [
            *(answers.health(health, cli) if health else [skipped("health", silent)]),
            *(
                answers.agreement(compared[0], compared[1], cli)
                if compared
                else [skipped("agreement", silent)]
            ),
            answers.signature(dead["dead"], now, cli) if dead else skipped("signature", silent),
        ]

    async def _compared(self) -> tuple[answers.Answer, answers.Answer] | None:
        """Twice where something is to be corrected: what is under way at one moment is done by then."""
        first = await self._ask("/api/reconcile")
        if first is None or not first.get("corrections"):
            return None if first is None else (first, first)
        await asyncio.sleep(self._timings.again)
        again = await self._ask("/api/reconcile")
        return None if again is None else (first, again)

    async def _ask(self, path: str) -> Mapping[str, Any] | None:
        if not self._daemon.up:
            return None
        daemon = Daemon(self._config.paths.runtime, within=self._timings.daemon)
        try:
            return await asyncio.to_thread(daemon.ask, path)
        except OSError:
            return None


async def _guarded(name: str, section: Section) -> Sequence[Check]:
    try:
        return await section()
    except Exception as error:  # noqa: BLE001 - at such a host anything may be; the rest is of use
        why = f"{type(error).__name__}: {error}"
        return [
            failed(name, f"it could not be checked: {why}", "Report this, with the lines above")
        ]


def _who(config: Config, found: Found, daemon: Instance) -> Us:
    service = service_needs.user() if found.of_unit else None
    return file_probes.daemons_user(config, daemon.pid if daemon.lives else None, service)
