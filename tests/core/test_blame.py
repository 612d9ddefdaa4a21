"""Whose fault an exit is, for every code that a worker has."""

import signal

import msgspec
import pytest

from waguard.core.blame import Blame, Condition, Failure, describe_exit, of_exit
from waguard.core.exits import EXIT_MEANINGS

OF_EXIT = {
    0: (Blame.OPERATOR, "ended"),
    10: (Blame.SESSION, "browser_not_started"),
    11: (Blame.HOST, "profile_locked"),
    12: (Blame.SESSION, "page_not_ready"),
    13: (Blame.SESSION, "browser_gone"),
    14: (Blame.HOST, "orphaned"),
    15: (Blame.SESSION, "bad_spec"),
    16: (Blame.HOST, "profile_held"),
    17: (Blame.SESSION, "credentials_lost"),
    18: (Blame.SESSION, "storage_closed"),
    19: (Blame.WHATSAPP, "exports_missing"),
    20: (Blame.HOST, "browser_unusable"),
    21: (Blame.SESSION, "browser_killed"),
    22: (Blame.HOST, "disk_full"),
    24: (Blame.HOST, "lease_expired"),
}


@pytest.mark.parametrize(("code", "expected"), OF_EXIT.items())
def test_every_exit_has_somebody_to_blame(code: int, expected: tuple[Blame, str]) -> None:
    assert of_exit(code) == Failure(*expected, EXIT_MEANINGS[code])


def test_no_exit_is_forgotten() -> None:
    assert OF_EXIT.keys() == EXIT_MEANINGS.keys()


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (None, "worker_gone", "its exit code is unknown (adopted)"),
        (-signal.SIGHUP, "worker_killed", "the worker was ended by SIGHUP"),
        (-signal.SIGKILL, "worker_killed", "the worker was ended by SIGKILL"),
        (-77, "worker_killed", "the worker was ended by signal 77"),
        (1, "worker_failed", "the worker failed with exit code 1"),
        (77, "worker_failed", "the worker failed with exit code 77"),
    ],
)
def test_without_evidence_it_is_the_sessions(code: int | None, reason: str, cause: str) -> None:
    assert of_exit(code) == Failure(Blame.SESSION, reason, cause)
    assert describe_exit(code) == cause


@pytest.mark.parametrize("code", [None, -9, 13])
def test_what_the_worker_said_last_is_what_people_read(code: int | None) -> None:
    assert str(of_exit(code, "the page crashed")) == "the page crashed"
    assert str(of_exit(code)) == describe_exit(code)


def test_a_condition_in_words() -> None:
    it = Condition(
        type="link", blame=Blame.NETWORK, reason="offline", message="no way", since=1.0, remedy="."
    )
    assert str(it) == "no way"
    assert str(msgspec.structs.replace(it, session="a")) == "a: no way"
