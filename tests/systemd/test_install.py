"""What `make install`, `upgrade` and `uninstall` put where; under a real systemd: test_upgrade.py."""

import json
import mmap
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path, PurePosixPath
from typing import cast

import pytest

from systemd import install, manpage, release, running
from systemd.release import (
    BEFORE_STEPS,
    CHECKOUT,
    COMMAND,
    CONFIG,
    DROP_INS,
    MONITORING,
    PLACES,
    SHARE,
    FailedError,
    Host,
)
from waguard.cli.program import COMMANDS, parser

NAMES = (
    *("waguard.service", "sysusers.conf", "tmpfiles.conf", "waguard.8"),
    *("waguard.rules.yml", "waguard.json"),
)
NONE = Path("/dev/null")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A staged system, on which a release is built without its venv."""
    monkeypatch.setattr(install, "build", build)
    return Host(prefix=PurePosixPath("/opt/waguard"), destdir=str(tmp_path))


def build(host: Host, wheel: Path, requirements: Path) -> PurePosixPath:
    """One that knows what its wheel is called."""
    release = host.releases / wheel.name.split("-")[1]
    share = host.at(release) / SHARE
    share.mkdir(parents=True)
    for name in (*NAMES, "waguard.toml", BEFORE_STEPS):
        (share / name).write_text(f"{name} of {release.name}")
    return release


def wheel(version: str) -> Path:
    return Path(f"waguard-{version}-py3-none-any.whl")


def read(host: Host, path: str) -> str:
    return host.at(path).read_text()


def releases(host: Host) -> set[str]:
    return {path.name for path in host.at(host.releases).iterdir()}


def test_an_installation_is_whole_and_its_configuration_private(host: Host) -> None:
    install.install(host, wheel("1.0"), NONE)
    assert host.current() == host.releases / "1.0"
    for name in NAMES:
        assert read(host, PLACES[name]) == f"{name} of 1.0"
    assert stat.S_IMODE(host.at(CONFIG).stat().st_mode) == 0o640
    assert str(host.at(COMMAND).readlink()) == "/opt/waguard/current/bin/waguard"
    with pytest.raises(FailedError, match="make upgrade"):
        install.install(host, wheel("1.1"), NONE)


@pytest.mark.parametrize("command", ["install", "upgrade", "uninstall", "configure"])
def test_two_do_not_work_in_one_prefix_at_once(
    host: Host, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    given = [command, "--wheel", "waguard-1.1-py3-none-any.whl", "--destdir", host.destdir]
    with install.alone(host):
        install.install(host, wheel("1.0"), NONE)
        assert install.main([*given, "--prefix", str(host.prefix)]) == 1
    assert "wait until it has ended" in capsys.readouterr().err
    assert (host.current(), releases(host)) == (host.releases / "1.0", {"1.0"})
    with install.alone(host):
        pass


def test_who_is_refused_leaves_no_empty_prefix(host: Host) -> None:
    given = ["upgrade", "--wheel", "x", "--destdir", host.destdir, "--prefix", str(host.prefix)]
    assert install.main(given) == release.CONFIGURATION
    assert not host.at(host.prefix).exists()


def test_an_upgrade_keeps_the_configuration_and_the_release_before(host: Host) -> None:
    with pytest.raises(FailedError, match="make install"):
        install.upgrade(host, wheel("1.0"), NONE, 1.0)
    install.install(host, wheel("1.0"), NONE)
    host.at(CONFIG).write_text("mine")
    for version in ("1.1", "1.2"):
        install.upgrade(host, wheel(version), NONE, 1.0)
    assert read(host, CONFIG) == "mine"
    assert read(host, PLACES["waguard.service"]) == "waguard.service of 1.2"
    assert releases(host) == {"1.1", "1.2"}


def test_what_a_process_runs_from_is_not_removed(host: Host) -> None:
    install.install(host, wheel("1.0"), NONE)
    library = host.at(host.releases / "1.0" / "library.so")
    library.write_bytes(b"x")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        for version in ("1.1", "1.2"):
            install.upgrade(host, wheel(version), NONE, 1.0)
        assert releases(host) == {"1.0", "1.1", "1.2"}
    install.upgrade(host, wheel("1.3"), NONE, 1.0)
    assert releases(host) == {"1.2", "1.3"}


def test_what_a_process_runs_from_is_not_removed_below_a_linked_prefix(
    host: Host, tmp_path: Path
) -> None:
    """Its maps name the folder itself."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "opt").mkdir()
    host.at(host.prefix).symlink_to(tmp_path / "disk")
    test_what_a_process_runs_from_is_not_removed(host)


