"""Files of keys and secrets at a reload: what an editor or a full disk leaves behind locks nobody out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from loguru import logger

from tests.clocks import Clock
from waguard.api.auth import APPLICATION
from waguard.config.sections import Config
from waguard.core.issued_keys import Wanted
from waguard.core.keys import Right
from waguard.daemon.secret_files import SecretFiles

KEY = "the-key-of-the-application"
SECRET = b"the-secret"


class Files:
    """A daemon's files, and what it makes of them."""

    def __init__(self, folder: Path) -> None:
        self.keys, self.secrets = folder / "api-key", folder / "webhook-secret"
        self.config = Config()
        self.put(self.keys, f"{KEY}\n".encode())
        self.put(self.secrets, SECRET + b"\n")
        self.name(self.secrets)
        self.config = msgspec.structs.replace(
            self.config,
            api=msgspec.structs.replace(self.config.api, key_file=self.keys),
            paths=msgspec.structs.replace(self.config.paths, state=folder),
        )
        self.conditions: dict[str, str | None] = {}
        self.signs: list[bytes] | None = None

    def begin(self) -> SecretFiles:
        return SecretFiles(lambda: self.config, Clock(), report=self.conditions.__setitem__)

    def put(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o600)

    def name(self, path: Path | None) -> None:
        """As ``webhook.secret_file``."""
        webhook = msgspec.structs.replace(self.config.webhook, secret_file=path)
        self.config = msgspec.structs.replace(self.config, webhook=webhook)

    def reload(self, secrets: SecretFiles) -> None:
        secrets.read_again(lambda it: setattr(self, "signs", list(it)))


@pytest.fixture
def files(short_path: Path) -> Files:
    return Files(short_path)


@pytest.fixture
def events() -> Iterator[list[str]]:
    found: list[str] = []
    sink = logger.add(lambda it: found.append(it.record["extra"].get("event", "")))
    yield found
    logger.remove(sink)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _commented(path: Path) -> None:
    path.write_bytes(b"# nothing else\n")


@pytest.mark.parametrize("harm", [_emptied, _commented, Path.unlink])
def test_a_key_file_that_holds_none_at_a_reload_changes_nothing(
    files: Files, events: list[str], harm: Callable[[Path], None]
) -> None:
    secrets = files.begin()
    harm(files.keys)
    left = files.keys.read_bytes() if files.keys.exists() else None
    files.reload(secrets)
    assert secrets.keys.accept(KEY)
    assert events.count("keys_rejected") == 1
    assert (files.keys.read_bytes() if files.keys.exists() else None) == left


def test_a_key_that_is_made_at_the_start_is_said(files: Files, events: list[str]) -> None:
    files.put(files.keys, b"")
    secrets = files.begin()
    assert len(secrets.keys.values) == 1
    assert not secrets.keys.accept(KEY)
    assert events == ["key_generated"]


def test_an_empty_file_of_secrets_at_a_reload_leaves_webhooks_signed(
    files: Files, events: list[str]
) -> None:
    secrets = files.begin()
    files.put(files.secrets, b"\n")
    files.reload(secrets)
    assert files.signs is None
    assert list(secrets.webhook) == [SECRET]
    assert events.count("secrets_rejected") == 1


def test_who_signs_nothing_any_more_takes_the_name_out(files: Files, events: list[str]) -> None:
    secrets = files.begin()
    files.name(None)
    files.reload(secrets)
    assert files.signs == []
    assert "secrets_rejected" not in events


async def test_issued_keys_that_somebody_has_damaged_are_reported_within_the_minute(
    files: Files,
) -> None:
    secrets = files.begin()
    assert files.conditions == {"keys_unreadable": None}
    wanted = Wanted(name="shop", right=Right.READ)
    text, _ = await secrets.issued_keys.create(APPLICATION, wanted, {})
    caller = secrets.issued_keys.find(text)
    assert caller
    files.put(files.config.paths.state / "keys.json", b"{")
    secrets.issued_keys.record_use(caller)
    await secrets.save_keys()
    assert "keys.json" in (files.conditions["keys_unreadable"] or "")
    assert secrets.issued_keys.find(text)
