"""``alerts.destination_file``: one destination a line, with the secrets that it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.core.alerts import destinations
from waguard.core.alerts.destinations import AlertDestination
from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.ownership import require_private
from waguard.host.small_file import UnreadableError

_KEY: Final = "alerts.destination_file"


def read(path: Path | None) -> Sequence[AlertDestination]:
    """All destinations. Raises ``ConfigError``."""
    if path is None:
        return ()
    require_private(_KEY, path)
    try:
        return destinations.parse(small_file.read(path, named=True).decode())
    except (OSError, UnreadableError) as error:
        why = str(error) if isinstance(error, UnreadableError) else error.strerror
        raise _refused(
            path, f"it cannot be read: {why}", "name a file that this user can read"
        ) from None
    except UnicodeDecodeError:
        raise _refused(path, "it is not UTF-8", "write one destination a line") from None
    except ValueError as error:
        remedy = "write one destination a line: " + "; ".join(
            form for form, _, _ in destinations.FORMS.values()
        )
        raise _refused(path, str(error), remedy) from None


def _refused(path: Path, why: str, remedy: str) -> ConfigError:
    return ConfigError(f"{path}: {why}", field=_KEY, value=str(path), remedy=remedy)
