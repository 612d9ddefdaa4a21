"""What the Debian package's scripts do with the release that dpkg has unpacked; under a real systemd: test_package.py."""

import errno
import mmap
import shutil
import signal
import stat
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from systemd import install, release, running
from systemd.release import (
    CHECKOUT,
    CONFIG,
    OF_PACKAGE,
    PACKAGE,
    RELEASE,
    ROLLED_BACK,
    SHARE,
    FailedError,
    Host,
)
from waguard.daemon import watch

WITHIN = 1.0


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A staged system; nothing is compiled."""
    monkeypatch.setattr(release, "_compile", lambda *_: None)
    return Host(prefix=PACKAGE, destdir=str(tmp_path))


def unpack(host: Host, version: str) -> PurePosixPath:
    """As dpkg does it: what the package before had is deleted, its units are overwritten."""
    tree = host.at(host.unpacked)
    shutil.rmtree(tree, ignore_errors=True)
    (tree / SHARE).mkdir(parents=True)
    (tree / RELEASE).write_text(f"{version}\n")
    (tree / "library.so").write_text(version)
    (tree / SHARE / "waguard.toml").write_text(f"keys of {version}")
    (tree / "bin").mkdir()
    (tree / "bin/python").symlink_to("/bin/true")
    for name in ("waguard.service", "sysusers.conf", "tmpfiles.conf"):
        for path in (tree / SHARE / name, host.at(OF_PACKAGE[name])):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} of {version}")
    return host.releases / version


def unit(host: Host) -> str:
    return host.at(OF_PACKAGE["waguard.service"]).read_text()


def releases(host: Host) -> set[str]:
    return {path.name for path in host.at(host.releases).iterdir()}


def fails(monkeypatch: pytest.MonkeyPatch, version: str, why: str) -> None:
    """No release of this version can use the configuration."""

    def check(_: Host, release: PurePosixPath) -> None:
        if release.name == version:
            raise FailedError(why)

    monkeypatch.setattr(install, "check", check)


def test_a_release_outlives_the_package_that_brought_it(host: Host) -> None:
    first = unpack(host, "1.0")
    install.configure(host, WITHIN)
    library = host.at(first) / "library.so"
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        for version in ("1.1", "1.2"):
            unpack(host, version)
            assert library.read_text() == "1.0", "its worker goes on between the two steps of dpkg"
            install.configure(host, WITHIN)
        assert releases(host) == {"1.0", "1.1", "1.2"}
    assert host.current() == host.releases / "1.2"
    unpack(host, "1.3")
    install.configure(host, WITHIN)
    assert releases(host) == {"1.2", "1.3"}


def test_the_configuration_is_put_once_so_the_release_before_can_read_it(host: Host) -> None:
    for version in ("1.0", "1.1"):
        unpack(host, version)
        install.configure(host, WITHIN)
        assert host.at(CONFIG).read_text() == "keys of 1.0"
        assert stat.S_IMODE(host.at(CONFIG).stat().st_mode) == 0o640


def test_it_costs_no_room_twice(host: Host) -> None:
    release = unpack(host, "1.0")
    install.configure(host, WITHIN)
    assert (host.at(release) / "library.so").samefile(host.at(host.unpacked) / "library.so")


def test_the_release_before_goes_on_and_reports_why(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = unpack(host, "1.0")
    install.configure(host, WITHIN)
    new = unpack(host, "1.1")
    fails(monkeypatch, "1.1", "it does not start:\nmore\nRuntimeError: why")
    install.configure(host, WITHIN)
    assert (host.current(), unit(host)) == (old, "waguard.service of 1.0")
    assert watch.ROLLED_BACK == ROLLED_BACK
    assert (
        watch.rolled_back(host.at(old))
        == "1.1 is installed and does not run: it does not start: RuntimeError: why"
    )
    assert "dpkg-reconfigure waguard" in capsys.readouterr().out
    # the cause is removed, and dpkg-reconfigure tries it again
    monkeypatch.setattr(install, "check", lambda *_: None)
    install.configure(host, WITHIN)
    assert (host.current(), watch.rolled_back(host.at(new))) == (new, None)
    # the older package is installed again: it is used because somebody wants it
    unpack(host, "1.0")
    install.configure(host, WITHIN)
    assert (host.current(), watch.rolled_back(host.at(old))) == (old, None)


def test_a_full_disk_leaves_the_release_before(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    old = unpack(host, "1.0")
    install.configure(host, WITHIN)
    unpack(host, "1.1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(release, "_compile", full)
    install.configure(host, WITHIN)
    assert (host.current(), unit(host)) == (old, "waguard.service of 1.0")
    assert "No space left" in str(watch.rolled_back(host.at(old)))


class Disk:
    """Takes nothing at or below these folders any more."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full: tuple[Path, ...] = ()
        write, symlink = Path.write_text, Path.symlink_to

        def written(path: Path, *arguments: str) -> int:
            self._refuse(path)
            return write(path, *arguments)

        def linked(path: Path, target: str) -> None:
            self._refuse(path)
            symlink(path, target)

        patch.setattr(Path, "write_text", written)
        patch.setattr(Path, "symlink_to", linked)

    def _refuse(self, path: Path) -> None:
        if any(path.is_relative_to(one) for one in self.full):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_what_is_so_already_needs_no_room(host: Host, disk: Disk) -> None:
    unpack(host, "1.0")
    install.configure(host, WITHIN)
    disk.full = (host.at("/"),)
    release.activate(host, host.releases / "1.0")


