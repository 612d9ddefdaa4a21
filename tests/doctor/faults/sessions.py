"""Sessions: profiles and processes, the application, and what the daemon says."""

import errno
import os
import shutil
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.doctor.faults.planting import FAILED, WARNING, Faults
from tests.doctor.host import GOOD, HOOK, Host, foreign_process
from tests.host.odd_files import refuse
from waguard.core.backup_contents import LastBackup
from waguard.host.memory import last_backup
from waguard.host.process import procfs
from waguard.profile.lock import LOCK_NAME
from waguard.profile.owner_mark import PAIRING
from waguard.supervision.fleet import inventory

FAULTS = Faults()
fault = FAULTS.fault


# ---- profiles and processes ----


@fault(
    "profiles", FAILED, "MANIFEST-000001 is missing; its next start", "waguard profile restore s1"
)
def a_damaged_profile(host: Host, _: pytest.MonkeyPatch) -> None:
    folder = "Default/Local Storage/leveldb/MANIFEST-000001"
    (host.at().profile / folder).unlink()


@fault("profiles", FAILED, "s1: its profile cannot be read now", "waguard profile verify s1")
def an_owner_mark_that_cannot_be_read(host: Host, patch: pytest.MonkeyPatch) -> None:
    refuse(patch, host.at().profile / PAIRING, errno.EIO)


@fault("profiles", FAILED, "waguard-owner.json", "waguard profile verify s1")
def an_owner_mark_of_a_running_session_that_cannot_be_read(
    host: Host, patch: pytest.MonkeyPatch
) -> None:
    patch.setattr(host.machine, "locked_by", lambda path: 1 if path.name == LOCK_NAME else None)
    refuse(patch, host.at().profile / PAIRING, errno.EIO)


@fault("backup", WARNING, "the last one is 216 h old: /backup/x.tar", "waguard help backup")
def an_old_backup(host: Host, _: pytest.MonkeyPatch) -> None:
    last_backup.write(host.state, LastBackup(at=time.time() - 9 * 86_400, where="/backup/x.tar"))


@fault("backup", WARNING, "when the last one was made is not known", "waguard help backup")
def a_damaged_note_of_the_last_backup(host: Host, _: pytest.MonkeyPatch) -> None:
    (host.state / last_backup.FILE).write_bytes(b"{")


@fault("backup", WARNING, "no backup was made yet", "journalctl -u waguard-backup")
def a_timer_that_made_none(host: Host, _: pytest.MonkeyPatch) -> None:
    timer = host.machine.root / "etc/systemd/system/timers.target.wants/waguard-backup.timer"
    timer.parent.mkdir(parents=True)
    timer.symlink_to("/nowhere")


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


@fault("strays", FAILED, "pid 4242 (s1) was left by an earlier daemon", "systemctl restart waguard")
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


@fault("call-back", FAILED, "applications on the other host are given http://localhost", None)
def a_standby_that_only_its_own_host_reaches(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("lease", standby=True)


@fault("lease", FAILED, "no other host sees /", "waguard config show --config")
def a_standby_of_a_file(host: Host, _: pytest.MonkeyPatch) -> None:
    host.configure("lease", standby=True)


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