def test_the_way_back_removes_what_only_the_newer_one_has(host: Host) -> None:
    install.install(host, wheel("1.0"), NONE)
    newer = build(host, wheel("1.1"), NONE)
    (host.at(newer) / SHARE / "waguard.bash").write_text("")
    release.activate(host, newer)
    assert host.at(PLACES["waguard.bash"]).exists()
    release.activate(host, host.releases / "1.0")
    assert not host.at(PLACES["waguard.bash"]).exists()
    assert read(host, PLACES["waguard.service"]) == "waguard.service of 1.0"


@pytest.mark.parametrize(("version", "needed"), [(252, True), (254, False), (257, False)])
def test_only_an_older_systemd_gets_its_drop_in(
    host: Host, monkeypatch: pytest.MonkeyPatch, version: int, *, needed: bool
) -> None:
    monkeypatch.setattr(release, "systemd_version", lambda: version)
    install.install(host, wheel("1.0"), NONE)
    assert host.at(PLACES[BEFORE_STEPS]).exists() is needed
    monkeypatch.setattr(release, "systemd_version", lambda: 257)
    install.upgrade(host, wheel("1.1"), NONE, 1.0)
    assert not host.at(PLACES[BEFORE_STEPS]).exists()


SAYS = """
from systemd.release import say
say("1.0 → 1.1")
say("done")
"""


def test_what_it_says_fits_every_locale_and_needs_no_terminal() -> None:
    command = (sys.executable, "-c", SAYS)
    environment = {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(CHECKOUT)}
    said = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert said.stdout == b"1.0 \\u2192 1.1\ndone\n"
    with Path("/dev/full").open("wb") as gone:  # a write fails there as on a terminal that is gone
        done = subprocess.run(
            command, env=environment, stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_host_may_have_a_module_of_the_name(tmp_path: Path) -> None:
    """python3-systemd has; the package's scripts begin with -P."""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/__init__.py").write_text("raise RuntimeError('theirs')")
    command = (sys.executable, "-P", str(CHECKOUT / "systemd/install.py"), "--help")
    done = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


class Running:
    """A daemon without sessions."""

    def workers(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    ("outcomes", "said", "left"),
    [
        ([FailedError("it hangs")], "1.0 runs again", {"1.0"}),
        ([KeyboardInterrupt()], "1.0 runs again", {"1.0"}),
        ([FailedError("it hangs"), FailedError("so does this")], "1.0 is back", {"1.0", "1.1"}),
    ],
)
def test_one_that_is_not_ready_is_put_back(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[BaseException],
    said: str,
    left: set[str],
) -> None:
    install.install(host, wheel("1.0"), NONE)
    old, new = host.releases / "1.0", build(host, wheel("1.1"), NONE)
    restarted: list[PurePosixPath | None] = []

    def restart(*_: object) -> None:
        restarted.append(host.current())
        if outcomes:
            raise outcomes.pop(0)

    monkeypatch.setattr(install, "restart", restart)
    with pytest.raises(FailedError, match=said):
        install._replace(host, cast("running.Daemon", Running()), old, new, 1.0)
    assert restarted == [new, old]
    assert read(host, PLACES["waguard.service"]) == "waguard.service of 1.0"
    assert releases(host) == left


class Listening:
    """Answers each request the same."""

    def __init__(self, path: Path, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self._answer = b"HTTP/1.0 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # it is shut
            with connection:
                connection.recv(65_536)
                connection.sendall(self._answer)


HELD = {"status": "standby", "error": "another waguard holds the lease"}


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (200, {"status": "ready"}, None),
        (503, HELD, None),
        (503, {"status": "not ready", "error": "the restore has not ended"}, "the restore"),
        (503, {}, "None"),
        (200, [], "it does not answer"),
    ],
)
def test_a_standby_is_as_ready_as_it_can_be(
    host: Host,
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    answer: object,
    why: str | None,
) -> None:
    monkeypatch.setattr(running, "configured", lambda *_: {"paths.runtime": str(short_path)})
    daemon = running.Daemon(host, host.releases / "1.0")
    with Listening(short_path / "waguard.sock", status, answer):
        found = daemon.why_not_ready()
        assert found is None if why is None else why in str(found)
        assert daemon.workers() == {}, "it has no details"


