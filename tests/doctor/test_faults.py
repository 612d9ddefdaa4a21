"""Each fault is planted on a host that is well, found by its check, and comes with its remedy."""

import errno
import os
import shutil
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.doctor.host import GOOD, HOOK, Host, foreign_process, require_runnable
from waguard.core.host.admission import Reading
from waguard.doctor.checks.host import Space
from waguard.doctor.report import Result
from waguard.doctor.timings import Timings
from waguard.host import procfs
from waguard.supervision import inventory

FAILED, WARNING = Result.FAILED, Result.WARNING
Plant = Callable[[Host, pytest.MonkeyPatch], Awaitable[None] | None]


@dataclass(frozen=True)
class Fault:
    """``seen`` and ``command``: a part of what is said; None: there is no command for it."""

    check: str
    result: Result
    seen: str
    command: str | None
    plant: Plant


FAULTS: dict[str, Fault] = {}


def fault(check: str, result: Result, seen: str, command: str | None) -> Callable[[Plant], Plant]:
    def keep(plant: Plant) -> Plant:
        FAULTS[getattr(plant, "__name__", check)] = Fault(check, result, seen, command, plant)
        return plant

    return keep


# ---- the configuration ----


@fault("configuration", FAILED, "api.prot: unknown key", "waguard config check --config")
def a_key_that_is_none(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("api", prot=3001)


@fault("configuration", WARNING, "WAGUARD_LOG__LEVEL=DEBUG", "unset WAGUARD_LOG__LEVEL")
def a_key_that_the_environment_hides(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("log", level="INFO")
    host.environ["WAGUARD_LOG__LEVEL"] = "DEBUG"


@fault("configuration", WARNING, "has WAGUARD_LOG__LEVEL in its", "systemctl show waguard")
def an_environment_that_only_the_daemon_has(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.theirs["WAGUARD_LOG__LEVEL"] = "DEBUG"


@fault("configuration", FAILED, "there are profiles in", "waguard config check")
def profiles_where_an_earlier_version_had_them(host: Host, patch: pytest.MonkeyPatch) -> None:
    old = host.folder / "old"
    (old / "sessions/workspace_1/session-s1/Default").mkdir(parents=True)
    patch.chdir(old)
    shutil.rmtree(host.sessions)


# ---- owners, keys, secrets ----


@fault("owners", FAILED, "which holds a password) is open to other users", "chmod 600")
def a_password_that_all_may_read(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("browser", extra_args=["--proxy-server=http://me:sesame@proxy:1"])
    host.file.chmod(0o644)


@fault("owners", FAILED, "sessions (paths.sessions) is open to other users", "chmod 700")
def an_open_folder(host: Host, _: pytest.MonkeyPatch) -> None:
    host.sessions.chmod(0o755)


@fault("owners", FAILED, "api-key (api.key_file) is open to other users", "chmod 600")
def an_open_key_file(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").chmod(0o644)


@fault("owners", FAILED, "can be written by others", "chmod go-w")
def a_folder_above_that_all_may_write(host: Host, _: pytest.MonkeyPatch) -> None:
    host.folder.chmod(0o777)


@fault("owners", FAILED, "cannot be used: Not a directory", None)
def a_folder_that_is_none(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("webhook", secret_file=str(host.file / "secret"))


@fault(
    "owners", WARNING, "sessions (paths.sessions) does not exist", "waguard doctor --fix --config"
)
async def a_folder_that_is_missing(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()
    shutil.rmtree(host.sessions)


@fault("keys", FAILED, "api-key does not exist: the daemon goes on", "waguard doctor --fix")
def no_key_file(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").unlink()


@fault("keys", FAILED, "holds a key of 15 characters", "openssl rand -hex 32")
def the_applications_default_key(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").write_text("default-api-key\n")


@fault("keys", FAILED, "cannot be read", "ls -l")
def a_key_file_that_is_a_folder(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").unlink()
    (host.state / "api-key").mkdir(mode=0o700)


@fault("secret", FAILED, "webhook.secret_file is not set", "install -m 0640 -g waguard")
def webhooks_without_a_secret(host: Host, _: pytest.MonkeyPatch) -> None:
    del host.settings["webhook"]["secret_file"]
    host.configure("webhook")


@fault("secret", FAILED, "has 3 lines", "ls -l")
def three_secrets(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "secret").write_text("one\ntwo\nthree\n")


# ---- the instance ----


@fault("instance", FAILED, "names 4000000, which is gone", "systemctl start waguard")
async def a_daemon_that_was_killed(host: Host, _: pytest.MonkeyPatch) -> None:
    host.die()
    await host.stack.aclose()
    host.machine.ports.clear()


@fault("instance", FAILED, "its pid file is unreadable", "systemctl start waguard")
async def a_pid_file_that_is_none(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()
    (host.runtime / "waguard.pid").write_text("half")


@fault("instance", WARNING, "no waguard runs", "systemctl start waguard")
async def no_daemon(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()


@fault("instance", WARNING, "its lock in", "systemctl restart waguard")
def a_lock_that_was_removed(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.runtime / "waguard.lock").unlink()


@fault("socket", FAILED, "belongs to a daemon that no longer runs", "systemctl start waguard")
async def a_socket_of_a_dead_daemon(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(host.runtime / "waguard.sock"))


@fault("socket", FAILED, "does not answer: it hangs", "systemctl restart waguard")
async def a_daemon_that_hangs(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stack.aclose()
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(str(host.runtime / "waguard.sock"))
    silent.listen()
    host.stack.callback(silent.close)
    host.timings = Timings(daemon=0.02)


@fault("socket", FAILED, "does not listen on", "systemctl restart waguard")
def a_socket_that_was_removed(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.runtime / "waguard.sock").unlink()


@fault("socket", FAILED, "this user may not look into", "sudo waguard doctor")
def another_users_doctor(host: Host, patch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def denied(path: Any) -> Any:
        if path == host.runtime:
            raise PermissionError
        return scandir(path)

    patch.setattr(os, "scandir", denied)


@fault("port", FAILED, "is taken by pid", "pm2 delete all")
async def the_old_service_on_the_port(host: Host, patch: pytest.MonkeyPatch) -> None:
    await host.stop()
    host.machine.ports[host.port] = 4_242
    command = ["node", "/srv/whatsapp-service/server.js"]
    patch.setattr(procfs, "command_line", lambda pid: command)


@fault("port", FAILED, "runs with another configuration", "systemctl restart waguard")
def a_port_that_the_daemon_does_not_have(host: Host, _: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host.configure("api", port=free.getsockname()[1])


@fault("port", FAILED, "it is not an address of this machine", None)
async def a_host_that_is_none(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()
    host.configure("api", host="nowhere.invalid")


# ---- the unit ----


@fault("unit", WARNING, "is not the unit of this version", "systemctl daemon-reload")
def an_older_unit(host: Host, _: pytest.MonkeyPatch) -> None:
    host.unit.write_text(host.unit.read_text().replace("WatchdogSec=30", "WatchdogSec=60"))


@fault("unit", FAILED, "(paths.sessions) cannot be written by waguard.service", "waguard config")
def folders_that_the_unit_may_not_write(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.system_file = host.file
    sessions = host.folder.with_name(f"{host.folder.name}-s")
    host.unit.write_text("[Service]\nProtectSystem=strict\n" + host.unit.read_text())
    sessions.mkdir(mode=0o700)
    host.stack.callback(shutil.rmtree, sessions)
    text = host.unit.read_text().replace("PrivateTmp=yes", f"ReadWritePaths={host.folder}")
    host.unit.write_text(text)
    shutil.copytree(host.sessions, sessions, dirs_exist_ok=True)
    host.configure("paths", sessions=str(sessions))


@fault("unit", FAILED, "(paths.sessions) is hidden from waguard.service", "waguard config check")
def folders_that_the_unit_does_not_see(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.system_file = host.file
    host.configure("paths", sessions="/home/none/sessions")


@fault("unit", FAILED, "(browser.executable) cannot be executed", "waguard config check")
def a_browser_that_the_unit_may_not_execute(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.system_file = host.file
    text = host.unit.read_text().replace("PrivateTmp=yes", f"ReadWritePaths={host.folder}")
    host.unit.write_text(text)


@fault("unit", WARNING, "systemd 252 does not know RestartSteps=", "before-254.conf")
def an_old_systemd(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.systemd = 252


@fault("unit", WARNING, "has not read the unit again", "systemctl daemon-reload")
def a_unit_that_changed(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.state = host.machine.state.replace("Reload=no", "Reload=yes")


@fault("unit", FAILED, "no longer restarts the unit: exit-code", "systemctl reset-failed waguard")
def a_unit_that_failed(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.state = "ActiveState=failed\nResult=exit-code\n"


@fault("unit", WARNING, "after a reboot no waguard runs", "systemctl enable waguard")
def a_unit_that_is_disabled(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.state += "UnitFileState=disabled\n"


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


@fault("migrations", FAILED, "is at revision 0001, and a daemon runs", "systemctl restart waguard")
async def a_database_of_an_older_version(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("UPDATE waguard_alembic_version SET version_num = '0001'")


@fault("migrations", WARNING, "is at revision 9999, this waguard knows", "waguard --version")
async def a_database_of_a_newer_version(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("UPDATE waguard_alembic_version SET version_num = '9999'")


@fault("migrations", FAILED, "the table has no column phone_number", "php artisan migrate")
async def a_table_without_a_column(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql("ALTER TABLE whatsapp_accounts DROP COLUMN phone_number")


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


# ---- profiles and processes ----


@fault(
    "profiles", FAILED, "MANIFEST-000001 is missing; its next start", "waguard profile restore s1"
)
def a_damaged_profile(host: Host, _: pytest.MonkeyPatch) -> None:
    folder = "Default/Local Storage/leveldb/MANIFEST-000001"
    (host.at().profile / folder).unlink()


@fault("profiles", FAILED, "s1: its folder was emptied", "waguard profile restore s1")
def an_emptied_profile(host: Host, _: pytest.MonkeyPatch) -> None:
    for name in ("IndexedDB", "Local Storage"):
        shutil.rmtree(host.at().profile / "Default" / name)


@fault("profiles", FAILED, "only 1 MB are free", "df -h")
def a_profile_on_a_full_disk(host: Host, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))


@fault("profiles", FAILED, "cannot be read: Input/output error", "ls -ld")
def a_broken_disk(host: Host, patch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    patch.setattr(inventory, "places_on_disk", broken)


@fault("profiles", FAILED, "s2 is connected in the database", "waguard qr s2")
async def a_session_that_lost_everything(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.sql(
        "INSERT INTO whatsapp_accounts (uuid, workspace_id, session_id, status)"
        " VALUES ('u2', 1, 's2', 'connected')"
    )


@fault("profiles", FAILED, "holds no profile, and s1 are linked", "findmnt -T")
def a_disk_that_is_not_mounted(host: Host, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(host.sessions)
    host.sessions.mkdir(mode=0o700)


@fault("profiles", FAILED, "s1 is connected in the database, and has no", "profile restore s1")
def a_profile_that_was_removed(host: Host, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(host.at().profile)


@fault("profiles", FAILED, "leads nowhere", "readlink -f")
def a_link_to_a_disk_that_is_gone(host: Host, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(host.at().profile)
    host.at().profile.symlink_to("/nowhere/s1")


@fault("profiles", FAILED, "a Chromium that is not waguard's uses", "kill ")
def somebody_elses_chromium(host: Host, patch: pytest.MonkeyPatch) -> None:
    target = f"{socket.gethostname()}-{os.getpid()}"
    (host.at().profile / "SingletonLock").symlink_to(target)
    argv = ["chromium", f"--user-data-dir={host.at().profile}"]
    patch.setattr(procfs, "command_line", lambda pid: argv)


@fault("profiles", WARNING, "there is no copy of its credentials", "waguard profile snapshot s1")
def no_copy(host: Host, patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(host.at().snapshots)
    now = host.machine.now() + 86_400
    patch.setattr(host.machine, "now", lambda: now)
    host.receiver.headers["Date"] = ""


@fault(
    "profiles",
    WARNING,
    "copies of its credentials that are damaged: 1",
    "waguard profile snapshot s1",
)
def a_damaged_copy(host: Host, _: pytest.MonkeyPatch) -> None:
    [copy] = host.at().snapshots.iterdir()
    (copy / "manifest.json").write_text("half")


@fault("strays", FAILED, "other's Chromium 4242 uses", "kill 4242")
def a_chromium_of_another_user(host: Host, _: pytest.MonkeyPatch) -> None:
    host.machine.foreign.append(foreign_process(host, profile=str(host.at().profile.resolve())))


@fault("strays", FAILED, "pid 4242 (s1) was left by an earlier daemon", "kill 4242")
def a_worker_that_was_left(host: Host, _: pytest.MonkeyPatch) -> None:
    record = str((host.runtime / "workers/a.json").resolve())
    host.machine.foreign.append(foreign_process(host, record=record, session="s1"))


@fault("strays", WARNING, "of a daemon that is gone still run: pid 4242", "waguard sweep --config")
async def workers_without_a_daemon(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()
    record = str((host.runtime / "workers/a.json").resolve())
    host.machine.foreign.append(foreign_process(host, record=record))


# ---- the application, and what the daemon says ----


@fault("receiver", FAILED, "does not answer", "curl -sS")
def a_receiver_that_is_down(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("webhook", url=f"http://127.0.0.1:1{HOOK}")


@fault("receiver", FAILED, "answers 404: there is no such path", "waguard config show --config")
def a_receiver_at_another_path(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("webhook", url=f"http://127.0.0.1:{host.hook}/webhooks")


@fault("receiver", FAILED, "answers 500", "curl -sS -i")
def a_receiver_that_fails(host: Host, _: pytest.MonkeyPatch) -> None:
    host.receiver.status = 500


@fault("receiver", WARNING, "answers 429", "curl -sS -i")
def a_receiver_that_limits(host: Host, _: pytest.MonkeyPatch) -> None:
    host.receiver.status = 429


@fault("receiver", FAILED, "a redirect (301)", "curl -sS -i")
def a_receiver_that_redirects(host: Host, _: pytest.MonkeyPatch) -> None:
    host.receiver.status = 301
    host.receiver.headers["Location"] = "https://elsewhere.example/"


@fault(
    "signature", FAILED, "webhooks refused by the receiver with 401: 1", "waguard webhooks replay"
)
def a_secret_that_is_another_one(host: Host, _: pytest.MonkeyPatch) -> None:
    letter = {"error": "the receiver answered 401", "died_at": iso(host.machine.now())}
    host.daemon.answers["/api/webhooks/dead"]["dead"].append(letter)


@fault("signature", WARNING, "webhooks refused by the receiver with 401: 1", "systemctl reload")
def a_secret_that_was_another_one(host: Host, _: pytest.MonkeyPatch) -> None:
    letter = {"error": "the receiver answered 401", "died_at": "2026-01-01T00:00:00Z"}
    host.daemon.answers["/api/webhooks/dead"]["dead"].append(letter)


@fault("call-back", FAILED, "is answered by something else", "curl -sS -i")
def an_address_of_another_service(host: Host, _: pytest.MonkeyPatch) -> None:
    host.receiver.answers["/health"] = {"status": "healthy", "uptime": 9_999.0}
    host.configure("api", public_url=f"http://127.0.0.1:{host.hook}")


@fault("call-back", FAILED, "/health does not answer", "curl -sS -i")
def an_address_that_leads_nowhere(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("api", public_url="http://127.0.0.1:1")


@fault("call-back", FAILED, "/health answers 404", "curl -sS -i")
def an_address_of_a_proxy_without_a_way(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("api", public_url=f"http://127.0.0.1:{host.hook}")


@fault("call-back", FAILED, "that is the", "curl -sS http://localhost")
def an_application_on_another_machine(host: Host, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("waguard.doctor.probes.receiver.is_here", lambda host: False)


@fault("versions", WARNING, "the newest good one, 1022, is 61 days old", "waguard versions list")
def a_version_that_whatsapp_will_refuse_soon(host: Host, _: pytest.MonkeyPatch) -> None:
    since = iso(host.machine.now() - 61.2 * 86_400.0)
    host.daemon.answers["/api/versions"] = {"versions": [GOOD | {"since": since}]}


@fault("versions", WARNING, "versions cannot be read: Not a directory", "ls -la")
def a_folder_of_documents_that_is_none(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.folder / "state/versions").touch()


@fault("versions", WARNING, "versions.json cannot be read: it is a symbolic link", "ls -la")
def what_is_known_of_versions_is_a_link(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.folder / "state/versions.json").symlink_to("elsewhere")


@fault("health", WARNING, "s1: the phone is offline", "waguard why s1 --config")
def a_session_that_is_not_well(host: Host, _: pytest.MonkeyPatch) -> None:
    answer = {"session_id": "s1", "message": "the phone is offline", "remedy": "Look at the phone"}
    host.daemon.answers["/health/detailed"]["conditions"].append(answer)
    host.daemon.answers["/health/detailed"]["problems"].append("s1: the phone is offline.")


@fault("health", WARNING, "all sessions: webhooks wait", "waguard webhooks list --config")
def a_condition_whose_remedy_names_a_command(host: Host, _: pytest.MonkeyPatch) -> None:
    remedy = "See them: `waguard webhooks list` (GET /api/webhooks/dead)."
    answer = {"session_id": None, "message": "webhooks wait", "remedy": remedy}
    host.daemon.answers["/health/detailed"]["conditions"].append(answer)


@fault("health", WARNING, "the database does not answer", "waguard why --config")
def a_problem_that_is_no_condition(host: Host, _: pytest.MonkeyPatch) -> None:
    host.daemon.answers["/health/detailed"]["problems"].append("the database does not answer")


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


@pytest.mark.parametrize("name", FAULTS)
async def test_it_is_found_with_its_remedy(
    host: Host, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    planted = FAULTS[name]
    if (waited := planted.plant(host, monkeypatch)) is not None:
        await waited
    wrong = await host.wrong()
    answer = [c for c in wrong if c.name == planted.check and planted.seen in c.seen]
    assert len(answer) == 1, wrong
    [check] = answer
    assert check.result is planted.result
    assert check.remedy
    assert (planted.command or "") in (check.command or "")
    assert (check.command is None) == (planted.command is None)
    for one in wrong:
        require_runnable(one.command)


@pytest.mark.parametrize(
    ("printed", "mode", "result", "seen"),
    [
        (
            {"versions": [GOOD | {"status": "latest"}]},
            "react",
            Result.OK,
            "1 stored, none proven",
        ),
        (None, "react", Result.SKIPPED, "no daemon answers"),
        (None, "off", Result.OK, "versions.mode is off"),
    ],
)
async def test_versions_of_which_nothing_is_known_are_no_fault(
    host: Host, printed: Any, mode: str, result: Result, seen: str
) -> None:
    host.daemon.answers["/api/versions"] = printed
    host.configure("versions", mode=mode)
    [check] = [it for it in await host.examine() if it.name == "versions"]
    assert check.result is result
    assert seen in check.seen


def test_there_are_many() -> None:
    assert len(FAULTS) >= 25
