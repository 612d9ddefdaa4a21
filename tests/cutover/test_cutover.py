"""``doctor --cutover``: what is still to be changed, in its order."""

import json
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.host import HOOK, KEY, Host, require_runnable
from tests.profile.old_profile_files import NEW, OLD, old_profile
from tests.store import tables
from waguard.cutover.checks.plan import TITLES, Step
from waguard.cutover.examination import Cutover, examine
from waguard.cutover.probes import later
from waguard.cutover.text import lines
from waguard.doctor.checks.database import Row
from waguard.doctor.probes.machine import Running
from waguard.doctor.report import Check
from waguard.profile import layout, owner_mark
from waguard.profile.lock import ProfileLock

DOCS = Path(__file__).parents[2] / "docs/cutover.md"
SECRET = "the-secret-of-the-application"
GOD = "PM2 v5.3.0: God Daemon (/home/www/.pm2)"


@dataclass
class Old:
    """A host with waguard beside the old service, which is gone already unless a test plants it."""

    host: Host
    values: dict[str, str]

    @property
    def env(self) -> Path:
        return self.host.folder / "app/.env"

    def write(self) -> None:
        self.env.parent.mkdir(exist_ok=True)
        self.env.write_text("".join(f"{name}={value}\n" for name, value in self.values.items()))

    async def examine(self) -> Cutover:
        self.write()
        host = self.host
        return await examine(host.file, host.environ, self.env, host.machine)

    async def wrong(self) -> list[tuple[Step, Check]]:
        plan = (await self.examine()).plan
        return [(s, c) for s, checks in plan.items() for c in checks if c.result != "ok"]


@pytest.fixture
async def old(host: Host) -> Old:
    host.configure("api", keyless_loopback=True)
    host.configure("send", allow_private=True)
    return Old(
        host,
        {
            "APP_URL": f"http://127.0.0.1:{host.hook}",
            "DB_CONNECTION": "sqlite",
            "WHATSAPP_NODE_API_KEY": KEY,
            "LARAVEL_API_TOKEN": f'"{KEY}" # both are the same',
            "HMAC_SECRET": SECRET,
            "WHATSAPP_INSTANCE_COUNT": "1",
            "WHATSAPP_INSTANCE_1": f"http://localhost:{host.port}",
        },
    )


async def test_after_the_cut_over_nothing_is_left_to_do(old: Old) -> None:
    cutover = await old.examine()
    assert [c for checks in cutover.plan.values() for c in checks if c.result != "ok"] == []
    assert list(cutover.plan) == list(Step)


Plant = Callable[[Old], Any]


def set_value(name: str, value: str | None) -> Plant:
    def plant(old: Old) -> None:
        old.values.pop(name, None)
        if value is not None:
            old.values[name] = value

    return plant


def without_keys(old: Old) -> None:
    del old.values["WHATSAPP_NODE_API_KEY"], old.values["LARAVEL_API_TOKEN"]


def without_hook(old: Old) -> None:
    del old.host.settings["webhook"]["url"]
    old.host.configure("webhook")


def pm2(old: Old) -> None:
    apps = [f"node /srv/whatsapp-service/server.js {n}" for n in range(1, 5)]
    old.host.machine.running = [
        Running(pid=10, parent=1, user="www", command=GOD),
        *(Running(pid=20 + n, parent=10, user="www", command=a) for n, a in enumerate(apps)),
    ]


def boot_unit(old: Old) -> None:
    pm2(old)
    (old.host.unit.with_name("pm2-www.service")).touch()


def node(old: Old) -> None:
    old.host.machine.running = [
        Running(pid=4_242, parent=1, user="www", command="node server.js"),
    ]
    old.host.machine.ports[3002] = [4_242]


def crontab(old: Old) -> None:
    path = old.host.machine.root / "var/spool/cron/crontabs/www"
    path.parent.mkdir(parents=True)
    path.write_text(
        "# health-check.sh was here\nMAILTO=ops\n*/5 * * * * /srv/scripts/health-check.sh\n"
    )


def system_cron(old: Old) -> None:
    path = old.host.machine.root / "etc/cron.d/whatsapp"
    path.parent.mkdir(parents=True)
    path.write_text("*/5 * * * * root pm2 restart whatsapp-service\n")


