"""The configuration, for commands that work on files."""

import argparse
import os

from waguard.config import Config, Reading
from waguard.host import configuration
from waguard.host.configuration import Found


def located(arguments: argparse.Namespace) -> tuple[Found, Reading]:
    """The configuration that is found. Raises where it lies as earlier versions had it."""
    found, reading = configuration.read(arguments.config, os.environ)
    configuration.require_nothing_left_behind(found, reading)
    return found, reading


def config_of(arguments: argparse.Namespace) -> Config:
    """What ``located`` holds."""
    return located(arguments)[1].config
