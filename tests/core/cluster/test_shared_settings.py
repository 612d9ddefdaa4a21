"""Secrets are compared and not shown."""

from waguard.core.cluster.shared_settings import digests_of_secrets

KEY = b"k" * 32


def digest(name: str, secrets: list[bytes], key: bytes) -> str | None:
    return digests_of_secrets(key, {name: secrets})[name]


def test_the_same_secrets_have_the_same_digest() -> None:
    first = digest("api.key_file", [b"a", b"b"], KEY)
    assert first == digest("api.key_file", [b"b", b"a"], KEY)
    assert first is not None
    others = [
        digest("api.key_file", [b"a"], KEY),
        digest("api.key_file", [b"ab"], KEY),
        digest("webhook.secret_file", [b"a", b"b"], KEY),
        digest("api.key_file", [b"a", b"b"], b"l" * 32),
    ]
    assert len({first, *others}) == 5
    assert digest("webhook.secret_file", [], KEY) is None
