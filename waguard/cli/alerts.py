"""``waguard alerts``: try the destinations of alerts, and report a daemon that failed. Both work without a daemon."""

import argparse
import asyncio
import contextlib
import os
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from waguard.cli import output
from waguard.cli.context import Context, config_of, in_place
from waguard.cli.parsing import verb, verbs_of, with_config, with_json
from waguard.cli.render import print_either
from waguard.config.placing import placed
from waguard.config.sections import Config
from waguard.core.alerts import notice
from waguard.core.alerts.destinations import AlertDestination
from waguard.core.alerts.notice import Notice
from waguard.errors import ConfigError
from waguard.host import configuration_file
from waguard.messaging.alerts import delivery, destination_file
from waguard.messaging.alerts.alerts import page_of

_KEY: Final = "alerts.destination_file"
_SECTION: Final = re.compile(
    r"^[ \t]*\[[ \t]*alerts[ \t]*\].*?(?=^[ \t]*\[|\Z)"
    r"|^[ \t]*alerts[ \t]*(?:\.[ \t]*destination_file[ \t]*)?=[^\n]*",
    re.DOTALL | re.MULTILINE,
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    test = verb(verbs, "test", _test, "send a test to each destination, and show its answer")
    failed = verb(verbs, "failed", _failed, "report that a unit failed; its OnFailure= runs it")
    for one in (test, failed):
        with_json(one)
        with_config(one)


def _test(arguments: argparse.Namespace) -> int:
    config = config_of(arguments)
    destinations, refused = _destinations(config)
    if refused:
        raise refused
    if not destinations:
        raise ConfigError(
            "there is no destination to test",
            field=_KEY,
            remedy="name a file with one destination a line, see docs/alerts.md",
        )
    said = notice.of_test(host=socket.gethostname(), page=page_of(config))
    return _deliver(arguments, destinations, said)


def _failed(arguments: argparse.Namespace) -> int:
    config = _readable(arguments)
    result, status = (
        os.environ.get(f"MONITOR_{name}") for name in ("SERVICE_RESULT", "EXIT_STATUS")
    )  # systemd.exec(5)
    why = f"{result or 'unknown result'}{f', exit status {status}' if status else ''}"
    unit = os.environ.get("MONITOR_UNIT", notice.UNIT)
    said = notice.of_failed_unit(why, unit=unit, host=socket.gethostname(), page=page_of(config))
    destinations, refused = _destinations(config)
    if refused:
        output.say(f"{refused.line()}\n")
    return max(_deliver(arguments, destinations, said), refused.code if refused else 0)


def _destinations(config: Config) -> tuple[Sequence[AlertDestination], ConfigError | None]:
    """Those that can be used, and what is wrong with the file."""
    path = config.alerts.destination_file
    if path is None:
        return (), None
    with in_place(_KEY, path):
        return destination_file.read(path)


def _deliver(
    arguments: argparse.Namespace, destinations: Sequence[AlertDestination], said: Notice
) -> int:
    """To all at once; the exit code is 1 where one did not accept it."""

    async def every() -> list[str | None]:
        return await asyncio.gather(*(delivery.deliver(it, said) for it in destinations))

    errors = asyncio.run(every())
    rows = [
        {"destination": it.name, "ok": error is None, "error": error}
        for it, error in zip(destinations, errors, strict=True)
    ]
    lines = [f"{it['destination']}: {it['error'] or 'accepted'}" for it in rows]
    print_either(arguments, {"results": rows}, *(lines or ["there is no destination"]))
    return 1 if any(errors) else 0


def _readable(arguments: argparse.Namespace) -> Config:
    """The configuration. Where it is wrong, which may be why the daemon failed, what names the destinations alone."""
    try:
        return config_of(arguments)
    except ConfigError:
        context: Context = arguments.context
        found = configuration_file.find(
            arguments.config, os.environ, system_file=context.system_file
        )
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            path = found.path or Path()
            named = os.environ.get(configuration_file.variable(*_KEY.split(".")))
            if named is None:
                named = _alerts_of(path)["destination_file"]
            if named:
                return placed([{"alerts": {"destination_file": Path(named)}}], path.parent)
        raise


def _alerts_of(path: Path) -> Mapping[str, Any]:
    """What section [alerts] has, also in a file that as a whole is no TOML. Raises ``OSError``, ``ValueError``, ``LookupError``."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    try:
        return dict(tomllib.loads(text)["alerts"])
    except (ValueError, RecursionError):
        cut = _SECTION.search(text)
        return dict(tomllib.loads(cut[0] if cut else "")["alerts"])
