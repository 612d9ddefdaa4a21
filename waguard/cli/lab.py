"""What the commands of the lab need besides waguard."""

from importlib.util import find_spec

from waguard.errors import ConfigError


def require_lab() -> None:
    """Raises ``ConfigError`` where the extra is not installed."""
    if find_spec("cryptography") is None:
        raise ConfigError(
            "the stand-in of WhatsApp Web needs the package cryptography, which is not installed",
            remedy="pipx inject waguard cryptography",
        )
