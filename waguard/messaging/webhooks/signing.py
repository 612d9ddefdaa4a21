"""What a webhook carries besides its body: who sent it, which event it is, that it is genuine."""

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from waguard.errors import ConfigError
from waguard.host import small_file
from waguard.host.files.ownership import require_private
from waguard.host.small_file import UnreadableError

SECRETS: Final = 2  # valid at a time: the old one and the new one


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of the timestamp and the raw body, with nothing between them."""
    return hmac.digest(secret, timestamp.encode() + body, "sha256").hex()


def headers(
    *, secrets: Sequence[bytes], body: bytes, timestamp: str, instance_url: str, event_id: str
) -> dict[str, str]:
    """The headers of one attempt: the receiver takes only a ``timestamp`` (unix time) within ±300 s."""
    given = {
        "Content-Type": "application/json",
        "X-Timestamp": timestamp,
        "X-Instance-Url": instance_url,
        "X-Waguard-Event-Id": event_id,
    }
    if secrets:
        given["X-HMAC-Signature"] = sign(secrets[0], timestamp, body)
        digests = (hmac.digest(secret, body, "sha256").hex() for secret in secrets)
        given["X-Waguard-Signature"] = ", ".join(f"sha256={digest}" for digest in digests)
    return given


def read_secrets(path: Path | None) -> tuple[bytes, ...]:
    """One a line; the first signs, a second one is valid too. Raises ``ConfigError``."""
    if path is None:
        return ()
    require_private("webhook.secret_file", path)
    return secrets_in(path)


def secrets_in(path: Path) -> tuple[bytes, ...]:
    """As ``read_secrets``, whoever else may read the file."""
    try:
        lines = small_file.read(path, named=True).split(b"\n")
    except (OSError, UnreadableError) as error:
        why = str(error) if isinstance(error, UnreadableError) else error.strerror
        raise ConfigError(
            f"{path} cannot be read: {why}",
            field="webhook.secret_file",
            value=str(path),
            remedy="name a file that this user can read",
        ) from None
    secrets = tuple(line.strip() for line in lines if line.strip())
    if len(secrets) > SECRETS:
        raise ConfigError(
            f"{path} has {len(secrets)} lines",
            field="webhook.secret_file",
            value=str(path),
            remedy="one secret a line, two at most: the first signs, the second is still valid",
        )
    return secrets