def remote_auth(old: Old) -> None:
    service = old.host.folder / "app/whatsapp-service"
    service.mkdir(parents=True)
    (service / ".env").write_text("AUTH_STRATEGY=remoteauth\n")


def zips(old: Old) -> None:
    (old.host.sessions / "RemoteAuth-s2.zip").touch()


async def inactive(old: Old) -> None:
    await old.host.sql("UPDATE whatsapp_accounts SET is_active = 0")


async def assigned(old: Old) -> None:
    url = "http://localhost:3004"
    await old.host.sql(f"UPDATE whatsapp_accounts SET assigned_instance_url = '{url}'")


async def without_profile(old: Old) -> None:
    await old.host.sql(
        "INSERT INTO whatsapp_accounts (uuid, workspace_id, session_id, status)"
        " VALUES ('u2', 1, 's2', 'connected')"
    )


async def went_on(old: Old) -> None:
    """Its copy was made at a first try, after which the old service was resumed."""
    row = "UPDATE whatsapp_accounts SET status = 'connected', session_id = 's9'"
    await old.host.sql(row)
    at = layout.places(old.host.sessions, 1, "s9")
    old_profile(at.profile, used=OLD)
    old_profile(old.host.folder / "app/whatsapp-service/sessions/1/s9", used=NEW)


def setting(section: str, **keys: object) -> Plant:
    return lambda old: old.host.configure(section, **keys)


def mysql(old: Old) -> None:
    old.values |= {"DB_CONNECTION": "mysql", "DB_HOST": "localhost", "DB_DATABASE": "blazz"}
    old.values |= {"DB_USERNAME": "me", "DB_PASSWORD": "sesame"}


async def stopped(old: Old) -> None:
    await old.host.stop()


def elsewhere(old: Old) -> None:
    old.values["APP_URL"] = "http://10.0.0.9"
    old.host.configure("webhook", url=f"http://10.0.0.9{HOOK}")


async def chats(old: Old) -> None:
    await old.host.sql(*(" ".join(it.split()) for it in tables.CHATS["sqlite"]))


async def wrong_stored(old: Old) -> None:
    await chats(old)
    old.host.configure("webhook", stored="chats.wam_id")


