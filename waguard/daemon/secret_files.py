"""API keys and webhook secrets: read at the start, and again at each reload."""

from collections.abc import Callable, Sequence

from loguru import logger

from waguard.api.auth import load_or_create_keys
from waguard.api.key_table import IssuedKeys
from waguard.config.sections import Config
from waguard.errors import ConfigError
from waguard.host.memory import key_memory
from waguard.host.system import logs
from waguard.messaging.webhooks.signing import read_secrets
from waguard.ports.clock import Clock


class SecretFiles:
    """What they hold never stands in the log."""

    def __init__(self, config: Callable[[], Config], clock: Clock) -> None:
        """Raises ``ConfigError``."""
        self._config = config
        self.webhook: Sequence[bytes] = read_secrets(config().webhook.secret_file)
        self.keys = load_or_create_keys(config().api.key_file)
        self.issued_keys = IssuedKeys(config().paths.state / key_memory.FILE, clock)
        self.keys.find_issued = self.issued_keys.find
        self.issued_keys.load()
        logs.hide(*self.keys.values, *self.webhook)

    def read_again(self, sign_with: Callable[[Sequence[bytes]], None]) -> None:
        """A file that cannot be used changes nothing."""
        self._renew_webhook(sign_with)
        self._renew_keys()
        self.issued_keys.load()

    def _renew_webhook(self, sign_with: Callable[[Sequence[bytes]], None]) -> None:
        """Also where no configuration key changed: the file may have."""
        try:
            secrets = read_secrets(self._config().webhook.secret_file)
        except ConfigError as error:
            logger.error(
                "webhook secrets kept as they were: {}",
                error.line(),
                event="secrets_rejected",
                every=True,
            )
            return
        logs.hide(*secrets)
        self.webhook = secrets
        sign_with(secrets)

    def _renew_keys(self) -> None:
        try:
            fresh = load_or_create_keys(self._config().api.key_file)
        except ConfigError as error:
            logger.error(
                "API keys kept as they were: {}", error.line(), event="keys_rejected", every=True
            )
            return
        logs.hide(*fresh.values)
        self.keys.renew(fresh)
