"""The changes that ``make mutants`` makes, and what it remembers of them."""

import json
from pathlib import Path

import pytest

from tests import mutants
from tests.mutations import mutations

SOURCE = '''"""Words are left alone: 1 < 2."""

def judge(state: int | None, now: float) -> int:
    if state is None or now >= 1.0:
        return 7
    match state:
        case 3 if now:
            out(now)
        case 4 | 5:
            state = replace(state, stage=Stage.READY, since=now)
    return state
'''
CORE = Path("waguard/core/host/disk.py")


def changed() -> set[str]:
    """Lines as they are after a change, without what is around."""
    found = set[str]()
    for it in mutations(SOURCE):
        before, after = SOURCE.splitlines(), it.apply(SOURCE).splitlines()
        (line,) = [now.strip() for was, now in zip(before, after, strict=True) if was != now]
        found.add(line)
    return found


def test_each_kind_of_change_is_made() -> None:
    assert changed() == {
        "if (state is None and now >= 1.0):",
        "if (state is None):",
        "if (now >= 1.0):",
        "if state is not None or now >= 1.0:",
        "if state is None or now > 1.0:",
        "if state is None or now < 1.0:",
        "if state is None or now >= 2.0:",
        "if state is None or now >= 0.0:",
        "return state",
        "return 8",
        "return 6",
        "case 3 if False:",
        "case 3 if True:",
        "case 4 if now:",
        "case 2 if now:",
        "pass",
        "case 4 | 5 if False:",
        "case 4:",
        "case 5:",
        "case 5 | 5:",
        "case 3 | 5:",
        "case 4 | 6:",
        "case 4 | 4:",
        "state = replace(state,  since=now)",
        "state = replace(state, stage=Stage.READY, )",
        "state = replace(state, stage=Stage.ENDING, since=now)",
    }


def test_what_was_tried_on_this_very_file_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "FOLDER", tmp_path)
    first, second, *rest = mutants.chosen(CORE, 1.0, again=False)
    now = mutants.digest(CORE)
    lines = [
        {"file": now, "mutation": first.name, "killer": "stories"},
        {"file": now, "mutation": second.name, "killer": None},
        {"file": "another", "mutation": rest[0].name, "killer": "stories"},
    ]
    (tmp_path / "waguard.core.host.disk.jsonl").write_text(
        "".join(json.dumps(it) + "\n" for it in lines)
    )
    assert mutants.chosen(CORE, 1.0, again=False) == rest
    assert mutants.chosen(CORE, 1.0, again=True) == [second, *rest], "that one lives"
    *_, last = mutants.report(CORE)
    assert last == f"{CORE}: 2 of {2 + len(rest)} tried, 1 live; killed by: 1 stories"


def test_a_greater_share_contains_a_smaller_one() -> None:
    shares = [
        mutants.chosen(Path("waguard/core/fleet/slots.py"), it, again=True) for it in (0.1, 0.5, 1)
    ]
    assert 0 < len(shares[0]) < len(shares[1]) < len(shares[2])
    assert set(shares[0]) < set(shares[1]) < set(shares[2])


def test_the_killers_of_a_module_import_it() -> None:
    own, core, stories = mutants.pytest_killers(Path("waguard/core/fleet/slots.py"))
    assert own == ["tests/core/fleet/test_slots.py"]
    assert "tests/core/session/test_session.py" in core
    assert "tests/core/messages/test_naming.py" not in core
    assert stories == [
        "tests/simulation/test_evidence_stories.py",
        "tests/simulation/test_session_stories.py",
        "tests/simulation/test_stories.py",
    ]
