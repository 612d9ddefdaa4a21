"""``alerts.destination_file``: one destination a line, with the secrets that it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.core.alerts import destinations
from waguard.core.alerts.destinations import AlertDestination
from waguard.core.profile.ownership import Us
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.ownership import require_private
from waguard.host.small_file import UnreadableError

_KEY: Final = "alerts.destination_file"
_SHOWN: Final = 5  # wrong lines


def read(
    path: Path | None, who: Us | None = None
) -> tuple[Sequence[AlertDestination], ConfigError | None]:
    """Destinations that can be used, and what is wrong with the file. ``who`` runs waguard."""
    if path is None:
        return (), None
    try:
        require_private(_KEY, path, who)
        found, wrong = destinations.parse(small_file.read(path, named=True).decode())
    except ConfigError as error:
        return (), error
    except (OSError, UnreadableError) as error:
        why = str(error) if isinstance(error, UnreadableError) else error.strerror
        remedy = "name a file that this user can read"
        return (), _refused(path, f"it cannot be read: {why}", remedy)
    except UnicodeDecodeError:
        return (), _refused(path, "it is not UTF-8", "write one destination a line")
    if not wrong:
        return found, None
    forms = "; ".join(form for form, _, _ in destinations.FORMS.values())
    return found, _refused(
        path, "; ".join(wrong[:_SHOWN]), f"write one destination a line: {forms}"
    )


def _refused(path: Path, why: str, remedy: str) -> ConfigError:
    return ConfigError(f"{path}: {why}", field=_KEY, value=str(path), remedy=remedy)
