"""On a host that is well the doctor says nothing but ok."""

from tests.doctor.host import Host
from waguard.doctor.examination import NAMES
from waguard.doctor.report import exit_code


async def test_nothing_but_ok(host: Host) -> None:
    checks = (await host.examine()).checks
    assert [check for check in checks if check.result != "ok"] == []
    assert exit_code(checks) == 0


async def test_each_check_is_there_in_its_order(host: Host) -> None:
    names = dict.fromkeys(check.name for check in (await host.examine()).checks)
    assert tuple(names) == NAMES
