"""API keys and webhook secrets: read at the start, and again at each reload."""

from collections.abc import Callable, Sequence

from loguru import logger

from waguard.api.auth import load_or_create_keys, read_keys
from waguard.api.key_table import IssuedKeys
from waguard.config.sections import Config
from waguard.errors import ConfigError
from waguard.host.memory import key_memory
from waguard.host.system import logs
from waguard.messaging.webhooks.signing import read_secrets
from waguard.ports.clock import Clock


class SecretFiles:
    """What they hold never stands in the log."""

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        report: Callable[[str, str | None], None],
    ) -> None:
        """``report`` gets a condition, and its reason while it lasts. Raises ``ConfigError``."""
        self._config = config
        self._report = report
        self.webhook: Sequence[bytes] = read_secrets(config().webhook.secret_file)
        self.keys = load_or_create_keys(config().api.key_file)
        self.issued_keys = IssuedKeys(config().paths.state / key_memory.FILE, clock)
        self.keys.find_issued = self.issued_keys.find
        self._load_issued()
        logs.hide(*self.keys.values, *self.webhook)

    def read_again(self, sign_with: Callable[[Sequence[bytes]], None]) -> None:
        """A file that cannot be used changes nothing."""
        self._renew_webhook(sign_with)
        self._renew_keys()
        self._load_issued()

    async def save_keys(self) -> None:
        """Each minute, and at the end; what somebody has written since is read before."""
        await self.issued_keys.save()
        self._report_unreadable()

    def _load_issued(self) -> None:
        self.issued_keys.load()
        self._report_unreadable()

    def _report_unreadable(self) -> None:
        self._report("keys_unreadable", self.issued_keys.unreadable)

    def _renew_webhook(self, sign_with: Callable[[Sequence[bytes]], None]) -> None:
        """Also where no configuration key changed: the file may have."""
        try:
            secrets = read_secrets(self._config().webhook.secret_file)
            self._require_some(secrets)
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

    def _require_some(self, secrets: Sequence[bytes]) -> None:
        """An editor, or a full disk, has emptied the file: who signs nothing from now on takes its name out."""
        path = self._config().webhook.secret_file
        if path and self.webhook and not secrets:
            raise ConfigError(
                f"{path} is empty",
                field="webhook.secret_file",
                value=str(path),
                remedy="write one secret a line; remove webhook.secret_file to sign nothing",
            )

    def _renew_keys(self) -> None:
        try:
            fresh = read_keys(self._config().api.key_file)
        except ConfigError as error:
            logger.error(
                "API keys kept as they were: {}", error.line(), event="keys_rejected", every=True
            )
            return
        logs.hide(*fresh.values)
        self.keys.renew(fresh)
