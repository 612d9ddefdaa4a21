"""Databases that are up to date already: a migration takes longer than most tests, and a copy on a server longer
than to empty one whose test is over."""

import atexit
import functools
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

from tests.store import emptying
from tests.store.application import SqlApplication
from tests.store.servers import Server
from waguard.store.sql import SqlStore

_Kind = tuple[str, tuple[str, ...]]
"""Where they are, and what the application had made before."""
_MADE: Final = dict[_Kind, str]()
_FREE: Final = defaultdict[_Kind, list[str]](list)
"""Databases of a server whose test is over."""
_SHAPES: Final = dict[_Kind, list[str]]()
_NUMBERS: Final = count(1)
_COPIED: Final = dict[str, Sequence[str]]()
"""What makes the same in another database of a MariaDB, by the template's URL."""


async def copy_to(path: Path, *before: str) -> None:
    """A new database; ``before`` are statements of the application, whose tables were there first."""
    made = _MADE.get(("", before))
    if made is None:
        made = str(_folder() / f"{len(_MADE)}.db")
        await _migrate(f"sqlite+aiosqlite:///{made}", before)
        _MADE["", before] = made
    shutil.copyfile(made, path)


async def ready_on(server: Server, *before: str) -> str:
    """The name of such a database of a server."""
    kind = server.url(""), before
    while _FREE[kind]:
        name = _FREE[kind].pop()
        if await emptying.emptied(server.url(name)) == _SHAPES[kind]:
            return name
        # else its test has altered it, or something still uses it
    name = f"ready_{next(_NUMBERS)}"
    await copy_on(server, name, *before)
    if kind not in _SHAPES:
        _SHAPES[kind] = await emptying.shape(server.url(name))
    return name


def is_over(server: Server, name: str, *before: str) -> None:
    """The test that had it has ended: it is used again."""
    _FREE[server.url(""), before].append(name)


async def copy_on(server: Server, name: str, *before: str) -> None:
    """The same as the database ``name`` of a server."""
    place = server.url("")
    made = _MADE.get((place, before))
    if made is None:
        made = f"template_{len(_MADE)}"
        await _create(server, made)
        await _migrate(server.url(made), before)
        _MADE[place, before] = made
    if server.base.startswith("postgresql"):
        await _create(server, f"{name} TEMPLATE {made}")
        return
    if server.url(made) not in _COPIED:
        _COPIED[server.url(made)] = await _statements(server.url(made), made)
    await _create(server, name)
    await SqlApplication(server.url(name)).run(
        "SET FOREIGN_KEY_CHECKS = 0", *_COPIED[server.url(made)]
    )


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="wg-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


async def _create(server: Server, what: str) -> None:
    maintenance = SqlApplication(server.url(server.maintenance))
    await maintenance.run_alone(f"CREATE DATABASE {what}")


async def _migrate(url: str, before: Sequence[str]) -> None:
    await SqlApplication(url).run(*before)
    store = SqlStore(url)
    await store.open()
    await store.close()


async def _statements(url: str, name: str) -> list[str]:
    template = SqlApplication(url)
    tables = [next(iter(row.values())) for row in await template.rows("SHOW TABLES")]
    made = [(await template.rows(f"SHOW CREATE TABLE `{it}`"))[0]["Create Table"] for it in tables]
    return [*made, *(f"INSERT INTO `{it}` SELECT * FROM {name}.`{it}`" for it in tables)]
