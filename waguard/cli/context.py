"""What every command is given beside its arguments, and the configuration that it finds by both."""

import argparse
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from waguard.cli.waiting import SAYS_AFTER
from waguard.config.reading import Reading
from waguard.config.sections import Config
from waguard.errors import ConfigError
from waguard.host import configuration_file
from waguard.host.configuration_file import Found
from waguard.host.files.acting import as_owner_of


class Desk(Struct, frozen=True, kw_only=True):
    """The Chrome that `waguard passkey` opens where a person is. Tests have no display, and a passkey of their own."""

    arguments: tuple[str, ...] = ()
    visible: bool = True
    sandbox: bool = True
    opened: Callable[[Any, Any], Awaitable[None]] | None = None
    """What is done with browser and page before anybody is asked."""


class Context(Struct, frozen=True, kw_only=True):
    """The ``context`` of a command's arguments. Tests pass another one."""

    system_file: Path = configuration_file.SYSTEM_FILE
    root: Path = Path("/")
    """Where the folders of systemd lie."""
    link_poll: float = 2.0
    """Seconds between two checks of a session that is being linked."""
    says_after: float = SAYS_AFTER
    """Seconds after which a command says what it waits for."""
    desk: Desk = Desk()


def read(arguments: argparse.Namespace) -> tuple[Found, Reading]:
    """The configuration that is found."""
    context: Context = arguments.context
    return configuration_file.read(arguments.config, os.environ, system_file=context.system_file)


def located(arguments: argparse.Namespace) -> tuple[Found, Reading]:
    """The configuration that is found. Raises where it lies as earlier versions had it."""
    found, reading = read(arguments)
    configuration_file.require_nothing_left_behind(found, reading)
    return found, reading


def config_of(arguments: argparse.Namespace) -> Config:
    """What ``located`` holds."""
    return located(arguments)[1].config


@contextlib.contextmanager
def in_place(key: str, place: Path) -> Iterator[None]:
    """Around all that a command does with what a key of the configuration names. Root has the rights of its
    owner alone meanwhile, and makes nothing that the daemon cannot use. Raises ``ConfigError``."""
    try:
        with as_owner_of(place):
            yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or place} cannot be used: {error.strerror or error}",
            field=key,
            value=str(place),
            remedy="run this as root, or as the daemon's user",
        ) from None
