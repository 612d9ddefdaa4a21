"""``<paths.runtime>/incarnation``: the life of this host's lease, for the next daemon here. It outlives the daemon, and
no reboot."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from waguard.host import small_file
from waguard.host.files.private_files import replace_private
from waguard.host.memory import damaged
from waguard.host.process.procfs import boot_id
from waguard.host.small_file import UnreadableError

FILE: Final = "incarnation"


class KeptIncarnation(Struct, frozen=True, kw_only=True):
    """Whose workers run here."""

    cluster: str
    """The id of the cluster, which is the installation's in its database."""
    host: str
    """The name of this host in it."""
    incarnation: str
    boot_id: str


def read(runtime: Path, boot: str) -> KeptIncarnation | None:
    """None: nothing of before may be adopted, for there is none of this boot. What is damaged is none, and is
    quarantined. Raises ``OSError`` where the system does not let it be read now."""
    path = runtime / FILE
    try:
        found = msgspec.json.decode(small_file.read(path), type=KeptIncarnation)
    except FileNotFoundError:
        return None
    except (UnreadableError, ValueError, RecursionError) as error:
        if isinstance(error, UnreadableError) and error.by_system:
            raise OSError(f"{path}: {error}") from None
        damaged.quarantine(path, error)
        return None
    return found if found.boot_id == boot else None


def write(runtime: Path, cluster: str, host: str, incarnation: str) -> None:
    """Whole or not at all. Blocks. Raises ``OSError``."""
    kept = KeptIncarnation(cluster=cluster, host=host, incarnation=incarnation, boot_id=boot_id())
    replace_private(runtime / FILE, msgspec.json.encode(kept))
