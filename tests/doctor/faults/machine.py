"""The machine: Chromium and wa-js, disks, memory, clocks, the database."""

import os
from email.utils import formatdate

import pytest

from tests.doctor.faults.planting import FAILED, WARNING, Faults
from tests.doctor.host import Host, foreign_process
from waguard.core.host.admission import Reading
from waguard.core.replace import replace
from waguard.doctor.checks.host import Space

FAULTS = Faults()
fault = FAULTS.fault


# ---- Chromium and wa-js ----


@fault("chromium", FAILED, "does not exist", "apt-get install chromium")
def no_chromium(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.folder / "chromium").unlink()


@fault("chromium", FAILED, "does not start: Chromium ended while it started", "ldd ")
def a_library_is_missing(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.tried = {"error": "Chromium ended while it started: exit code 127"}


@fault("chromium", FAILED, "it could not be tried as", "ldd ")
def a_python_that_the_user_cannot_run(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.tried = "No module named waguard"


@fault("chromium", WARNING, "starts in 22.0 s, and is given up after 30 s", "top -b")
def a_slow_chromium(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.tried = {"version": "1.2.3.4", "started": True, "seconds": 22, "sandboxed": True}


@fault("chromium", WARNING, "1 of 1 sessions run Chromium /", None)
def another_chromium_is_installed(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("browser", executable="/bin/true")
    record = str((host.runtime / "workers/a.json").resolve())
    browser = foreign_process(host, record=record, profile=str(host.at().profile.resolve()))
    host.machine.foreign.append(replace(browser, pid=os.getpid()))


@fault("sandbox", FAILED, "user.max_user_namespaces=65536 is needed", "sysctl -w user.max_user")
def no_user_namespaces(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.tried = {"error": "exit code 1", "starts_without": True}
    host.machine.settings["user.max_user_namespaces"] = "0"


@fault("sandbox", FAILED, "its page is not in it", "systemctl cat waguard")
def a_page_outside_of_the_sandbox(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.tried = {"version": "1.2.3.4", "started": True, "sandboxed": False}


@fault("sandbox", WARNING, "browser.sandbox = false", "systemctl cat waguard")
def a_sandbox_that_is_switched_off(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.tried = {"version": "1.2.3.4", "started": True, "sandboxed": None}


@fault("wa-js", FAILED, "was changed: its sha256 is", "make setup")
def another_script(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.folder / "wa.js").write_text("//")
    host.machine.packed_wajs = host.folder / "wa.js"


@fault("wa-js", FAILED, "cannot be read", "make setup")
def no_script(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.packed_wajs = host.folder / "wa.js"


@fault("wa-js", WARNING, "(whatsapp.wajs) is not the one", None)
def a_script_of_ones_own(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.folder / "wa.js").write_text("//")
    host.configure("whatsapp", wajs="wa.js")


# ---- the machine ----


@fault("disk", FAILED, "has 100 MB left, less than limits.disk_reserve", "df -h")
def a_full_disk(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.disk = Space(free=100 << 20, inodes=0, inodes_free=0)


@fault("disk", WARNING, "has 300 MB left", "df -h")
def a_disk_that_fills(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.disk = Space(free=300 << 20, inodes=0, inodes_free=0)


@fault("disk", FAILED, "has 3 inodes left", "df -i")
def no_inodes(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.disk = Space(free=50 << 30, inodes=10**6, inodes_free=3)


@fault("disk", WARNING, "has 2000 inodes left", "df -i")
def few_inodes(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.disk = Space(free=50 << 30, inodes=10**6, inodes_free=2_000)


@fault("disk", FAILED, "is mounted read-only", "mount -o remount,rw")
def a_disk_that_cannot_be_written(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.disk = Space(free=50 << 30, inodes=0, inodes_free=0, read_only=True)


@fault("memory", FAILED, "100 MB are left, and a session starts with 500 MB", "ps -eo")
def no_memory(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.reading = Reading(memory=100 << 20, pressure=0.0, pids=9_000)


@fault("pressure", FAILED, "tasks waited for memory in 55 %", "cat /proc/pressure/memory")
def pressure_on_memory(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.reading = replace(host.machine.reading, pressure=55.0)


@fault("limits", FAILED, "10 more processes may be started", "systemctl show waguard -p TasksMax")
def no_processes(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.reading = replace(host.machine.reading, pids=10)


@fault("limits", WARNING, "may open 1024 files", "systemctl edit waguard")
def few_open_files(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.files = 1_024


@fault("limits", WARNING, "(/dev/shm) may take 64 MB", "df -h /dev/shm")
def a_container_with_little_shared_memory(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.shm = 64 << 20


@fault("clock", WARNING, "is not synchronized", "timedatectl set-ntp true")
def a_clock_that_runs_free(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.follows = False


@fault("clock", FAILED, "the receiver's clock is", "timedatectl set-ntp true")
def a_receiver_with_another_time(host: Host, _: pytest.MonkeyPatch) -> None:
    host.receiver.headers["Date"] = "Thu, 01 Jan 2026 00:00:00 GMT"


@fault("clock", WARNING, "the receiver's clock is +", "timedatectl set-ntp true")
def a_receiver_that_is_a_minute_ahead(host: Host, _: pytest.MonkeyPatch) -> None:
    host.receiver.headers["Date"] = formatdate(host.machine.now() + 60, usegmt=True)


@fault("clock", WARNING, "was written later than it is now", "timedatectl set-ntp true")
def a_clock_that_was_set_back(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "clock.json").write_text("{}")
    ahead = host.machine.now() + 86_400
    os.utime(host.state / "clock.json", (ahead, ahead))


@fault("network", FAILED, "cannot be reached: Connection refused", "curl -sS")
def no_way_to_whatsapp(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("whatsapp", url="http://127.0.0.1:1/")


# ---- the database ----


@fault("database", FAILED, "postgresql 127.0.0.1:1/wa", "systemctl status postgresql")
def a_database_that_is_away(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("database", url="postgresql+asyncpg://127.0.0.1:1/wa")


@fault("database", FAILED, "mysql db.invalid/wa", "nc -vz db.invalid 3306")
def a_database_on_another_host(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("database", url="mysql+asyncmy://db.invalid/wa")


@fault("database", FAILED, "is damaged", ".recover")
def a_damaged_database(host: Host, _: pytest.MonkeyPatch) -> None:
    host.database.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_096)


@fault("database", FAILED, "was removed or moved while waguard uses it", "ls -l")
def a_database_that_was_removed(host: Host, _: pytest.MonkeyPatch) -> None:
    host.database.unlink()


@fault("stored", FAILED, "there is no such table", "waguard config check")
def a_key_without_its_table(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("webhook", stored="chats.whatsapp_message_id")


@fault("migrations", FAILED, "is at revision 0001, and a daemon runs", "waguard logs")
async def a_database_of_an_older_version(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("UPDATE waguard_alembic_version SET version_num = '0001'")


@fault("migrations", WARNING, "is at revision 9999, this waguard knows", "waguard --version")
async def a_database_of_a_newer_version(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("UPDATE waguard_alembic_version SET version_num = '9999'")


@fault("migrations", FAILED, "the table has no column phone_number", "php artisan migrate")
async def a_table_without_a_column(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("ALTER TABLE whatsapp_accounts DROP COLUMN phone_number")


@fault("migrations", FAILED, "no such table: waguard_outbox", "waguard logs")
async def a_database_without_the_outbox(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("ALTER TABLE waguard_outbox RENAME TO aside")


@fault("migrations", FAILED, "no such column: waguard_inbox.chat", "waguard logs")
async def an_inbox_without_a_column(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("ALTER TABLE waguard_inbox RENAME COLUMN chat TO aside")


@fault("lease", FAILED, "the waguard on elsewhere in /run/waguard", "ssh elsewhere systemctl stop")
async def another_host_supervises(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("UPDATE waguard_lease SET host = 'elsewhere', runtime = '/run/waguard'")


@fault("lease", WARNING, "nobody holds the lease", "waguard config show --config")
async def a_daemon_without_the_lease(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("DELETE FROM waguard_lease")


@fault("rows", WARNING, "s1 say connected, and no daemon runs", "systemctl start waguard")
async def rows_that_say_connected(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()


@fault("agreement", FAILED, "s1: the row says connected", "waguard reconcile --config")
def a_row_without_a_session(host: Host, _: pytest.MonkeyPatch) -> None:
    host.daemon.answers["/api/reconcile"]["corrections"].append(
        {
            "session": "s1",
            "action": "add",
            "before": "not in memory",
            "after": "added and started",
            "reason": "the row says connected, memory had no such session",
        }
    )


@fault("agreement", WARNING, "there is a profile", "waguard reconcile --dry-run")
def a_profile_without_a_row(host: Host, _: pytest.MonkeyPatch) -> None:
    host.daemon.answers["/api/reconcile"]["findings"].append(
        {"session": "s9", "kind": "profile_without_row", "about": "there is a profile"}
    )
