"""What of this host's configuration all hosts of its cluster have to have alike, as its lease shows it."""

from collections.abc import Callable, Mapping, Sequence

from waguard import __version__
from waguard.config.sections import Config
from waguard.core.cluster import shared_settings


class ComparedSettings:
    """``key`` is what ``cluster.key_file`` holds, ``secrets`` sign webhooks, ``wajs`` is the digest of the bundle in use.
    No file is read here: a lease must be renewed while a disk hangs."""

    def __init__(
        self,
        config: Callable[[], Config],
        key: bytes,
        *,
        secrets: Callable[[], Sequence[bytes]],
        wajs: Callable[[], str],
    ) -> None:
        self._config = config
        self._key = key
        self._secrets = secrets
        self._wajs = wajs
        self._values: dict[str, object] = {}
        self._digests: Mapping[str, str] = {}

    def digests(self) -> Mapping[str, str]:
        """By name."""
        webhook = self._config().webhook
        values: dict[str, object] = {
            "webhook.url": webhook.url,
            "webhook.secret_file": list(self._secrets()),
            "webhook.events": sorted(webhook.events),
            "webhook.fields": webhook.fields,
            "webhook.stored": webhook.stored,
            shared_settings.wajs_of(__version__): self._wajs(),
        }
        if values != self._values:
            self._values, self._digests = values, shared_settings.digests(self._key, values)
        return self._digests
