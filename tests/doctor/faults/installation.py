"""What is installed: the configuration, owners, keys, the instance and its unit."""

import os
import shutil
import socket
from typing import Any

import pytest

from tests.doctor.faults.planting import FAILED, WARNING, Faults
from tests.doctor.host import Host
from waguard.core.proxy import parse
from waguard.doctor.timings import Timings
from waguard.host.memory import key_memory, proxies
from waguard.host.process import procfs

FAULTS = Faults()
fault = FAULTS.fault


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
    host.configure("browser", extra_args=["--proxy-pac-url=http://me:sesame@proxy:1"])
    host.file.chmod(0o644)


@fault("owners", FAILED, "sessions (paths.sessions) is open to other users", "chmod 700")
def an_open_folder(host: Host, _: pytest.MonkeyPatch) -> None:
    host.sessions.chmod(0o755)


@fault("owners", FAILED, "api-key (api.key_file) is open to other users", "chmod 600")
def an_open_key_file(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").chmod(0o644)


@fault("owners", FAILED, "keys.json (issued keys) is open to other users", "chmod 600")
def an_open_file_of_issued_keys(host: Host, _: pytest.MonkeyPatch) -> None:
    key_memory.write(host.state / key_memory.FILE, [])
    (host.state / key_memory.FILE).chmod(0o644)


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


@fault("keys", FAILED, "holds a key of 15 characters", "waguard keys add")
def the_applications_default_key(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").write_text("default-api-key\n")


@fault("keys", FAILED, "is empty: a start makes a key, and refuses all others", "waguard keys add")
def an_empty_key_file(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / "api-key").write_bytes(b"")


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
    host.machine.ports[host.port] = [4_242]
    command = ["node", "/srv/whatsapp-service/server.js"]
    patch.setattr(procfs, "command_line", lambda pid: command)


@fault("port", WARNING, "is held by pid 1 (", "systemctl list-sockets")
async def a_port_that_only_systemd_has(host: Host, _: pytest.MonkeyPatch) -> None:
    await host.stop()
    host.machine.ports[host.port] = [1]


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


@fault("proxies", WARNING, "another host does not start 1 of the sessions", None)
def a_standby_that_does_not_get_the_proxies(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("lease", standby=True)
    proxies.write(host.state, "s1", parse("socks5://proxy.example:1080", None, None, mark="m1"))


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