def test_a_disk_that_takes_nothing_leaves_the_package_configured(
    host: Host, disk: Disk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """dpkg has put the new units; what cannot be put back is said."""
    old = unpack(host, "1.0")
    install.configure(host, WITHIN)
    unpack(host, "1.1")

    def full(*_: object) -> None:
        disk.full = (host.at("/"),)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(release, "_compile", full)
    install.configure(host, WITHIN)
    said = capsys.readouterr().out
    assert host.current() == old
    assert "1.0 is not put back as a whole: [Errno 28] No space left" in said
    assert "why is not written: [Errno 28] No space left" in said
    assert releases(host) == {"1.0"}, "what is unfinished takes no room"


def test_a_first_release_that_finds_no_room_fails_in_a_line(
    host: Host, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(host, "1.0")
    disk.full = (host.at("/"),)
    code = install.main(["configure", "--prefix", str(PACKAGE), "--destdir", host.destdir])
    said = capsys.readouterr().err
    assert (code, said.count("\n"), "No space left" in said) == (1, 1, True)


class Service:
    """What systemd has of a daemon: ready with each release that is not ``broken``."""

    def __init__(self, host: Host, patch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.broken: dict[str, BaseException | None] = {}
        """By the release: what its restart ends with; None: the process is killed there."""
        self.state = "active"
        self.restarted: list[str] = []
        self.runs = ""
        patch.setattr(Host, "is_live", property(lambda _: True))
        for module in (install, release, running):
            patch.setattr(module, "run", self._run)
        patch.setattr(release, "systemd_version", lambda: 257)
        patch.setattr(running, "is_active", lambda: self.state == "active")
        patch.setattr(install, "check", lambda *_: None)
        patch.setattr(install, "can_run", lambda host, it: host.at(it).exists())
        patch.setattr(install, "restart", self._restart)
        patch.setattr(install, "Daemon", lambda *_: self)

    def workers(self) -> dict[str, int]:
        return {}

    def why_not_ready(self) -> str | None:
        return "it fails" if self.runs in self.broken else None

    def _run(self, *command: str) -> str:
        if command[:2] == ("systemctl", "restart"):
            self._started()
        return f"{self.state}\n"

    def _started(self) -> None:
        self.runs = str(self.host.current()).rpartition("/")[2]
        self.restarted.append(self.runs)
        self.state = "activating" if self.runs in self.broken else "active"

    def _restart(self, *_: object) -> None:
        self._started()
        if self.runs in self.broken:
            raise self.broken[self.runs] or Killed


class Killed(BaseException):
    """SIGKILL: nothing of what follows is done."""


@pytest.fixture
def service(host: Host, monkeypatch: pytest.MonkeyPatch) -> Service:
    """1.0 runs, and 1.1 is unpacked."""
    unpack(host, "1.0")
    install.configure(host, WITHIN)
    unpack(host, "1.1")
    service = Service(host, monkeypatch)
    service.runs = "1.0"
    return service


def test_a_disk_that_gets_full_between_two_units_leaves_the_release_before(
    service: Service, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    host = service.host
    disk.full = (host.at(OF_PACKAGE["tmpfiles.conf"]).parent,)
    host.at(OF_PACKAGE["tmpfiles.conf"]).write_bytes(b"of neither")
    install.configure(host, WITHIN)
    assert (host.current(), unit(host)) == (host.releases / "1.0", "waguard.service of 1.0")
    assert service.runs == "1.0"
    assert "1.0 is not put back as a whole" in capsys.readouterr().out


def test_a_release_that_fails_and_cannot_be_replaced_is_said(
    service: Service, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way back stays for the next `dpkg-reconfigure`."""
    host = service.host

    def restart(*_: object) -> None:
        disk.full = (host.at(host.prefix),)
        raise FailedError("it hangs")

    service.broken["1.1"] = FailedError("it hangs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(install, "restart", restart)
        install.configure(host, WITHIN)
    assert (host.current(), host.before()) == (host.releases / "1.1", host.releases / "1.0")
    assert "1.0 is not put back as a whole" in capsys.readouterr().out
    disk.full = ()
    install.configure(host, WITHIN)
    assert (host.current(), service.runs) == (host.releases / "1.0", "1.0")


def killed(service: Service) -> None:
    """While 1.1 is tried."""
    service.broken["1.1"] = None
    with pytest.raises(Killed):
        install.configure(service.host, WITHIN)
    assert (service.host.current(), service.host.before()) == (
        service.host.releases / "1.1",
        service.host.releases / "1.0",
    )


@pytest.mark.parametrize("error", [FailedError("why"), KeyError("why"), KeyboardInterrupt()])
def test_whatever_happens_to_a_new_one_the_one_before_runs(
    service: Service, error: BaseException
) -> None:
    host = service.host
    service.broken["1.1"] = error
    install.configure(host, WITHIN)
    assert (service.restarted, host.current()) == (["1.1", "1.0"], host.releases / "1.0")
    assert (host.before(), unit(host)) == (None, "waguard.service of 1.0")
    assert "1.1 is installed and does not run: " in str(
        watch.rolled_back(host.at(host.releases / "1.0"))
    )


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_terminal_goes_back(
    service: Service, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    host = service.host

    def lost(*_: object) -> None:
        if host.current() == host.releases / "1.1":
            signal.raise_signal(number)

    monkeypatch.setattr(install, "restart", lost)
    as_before = {it: signal.getsignal(it) for it in (signal.SIGHUP, signal.SIGTERM)}
    try:
        signal.signal(number, signal.SIG_DFL)
        install.interrupted_by_more()
        install.configure(host, WITHIN)
    finally:
        for it, handler in as_before.items():
            signal.signal(it, handler)
    assert (host.current(), host.before()) == (host.releases / "1.0", None)
    assert "interrupted" in str(watch.rolled_back(host.at(host.releases / "1.0")))


@pytest.mark.parametrize("state", ["activating", "failed", "active"])
def test_a_killed_upgrade_is_tried_again_and_goes_back(service: Service, state: str) -> None:
    """`dpkg --configure -a`."""
    host = service.host
    killed(service)
    service.state, service.broken["1.1"] = state, FailedError("it hangs")
    install.configure(host, WITHIN)
    assert service.restarted == ["1.1", "1.1", "1.0"]
    assert (host.current(), host.before()) == (host.releases / "1.0", None)
    assert "it hangs" in str(watch.rolled_back(host.at(host.releases / "1.0")))


def test_a_killed_upgrade_whose_release_works_is_done(service: Service) -> None:
    host = service.host
    killed(service)
    service.broken.clear()
    install.configure(host, WITHIN)
    assert (host.current(), host.before()) == (host.releases / "1.1", None)
    assert {"1.0", "1.1"} <= releases(host)


def test_after_a_killed_upgrade_one_that_cannot_be_tried_brings_the_old_daemon_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = service.host
    killed(service)
    fails(monkeypatch, "1.1", "its configuration is wrong")
    install.configure(host, WITHIN)
    assert (service.runs, service.state) == ("1.0", "active")
    assert (host.current(), host.before()) == (host.releases / "1.0", None)


def test_after_a_killed_upgrade_the_older_package_is_installed(service: Service) -> None:
    host = service.host
    killed(service)
    unpack(host, "1.0")
    install.configure(host, WITHIN)
    assert (service.runs, service.state) == ("1.0", "active")
    assert (host.current(), host.before()) == (host.releases / "1.0", None)


def test_a_killed_upgrade_of_a_stopped_daemon_starts_none(service: Service) -> None:
    killed(service)
    service.state = "inactive"
    before = [*service.restarted]
    install.configure(service.host, WITHIN)
    assert (service.restarted, service.state) == (before, "inactive")


def test_make_upgrade_goes_back_over_a_killed_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = service.host
    killed(service)
    service.state, service.broken["1.2"] = "failed", FailedError("so does this")
    monkeypatch.setattr(install, "build", lambda *_: release.lay(host, unpack(host, "1.2")))
    with pytest.raises(FailedError, match=r"1\.0 runs again"):
        install.upgrade(host, Path("wheel"), Path("/dev/null"), WITHIN)
    assert (service.runs, service.state, host.before()) == ("1.0", "active", None)


def test_a_release_before_that_cannot_use_the_configuration_is_no_way_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed, worked all the same, and got a key that only the new one has."""
    host = service.host
    killed(service)
    service.broken.clear()
    service.state = "active"
    fails(monkeypatch, "1.0", "unknown key")
    unpack(host, "1.2")
    install.configure(host, WITHIN)
    assert (host.current(), service.runs) == (host.releases / "1.2", "1.2")


def test_a_release_that_cannot_run_blocks_no_other_package(host: Host) -> None:
    """Another minor version of Python is installed, or its tree is gone."""
    for version in ("1.0", "1.1", "1.0"):
        new = unpack(host, version)
        if current := host.current():
            python = host.at(current) / "bin/python"
            python.unlink()
            python.symlink_to("/bin/false")
        install.configure(host, WITHIN)
        assert (host.current(), unit(host)) == (new, f"waguard.service of {version}")
    shutil.rmtree(host.at(new))
    install.configure(host, WITHIN)
    assert (host.current(), unit(host)) == (new, "waguard.service of 1.0")


def test_where_no_daemon_runs_the_new_release_alone_has_to_read_the_configuration(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(host, "1.0")
    install.configure(host, WITHIN)
    new = unpack(host, "1.1")
    fails(monkeypatch, "1.0", "unknown key")
    install.configure(host, WITHIN)
    assert host.current() == new


def test_a_release_that_is_installed_again_is_laid_again(host: Host) -> None:
    release = unpack(host, "1.0")
    install.configure(host, WITHIN)
    (host.at(release) / "library.so").unlink()
    (host.at(host.releases) / ".1.0.new").mkdir()  # of one that was interrupted
    install.configure(host, WITHIN)
    assert (host.at(release) / "library.so").read_text() == "1.0"
    assert releases(host) == {"1.0"}


def test_removed_it_leaves_to_dpkg_what_dpkg_has(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack(host, "1.0")
    install.uninstall(host)  # it was never configured
    install.configure(host, WITHIN)
    host.at(CONFIG).write_text("mine")
    install.uninstall(host)
    assert [path.name for path in host.at(PACKAGE).iterdir()] == ["package"]
    assert host.at(CONFIG).read_text() == "mine"
    assert f"kept: {CONFIG}" in capsys.readouterr().out


def test_make_install_and_the_package_exclude_each_other(host: Host) -> None:
    unpack(host, "1.0")
    other = Host(prefix=PurePosixPath("/opt/waguard"), destdir=host.destdir)
    for it in (host, other):
        with pytest.raises(FailedError, match="apt remove waguard"):
            install.install(it, Path("waguard-1.0-py3-none-any.whl"), Path("/dev/null"))


SHIPPED = (CHECKOUT / "systemd/waguard.service").read_text()


@pytest.mark.parametrize(
    ("unit", "refused"),
    [
        pytest.param(SHIPPED, True, id="make install"),
        pytest.param(SHIPPED.replace("/opt/", "/srv/"), True, id="PREFIX=/srv/waguard"),
        pytest.param(SHIPPED.replace("/opt/", "/usr/lib/"), False, id="systemctl edit --full"),
        pytest.param("", False, id="systemctl mask"),
        pytest.param(None, False, id="none"),
    ],
)
def test_only_a_unit_of_make_install_is_in_the_way(
    tmp_path: Path, unit: str | None, *, refused: bool
) -> None:
    """A mask is a link to /dev/null: it reads as an empty file does."""
    path = tmp_path / "waguard.service"
    if unit is not None:
        path.write_text(unit)
    script = (CHECKOUT / "systemd/deb/preinst").read_text()
    place = "unit=/etc/systemd/system/waguard.service\n"
    assert place in script
    command = ("sh", "-c", script.replace(place, f"unit='{path}'\n"), "preinst", "install")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "make uninstall" in done.stderr) == (
        (1, True) if refused else (0, False)
    )


@pytest.mark.parametrize("name", ["postinst", "prerm"])
def test_the_package_runs_the_python_that_it_depends_on(name: str) -> None:
    """A program of the name in /usr/local/bin may lack what is needed, or be of another version."""
    words = (CHECKOUT / "systemd/deb" / name).read_text().split()
    assert [it for it in words if it.endswith("python3")] == ["/usr/bin/python3"]
