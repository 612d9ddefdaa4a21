"""``waguard config``: the configuration that is found."""

import argparse

from waguard.cli import config_commands
from waguard.cli.context import located, read
from waguard.cli.parsing import verb, verbs_of, with_config, with_json
from waguard.cli.render import print_either, print_json, print_table
from waguard.errors import printable
from waguard.host import configuration_file


def add(parser: argparse.ArgumentParser) -> None:
    """Add the noun's verbs."""
    verbs = verbs_of(parser)
    check = verb(
        verbs, "check", _config_check, "read it as the daemon would, and say what is wrong"
    )
    with_json(check)
    with_config(check)
    show = verb(verbs, "show", _config_show, "every key: its value, from where, the default")
    with_json(show)
    with_config(show)


def _config_check(arguments: argparse.Namespace) -> int:
    found, reading = located(arguments)
    said: list[str] = []
    try:
        say = said.append if arguments.json else print
        config_commands.check(found, reading, say, root=arguments.context.root)
    finally:  # also beside the line that says what is wrong
        print_either(arguments, {"file": found.path and str(found.path), "said": said})
    return 0


def _config_show(arguments: argparse.Namespace) -> int:
    found, reading = read(arguments)
    rows = config_commands.rows(reading)
    if arguments.json:
        print_json({"file": found.path and str(found.path), "keys": rows})
        return 0
    print(f"file: {found.path or 'none'}")
    print_table(rows, ("key", "value", "source", "default"))
    for line in (*configuration_file.hidden_lines(reading), *reading.retired):
        print(printable(line))
    return 0
