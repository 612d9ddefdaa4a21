"""Secrets are compared and not shown."""

from tests.core.cluster.hosts import record
from waguard.core.cluster.shared_settings import digests, digests_of_secrets, is_everybodys

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


def test_a_key_that_a_living_host_has_not_is_not_everybodys() -> None:
    same, other = (digests(key, {"webhook.url": "http://app"}) for key in (KEY, b"l" * 32))
    assert is_everybodys(KEY, [])
    assert is_everybodys(KEY, [record("b", "x", settings=same), record("c", "y")])
    assert not is_everybodys(
        KEY, [record("b", "x", settings=same), record("c", "y", settings=other)]
    )
    assert is_everybodys(KEY, [record("c", "y", settings=other, alive=False)])
    assert is_everybodys(KEY, [record("b", "x", settings=digests(KEY, {}))]), "nothing else counts"
