from typing import Any, Final

from waguard.core.host.strays import Foreign, Seen, Stray, classify

RECORDS: Final = "/srv/run/workers"
PROFILES: Final = "/srv/sessions"
MINE: Final = "/srv/run/workers/0123456789ab.json"
PROFILE: Final = "/srv/sessions/workspace_1/session-a"


def seen(pid: int, **changes: Any) -> Seen:
    plain: dict[str, Any] = {
        "start_time": 1,
        "parent": 1,
        "user": "op",
        "command": "chromium",
        "profile": None,
        "record": MINE,
    }
    return Seen(pid=pid, **{**plain, **changes})


def classified(*processes: Seen, kept: frozenset[int] = frozenset()) -> list[Stray | Foreign]:
    return classify(processes, records=RECORDS, profiles=PROFILES, kept=kept)


def test_a_worker_and_a_browser_of_a_dead_instance_are_strays() -> None:
    worker, browser = seen(10), seen(11, profile=PROFILE)
    assert classified(worker, browser) == [Stray(worker), Stray(browser)]


def test_an_adopted_worker_and_its_browser_are_kept() -> None:
    assert classified(seen(10), seen(11, profile=PROFILE, parent=10), kept=frozenset({10})) == []


def test_a_browser_whose_worker_is_gone_is_none_of_the_adopted_ones() -> None:
    left = seen(11, profile=PROFILE, parent=1)
    assert classified(seen(10), left, kept=frozenset({10})) == [Stray(left)]


def test_a_worker_of_another_runtime_folder_may_have_a_living_daemon() -> None:
    assert (
        classified(seen(10, record="/srv/run/workers2/a.json"), seen(11, record="/other/a.json"))
        == []
    )


def test_somebody_elses_browser_on_a_profile_of_ours_is_reported() -> None:
    by_hand = seen(12, profile=PROFILE, record=None)
    other_instance = seen(13, profile=PROFILE, record="/other/run/workers/a.json")
    assert classified(by_hand, other_instance) == [Foreign(by_hand), Foreign(other_instance)]
    assert str(Foreign(by_hand)) == f"op's Chromium 12 uses {PROFILE}: chromium"


def test_browsers_elsewhere_are_nobodys_business() -> None:
    assert classified(seen(12, profile="/srv/sessions2/a", record=None)) == []


def test_one_session_alone_can_be_asked_for() -> None:
    mine, next_door = seen(10), seen(11, record="/srv/run/workers/fedcba987654.json")
    browser = seen(12, profile=f"{PROFILE}-2", record=None)
    found = classify([mine, next_door, browser], records=MINE, profiles=PROFILE, kept=())
    assert found == [Stray(mine)]


def test_what_a_dead_browser_left_is_a_stray_without_any_mark() -> None:
    renderer = seen(20, profile=PROFILE, record=None, part=True, group=11, led=False)
    next_one = seen(30, profile=PROFILE, parent=10, group=30)
    its_own = seen(31, profile=PROFILE, record=None, part=True, group=30)
    kept = frozenset({10})
    assert classified(renderer) == [Stray(renderer)]
    assert classified(seen(10), next_one, its_own, renderer, kept=kept) == [Stray(renderer)]


def test_the_parts_of_a_living_browser_are_left_alone_whosever_it_is() -> None:
    by_hand = seen(12, profile=PROFILE, record=None, group=7)
    part = seen(13, profile=PROFILE, record=None, part=True, group=7, led=False, parent=12)
    other = seen(14, profile=PROFILE, record=None, part=True, group=14, parent=12)
    assert classified(by_hand, part, other) == [Foreign(by_hand)]


def test_what_is_left_of_a_browser_elsewhere_is_nobodys_business() -> None:
    assert classified(seen(20, profile="/other/a", record=None, part=True, group=11)) == []
    assert classified(seen(21, record="/other/a.json", part=True)) == []


def test_a_crash_handler_shows_its_record_and_no_profile() -> None:
    handler = seen(21, part=True, group=21)
    browser = seen(11, profile=PROFILE, parent=10, group=11)
    assert classified(handler) == [Stray(handler)]
    assert classified(seen(10), browser, handler, kept=frozenset({10})) == []
