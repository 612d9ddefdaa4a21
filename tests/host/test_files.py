import resource

import pytest

from waguard.host.process import open_files as files

NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "limit", "is_set"),
    [
        (1_024, 4_096, 4_096, True),
        (1_024, 1_048_576, files.WANTED, True),
        (1_024, NONE, files.WANTED, True),
        (4_096, 4_096, 4_096, False),
        (100_000, 200_000, 100_000, False),  # never lowered
        (NONE, NONE, files.WANTED, False),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_helps(
    monkeypatch: pytest.MonkeyPatch,
    soft: int,
    hard: int,
    limit: int,
    is_set: bool,  # noqa: FBT001 - a parameter
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert files.raise_limit() == limit
    assert asked == ([(limit, hard)] if is_set else [])