def test_an_uninstallation_keeps_what_is_the_operators(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    install.install(host, wheel("1.0"), NONE)
    kept = ["/var/lib/waguard/state/waguard.db", f"{DROP_INS}/mine.conf"]
    for path in kept:
        host.at(path).parent.mkdir(parents=True, exist_ok=True)
        host.at(path).write_text("")
    install.uninstall(host)
    left = {
        f"/{path.relative_to(host.at('/'))}" for path in host.at("/").rglob("*") if path.is_file()
    }
    assert left == {*kept, CONFIG}
    assert not host.at("/opt/waguard").exists()
    assert not host.at(MONITORING).exists()
    said = capsys.readouterr().out
    assert f"kept: {CONFIG}" in said
    assert f"kept: {DROP_INS}" in said
    with pytest.raises(FailedError, match="not installed"):
        install.uninstall(host)


def test_a_release_whose_python_is_gone_can_be_left(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an upgrade of the distribution."""
    install.install(host, wheel("1.0"), NONE)
    python = host.at(host.releases / "1.0/bin/python")
    python.parent.mkdir()
    python.symlink_to(host.at("/usr/bin/python3.99"))
    monkeypatch.setattr(Host, "is_live", property(lambda _: True))
    monkeypatch.setattr(install, "require_reachable", lambda _: None)
    monkeypatch.setattr(install, "reload_units", lambda: None)
    monkeypatch.setattr(install, "run", lambda *_: "")  # systemctl
    with monkeypatch.context() as runs:
        runs.setattr(install, "is_up", lambda *_: True)
        with pytest.raises(FailedError, match="stop it, then upgrade"):
            install.upgrade(host, wheel("1.1"), NONE, 1.0)
    install.uninstall(host)
    assert host.current() is None
    assert f"kept: {CONFIG}, the folders that it names" in capsys.readouterr().out


def test_where_no_systemd_is_it_counts_as_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert release.systemd_version() == release.STEPS_SINCE
    with pytest.raises(FailedError, match=r"systemctl --version:\n.*No such file"):
        release.run("systemctl", "--version")


def test_another_program_of_the_name_is_not_replaced(host: Host) -> None:
    host.at(COMMAND).parent.mkdir(parents=True)
    host.at(COMMAND).write_text("theirs")
    with pytest.raises(FailedError, match="another program"):
        install.install(host, wheel("1.0"), NONE)
    assert read(host, COMMAND) == "theirs"


@pytest.mark.parametrize("prefix", ["/home/me/waguard", "/root/waguard"])
def test_the_service_must_see_it(host: Host, prefix: str) -> None:
    hidden = Host(prefix=PurePosixPath(prefix), destdir=host.destdir)
    with pytest.raises(FailedError, match="ProtectHome"):
        install.install(hidden, wheel("1.0"), NONE)


def test_the_service_must_see_where_a_link_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Host, "is_live", property(lambda _: True))
    prefix = tmp_path / "waguard"
    prefix.symlink_to("/home/me/waguard")
    with pytest.raises(FailedError, match="/home/me/waguard is hidden"):
        install.require_reachable(Host(prefix=PurePosixPath(prefix)))


@pytest.mark.long
def test_nothing_stays_of_a_release_that_cannot_be_built(tmp_path: Path) -> None:
    host = Host(prefix=PurePosixPath("/opt/waguard"), destdir=str(tmp_path))
    broken = tmp_path / "waguard-1.0-py3-none-any.whl"
    broken.write_text("no wheel")
    with pytest.raises(FailedError, match="waguard-1"):
        release.build(host, broken, NONE)
    assert releases(host) == set()


def test_an_uninstall_of_nothing_is_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = install.main(["uninstall", "--destdir", str(tmp_path)])
    assert (code, capsys.readouterr().err) == (2, "waguard is not installed in /opt/waguard\n")


def test_the_manual_page_has_every_command_and_means_what_it_says() -> None:
    page = manpage.page(parser(*COMMANDS))
    names = [command.prog for command, _ in manpage.commands(parser(*COMMANDS))]
    assert {"waguard run", "waguard config check"} <= set(names)
    for name in names:
        assert f"\\fB{name}\\fR" in page
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".SH", ".TP", ".B", ".br"}
    assert manpage.roff(".so -\\x") == r"\&.so \-\ex"