CASES: dict[str, tuple[Step, str, str, str | None, Plant]] = {
    "short key": (
        Step.CONFIGURE,
        "keys",
        "WHATSAPP_NODE_API_KEY has 15 characters, waguard takes 16",
        "openssl rand",
        set_value("WHATSAPP_NODE_API_KEY", "default-api-key"),
    ),
    "no key": (Step.CONFIGURE, "keys", "sets no key", "WHATSAPP_NODE_API_KEY", without_keys),
    "other key": (
        Step.CONFIGURE,
        "keys",
        "LARAVEL_API_TOKEN is not in",
        "grep ^LARAVEL_API_TOKEN=",
        set_value("LARAVEL_API_TOKEN", "another-key-that-is-long-enough"),
    ),
    "other secret": (
        Step.CONFIGURE,
        "secret",
        "HMAC_SECRET is not the first line of",
        "grep ^HMAC_SECRET=",
        set_value("HMAC_SECRET", "another"),
    ),
    "no secret": (
        Step.CONFIGURE,
        "secret",
        "sets no HMAC secret",
        "openssl rand",
        set_value("HMAC_SECRET", None),
    ),
    "no webhook": (Step.CONFIGURE, "webhook.url", "is not set", "config check", without_hook),
    "other path": (
        Step.CONFIGURE,
        "webhook.url",
        f"the application takes {HOOK}",
        "config check",
        setting("webhook", url="http://127.0.0.1:8000/hook"),
    ),
    "other database": (
        Step.CONFIGURE,
        "database",
        "mysql+asyncmy://127.0.0.1:3306/blazz",
        "config check",
        mysql,
    ),
    "keyless": (
        Step.CONFIGURE,
        "api.keyless_loopback",
        "without a key, and gets 401",
        "config check",
        setting("api", keyless_loopback=False),
    ),
    "private files": (
        Step.CONFIGURE,
        "send.allow_private",
        "a private address, and are refused",
        "config check",
        setting("send", allow_private=False),
    ),
    "public address": (
        Step.CONFIGURE,
        "api.public_url",
        "that is the",
        "config check",
        elsewhere,
    ),
    "chats": (
        Step.CONFIGURE,
        "webhook.stored",
        "is not set, and the application keeps WhatsApp's ids in chats.whatsapp_message_id",
        "config check",
        chats,
    ),
    "other column": (
        Step.CONFIGURE,
        "webhook.stored",
        "no index begins with the column",
        "config check",
        wrong_stored,
    ),
    "crontab": (Step.CRON, "cron", "crontabs/www:3 restarts", "crontab -u www -l", crontab),
    "cron.d": (Step.CRON, "cron", "cron.d/whatsapp:1 restarts", "sed -i '1s/^/# /'", system_cron),
    "pm2": (Step.STOP, "pm2", "with 4 processes", "sudo -Hu www pm2 delete all", pm2),
    "pm2 at boot": (
        Step.STOP,
        "pm2",
        "pm2-www.service starts the old service at boot",
        "systemctl disable --now pm2-www.service",
        boot_unit,
    ),
    "node": (Step.STOP, "port", "port 3002 is taken by pid 4242", "kill 4242", node),
    "remote auth": (Step.PROFILES, "remote auth", "in Redis", "waguard import", remote_auth),
    "zip": (Step.PROFILES, "remote auth", "RemoteAuth-s2.zip", "waguard import", zips),
    "profile": (
        Step.PROFILES,
        "profiles",
        "s2 say connected, and have no profile",
        "waguard import",
        without_profile,
    ),
    "went on": (
        Step.PROFILES,
        "profiles",
        "used s9 after the profile in waguard's place was copied",
        "waguard import",
        went_on,
    ),
    "instances": (
        Step.APPLICATION,
        "instances",
        "over 4 instances",
        "sed -i 's|^WHATSAPP_INSTANCE_COUNT",
        set_value("WHATSAPP_INSTANCE_COUNT", "4"),
    ),
    "address": (
        Step.APPLICATION,
        "address",
        "WHATSAPP_INSTANCE_1 is http://localhost:3009",
        "sed -i 's|^WHATSAPP_INSTANCE_1",
        set_value("WHATSAPP_INSTANCE_1", "http://localhost:3009"),
    ),
    "inactive": (
        Step.ROWS,
        "inactive rows",
        "s1 are switched off",
        "waguard sessions start s1",
        inactive,
    ),
    "assigned": (
        Step.ROWS,
        "assigned rows",
        "assigned to http://localhost:3004",
        "php artisan tinker",
        assigned,
    ),
    "not started": (Step.START, "start", "does not run yet", "systemctl enable --now", stopped),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_is_left_to_do_is_found(old: Old, name: str) -> None:
    step, check, seen, command, plant = CASES[name]
    if (waited := plant(old)) is not None:
        await waited
    answer = [c for at, c in await old.wrong() if at is step and c.name == check and seen in c.seen]
    assert len(answer) == 1, await old.wrong()
    assert answer[0].remedy
    assert command is None or command in str(answer[0].command)
    for _, one in await old.wrong():
        require_runnable(one.command)


async def first(old: Old) -> Check:
    [check] = (await old.examine()).plan[Step.KEEP]
    return check


async def test_a_repeated_plan_does_not_overwrite_the_way_back(old: Old) -> None:
    await old.host.stop()
    old.write()
    kept = old.env.with_name(".env.before-waguard")
    command = (await first(old)).command or ""
    subprocess.run(["sh", "-c", command], check=True)
    before = kept.read_text()
    old.values["WHATSAPP_INSTANCE_COUNT"] = "4"
    old.write()
    subprocess.run(["sh", "-c", command], check=True)
    assert kept.read_text() == before
    check = await first(old)
    assert (check.result, check.command) == ("ok", None)
    assert str(kept) in check.seen
    now = datetime.fromtimestamp(kept.stat().st_ctime, UTC)
    assert f"since {now:%Y-%m-%dT%H:%M:%SZ}" in check.seen, "it may be an earlier cut-over's"
    waguards = old.env.read_text()
    await put_back(old)
    assert (old.env.read_text(), kept.exists()) == (before, False)  # the next cut-over keeps anew
    assert old.env.with_name(".env.waguard").read_text() == waguards


async def put_back(old: Old) -> None:
    [back] = [c for what, c in (await old.examine()).back if ".env" in what]
    subprocess.run(["sh", "-c", back.replace("php artisan config:clear", "true")], check=True)


async def test_a_linked_file_of_the_applications_is_kept_as_a_file(old: Old) -> None:
    await old.host.stop()
    old.write()
    shared, kept = old.host.folder / "shared.env", old.env.with_name(".env.before-waguard")
    old.env.rename(shared)
    old.env.symlink_to(shared)
    before = shared.read_text()
    kept.symlink_to(shared)  # as a copy of the link would be
    command = (await first(old)).command or ""
    subprocess.run(["sh", "-c", command], check=True)
    shared.write_text("changed for waguard")
    assert (kept.is_symlink(), kept.read_text()) == (False, before)
    await put_back(old)
    assert (old.env.readlink(), shared.read_text()) == (shared, before)


async def test_what_systemd_keeps_of_the_port_is_no_old_service(old: Old) -> None:
    """As root one sees its copy of the daemon's socket, too."""
    port = old.host.port
    for has in ([1, os.getpid()], [os.getpid(), 1]):
        old.host.machine.ports[port] = has
        checks = [check for checks in (await old.examine()).plan.values() for check in checks]
        assert [check for check in checks if check.name == "port"] == []
    await old.host.stop()
    old.host.machine.ports[port] = [1]
    commands = [c.command for checks in (await old.examine()).plan.values() for c in checks]
    assert "kill 1" not in commands


async def test_pm2_is_asked_as_its_user(old: Old) -> None:
    await old.host.stop()
    pm2(old)
    old.host.machine.ports[3002] = [21]
    cutover = await old.examine()
    asked = [c.command for checks in cutover.plan.values() for c in checks]
    asked += [command for _, command in cutover.back]
    commands = [part for one in asked if one for part in re.split("; | && ", one) if "pm2" in part]
    assert len(commands) == 5
    assert all(part.startswith("sudo -Hu www pm2 ") for part in commands)


ME = pwd.getpwuid(os.getuid())
OTHER = next(it for it in pwd.getpwall() if it.pw_uid != ME.pw_uid and it.pw_dir != ME.pw_dir)


def saved_list(old: Old, user: pwd.struct_passwd, content: str = "[]") -> None:
    dump = old.host.machine.root / user.pw_dir.lstrip("/") / ".pm2/dump.pm2"
    dump.parent.mkdir(parents=True)
    dump.write_text(content)


async def resurrected(old: Old) -> tuple[str, str]:
    [step] = [it for it in (await old.examine()).back if "pm2" in it[1]]
    return step


async def test_after_the_cut_over_whoever_saved_its_list_resurrects_it(old: Old) -> None:
    assert (await resurrected(old))[1] == "cd / && sudo -Hu PM2_USER pm2 resurrect"
    saved_list(old, ME)
    assert (await resurrected(old))[1] == f"cd / && sudo -Hu {ME.pw_name} pm2 resurrect"


async def test_two_copies_of_the_old_service_are_never_resurrected(old: Old) -> None:
    for user in (ME, OTHER):
        saved_list(old, user)
    what, command = await resurrected(old)
    assert command == "cd / && sudo -Hu PM2_USER pm2 resurrect"
    assert ME.pw_name in what
    assert OTHER.pw_name in what


async def test_a_list_of_other_services_does_not_count(old: Old) -> None:
    service = old.env.parent / "whatsapp-service"
    service.mkdir(parents=True)
    saved_list(old, ME, '[{"name": "something else"}]')
    assert (await resurrected(old))[1] == "cd / && sudo -Hu PM2_USER pm2 resurrect"
    saved_list(old, OTHER, json.dumps([{"pm_cwd": str(service)}]))
    assert (await resurrected(old))[1] == f"cd / && sudo -Hu {OTHER.pw_name} pm2 resurrect"


async def test_the_way_back_mixes_no_profiles_and_loses_none(old: Old) -> None:
    theirs, mark = old.host.folder / "their profiles", owner_mark.PAIRING
    ours = old.host.sessions / "workspace_1"
    for path in (
        *(theirs / name for name in ("session-s7/theirs", "session-s2/theirs", "RemoteAuth-s3/x")),
        *(ours / name for name in (f"session-s7/{mark}", f"session-s4/{mark}", "session-s2/new")),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if os.geteuid() == 0:
        os.chown(theirs, 4_242, 4_242)
    [command] = [c for what, c in (await old.examine()).back if "Copy each profile back" in what]
    command = command.replace("SESSIONS_FOLDER", str(theirs))
    subprocess.run(["bash", "-n", "-c", command], check=True)
    subprocess.run(["sh", "-c", command], check=True)
    assert names(theirs) == {
        *(f"session-{name}/{mark}" for name in ("s7", "s4")),
        *("session-s2/theirs", "RemoteAuth-s3/x"),  # waguard never connected these
    }
    owner = 4_242 if os.geteuid() == 0 else os.getuid()
    assert (theirs / "session-s7" / mark).stat().st_uid == owner
    before = theirs.with_name(f"{theirs.name}.before-way-back")
    assert names(before) == {"session-s7/theirs"}
    again = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert again.returncode != 0
    assert "session-s7/theirs" in names(before)


def names(folder: Path) -> set[str]:
    """Of the files, without those of the host's own session."""
    return {str(it.relative_to(folder)) for it in files(folder) if "session-s1" not in it.parts}


async def test_an_original_that_cannot_be_imported_is_not_called_later(old: Old) -> None:
    await went_on(old)
    old.write()
    rows = [Row(session="s9", workspace=1, status="connected", active=True)]
    assert later(old.env, old.host.sessions, rows) == {"s9"}
    at = layout.places(old.host.sessions, 1, "s9")
    with ProfileLock(at.profile) as lock:  # its session runs: the import fails for that
        assert later(old.env, old.host.sessions, rows) == frozenset()
        owner_mark.claim(at.profile, lock.descriptor, after_pairing=True)
    assert later(old.env, old.host.sessions, rows) == {"s9"}
    shutil.rmtree(at.profile)
    assert later(old.env, old.host.sessions, rows) == frozenset()


async def test_what_is_set_and_found_is_ok(old: Old) -> None:
    await chats(old)
    old.host.configure("webhook", stored="chats.whatsapp_message_id")
    assert await old.wrong() == []


async def test_rows_of_another_database_say_nothing(old: Old) -> None:
    mysql(old)
    await inactive(old)
    plan = (await old.examine()).plan
    for step in (Step.PROFILES, Step.ROWS):
        [check] = plan[step]
        assert (check.result, "database.url has to name" in check.seen) == ("skipped", True)


async def test_keys_are_missing_before_there_is_a_key_file(old: Old) -> None:
    (old.host.state / "api-key").unlink()
    answer = [c.seen for _, c in await old.wrong() if c.name == "keys"]
    assert len(answer) == 2
    assert all("is not in" in seen for seen in answer)


async def test_no_secret_is_shown(old: Old) -> None:
    mysql(old)
    old.values["LARAVEL_API_TOKEN"] = "another-key-that-is-long-enough"
    old.values["HMAC_SECRET"] = "sesame-of-the-application"
    cutover = await old.examine()
    text = "\n".join(lines(cutover.plan, cutover.back))
    assert "LARAVEL_API_TOKEN is not in" in text
    for secret in ("another-key", "sesame", KEY):
        assert secret not in text


async def test_without_the_applications_file(old: Old) -> None:
    host = old.host
    plan = (await examine(host.file, host.environ, None, host.machine)).plan
    [check] = plan[Step.CONFIGURE]
    assert (check.result, "--env FILE" in check.seen) == ("skipped", True)
    plan = (await examine(host.file, {}, host.folder / "none", host.machine)).plan
    [check] = plan[Step.CONFIGURE]
    assert (check.result, "cannot be read" in check.seen) == ("failed", True)


async def test_nothing_is_changed(old: Old) -> None:
    pm2(old)
    crontab(old)
    old.write()
    before = {str(p): p.lstat().st_ctime_ns for p in files(old.host.folder)}
    host = old.host
    await examine(host.file, host.environ, old.env, host.machine)
    assert {str(p): p.lstat().st_ctime_ns for p in files(old.host.folder)} == before


def files(folder: Path) -> Sequence[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("-shm", "-wal"))]


# ---- the same in prose ----


def test_the_guide_has_the_same_order() -> None:
    headings = re.findall(r"^## (\d+)\. (.*)$", DOCS.read_text(), re.MULTILINE)
    assert headings == [(str(step.value), TITLES[step]) for step in Step]


async def test_the_guide_has_the_same_way_back(old: Old) -> None:
    text = DOCS.read_text()
    back = text[text.index("## The way back") :]
    places = [back.index(what) for what, _ in (await old.examine()).back]
    assert places == sorted(places)
