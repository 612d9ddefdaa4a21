"""``waguard run``: the daemon in the foreground."""

import argparse
import os
import sys

from waguard.cli.context import located
from waguard.cli.parsing import with_config
from waguard.config.checks import require_sandbox
from waguard.config.reading import Reading, holds_password
from waguard.config.sections import Config
from waguard.host import configuration_file
from waguard.host.configuration_file import Found
from waguard.host.files.lock import InstanceLock, acquire
from waguard.host.files.ownership import require_private
from waguard.host.system.api_port import ApiPort
from waguard.host.system.listen import base_url
from waguard.host.system.systemd import SystemdNotifier


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    with_config(parser)
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    os.umask(0o077)
    found, reading = located(arguments)
    config = reading.config
    require_sandbox(config.browser, root=os.geteuid() == 0)
    _require_private(config, found)
    lock = acquire(config.paths.runtime)
    try:
        port = ApiPort.open(config.api.host, config.api.port, SystemdNotifier())
        lock.publish(base_url(port.socket))

        import asyncio  # noqa: PLC0415 - only the instance that runs pays for it

        return asyncio.run(_serve(reading, lock, port))
    finally:
        lock.release()


def _require_private(config: Config, found: Found) -> None:
    """Before anything is created: what holds credentials is this user's, or root's."""
    wanted = {
        "paths.runtime": config.paths.runtime,
        "paths.sessions": config.paths.sessions,
        "paths.state": config.paths.state,
        "database.key_file": config.database.key_file,
        "webhook.secret_file": config.webhook.secret_file,
        "alerts.destination_file": config.alerts.destination_file,
        found.by or "the configuration": found.path
        if found.path and holds_password(found.path)
        else None,
    }
    for field, private in wanted.items():
        for refusal in require_private(field, private) if private else ():
            sys.stderr.write(
                f"waguard: {field}: {refusal.path} {refusal.why} ({refusal.command})\n"
            )


async def _serve(reading: Reading, lock: InstanceLock, port: ApiPort) -> int:
    """Begin the fork server, then the imports: both take a fifth of a second, side by side."""
    from loguru import logger  # noqa: PLC0415

    from waguard.host.process import early_signals, garbage  # noqa: PLC0415
    from waguard.host.process.fork_server import ForkSpawn  # noqa: PLC0415
    from waguard.host.system import logs  # noqa: PLC0415

    config = reading.config
    logs.configure(config.log.level, config.log.format)
    spawn = ForkSpawn()
    spawn.start()
    try:
        with garbage.importing():
            from waguard.daemon.root import Daemon  # noqa: PLC0415

        for line in configuration_file.hidden_lines(reading):
            logger.warning("{}", line, event="config_hidden")
        for line in reading.retired:
            logger.warning("{}", line, event="config_retired")
        return await Daemon(config, lock, port, reading.path, spawn).run()
    finally:
        await spawn.close()
        early_signals.ignore()
        logs.flush()
