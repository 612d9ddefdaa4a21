"""A real systemd as PID 1 of throw-away namespaces, on an overlay of the machine's own root, or of another one.

Needs root, util-linux and systemd. Nothing that is written inside survives, nothing of the
machine's services runs in it; the network is the machine's own, so loopback is shared.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BOOT_DEADLINE = 90.0  # s; about 0.3 are needed

# The outer half has its own mount namespace and its own sub-cgroups, stays outside, and removes the
# cgroups at the end. Where memory is on cgroup v1, systemd gets its hybrid layout.
OUTER = r"""
set -eu
work=$1; name=wg-${work##*.}
mkdir "$work"/{unified,legacy,tree}
mount -t cgroup2 cgroup2 "$work/unified"; mkdir "$work/unified/$name"
groups=("$work/unified/$name"); hybrid=
grep -qw memory "$work/unified/cgroup.controllers" || hybrid=1
if [ $hybrid ]; then
  for controller in memory pids devices name=systemd; do
    mkdir "$work/legacy/$controller"
    [[ $controller = name=* ]] && options=none,$controller || options=$controller
    mount -t cgroup -o "$options" cgroup "$work/legacy/$controller"
    group=$work/legacy/$controller$(sed -n "s/^[0-9]*:$controller://p" /proc/self/cgroup)/$name
    mkdir "$group"; groups+=("$group")
  done
fi
child=; trap 'kill -9 $child 2>/dev/null || :' TERM INT HUP
(
  for group in "${groups[@]}"; do echo $BASHPID >"$group/cgroup.procs"; done
  exec unshare --mount --propagation private --cgroup --uts --ipc --pid --fork --kill-child \
    bash -c "$2" init "$work" "$hybrid" "$3"
) & child=$!
while kill -0 $child 2>/dev/null; do wait $child || :; done
for _ in {1..50}; do
  left=
  for group in "${groups[@]}"; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
  done
  if [ ! $left ]; then
    umount "$work"/unified "$work"/legacy/* 2>/dev/null || :
    rm -rf --one-file-system "$work"; exit 0
  fi
  sleep .1
done
exit 9
"""

# The inner half is PID 1: it builds the root, pivots into it and becomes systemd.
INNER = r"""
set -eu
work=$1; hybrid=$2; lower=$3
read -r me _ </proc/self/stat; echo "$me" >"$work/pid.new"; mv "$work/pid.new" "$work/pid"
mount -t tmpfs -o mode=755 tmpfs "$work/tree"; cd "$work/tree"; mkdir upper work root
mount -t overlay -o "lowerdir=$lower,upperdir=$PWD/upper,workdir=$PWD/work" overlay root; cd root
mount -t proc -o nosuid,nodev,noexec proc proc
for path in sys sysrq-trigger; do
  [ ! -e proc/$path ] || { mount --bind proc/$path proc/$path; mount -o remount,bind,ro proc/$path; }
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
options=()
if [ "$hybrid" ]; then
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/{unified,systemd,memory,pids,devices}
  mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
  for controller in memory pids devices; do
    mount -t cgroup -o $controller cgroup sys/fs/cgroup/$controller
  done
  mount -o remount,ro sys/fs/cgroup  # or systemd mounts the machine's other controllers too
  options=(systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0
           SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1)
else
  mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mount -t tmpfs -o mode=755,nosuid tmpfs dev; mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do : >dev/$node; mount --bind /dev/$node dev/$node; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
for link in 0:stdin 1:stdout 2:stderr; do ln -s fd/${link%:*} dev/${link#*:}; done
mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs -o mode=1777 tmpfs tmp
rm -rf etc/systemd/system/*.wants usr/lib/systemd/system-generators etc/fstab var/log/journal
cd usr/lib/systemd/system/sysinit.target.wants
for unit in *; do
  case $unit in systemd-journald.service|systemd-tmpfiles-setup.service) ;; *) rm -rf "$unit";; esac
done
cd "$work/tree/root"
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >etc/systemd/system/wg.target
mkdir -p .old; pivot_root . .old; cd /
for pair in "${@:4}"; do  # what lies on other file systems than the root's
  mkdir -p "${pair#*=}"; mount --bind ".old${pair%%=*}" "${pair#*=}"
done
umount -l .old; rmdir .old
exec env -i container=wg PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  /usr/lib/systemd/systemd --system --unit=wg.target --show-status=0 "${options[@]}" </dev/null
"""


class SystemdNamespace:
    """One booted systemd."""

    def __init__(self, work: Path, binds: dict[Path, str], log: Path, lower: Path) -> None:
        self._work = work
        pairs = [f"{source}={target}" for source, target in binds.items()]
        inner = INNER.replace('"${@:4}"', " ".join(f"'{pair}'" for pair in pairs))
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM"),
                    *("unshare", "--mount", "--propagation", "private"),
                    *("bash", "-c", OUTER, "outer", str(work), inner, str(lower)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._pid = self._booted(log)
        self.root = Path(f"/proc/{self._pid}/root")

    def _booted(self, log: Path) -> int:
        deadline = time.monotonic() + BOOT_DEADLINE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                self._pid = int((self._work / "pid").read_text())
                state = self.run("systemctl", "is-system-running").stdout.strip()
                if state in {"running", "degraded"}:
                    return self._pid
            time.sleep(0.02)
        self.end()
        raise RuntimeError(f"systemd did not boot:\n{log.read_text()}")

    def end(self) -> None:
        """Kill everything in it; its cgroups and its work folder are gone after that."""
        self._process.terminate()
        code = self._process.wait(90)
        assert code == 0, f"namespaces left over in {self._work}: exit code {code}"

    def run(self, *command: str, within: float = 150) -> subprocess.CompletedProcess[str]:
        """Run a command inside, which has ``within`` s."""
        return subprocess.run(
            ["nsenter", "-t", str(self._pid), "-a", *command],
            text=True,
            capture_output=True,
            timeout=within,
            check=False,
        )

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl; fails where it fails."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, f"systemctl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def show(self, unit: str) -> dict[str, str]:
        """The unit's properties."""
        lines = self.systemctl("show", unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def journal(self, unit: str) -> str:
        """What the unit logged."""
        return self.run("journalctl", "-o", "cat", "-u", unit).stdout

    def wait(self, unit: str, *, deadline: float = 90.0, **wanted: str) -> dict[str, str]:
        """Wait until the unit's properties match (each a regular expression)."""
        end = time.monotonic() + deadline
        while True:
            shown = self.show(unit)
            if all(re.fullmatch(value, shown.get(name, "")) for name, value in wanted.items()):
                return shown
            if time.monotonic() > end:
                have = {name: shown.get(name) for name in wanted}
                raise AssertionError(f"{unit}: wanted {wanted}, have {have}\n{self.journal(unit)}")
            time.sleep(0.05)


@contextlib.contextmanager
def systemd_namespace(
    binds: dict[Path, str], lower: Path = Path("/")
) -> Iterator[SystemdNamespace]:
    """Boot it on the root ``lower``, with these folders of the machine at these places inside; end it."""
    work = Path(tempfile.mkdtemp(prefix="wg-sd."))
    log = Path(tempfile.mkstemp(prefix="wg-sd-log.")[1])
    namespace = SystemdNamespace(work, binds, log, lower)
    try:
        yield namespace
    finally:
        namespace.end()
        log.unlink()


def missing() -> str | None:
    """Why it cannot run here; None: it can."""
    if os.getuid() != 0:
        return "needs root"
    if not Path("/usr/lib/systemd/systemd").exists():
        return "needs systemd: apt-get install systemd"
    tools = [tool for tool in ("unshare", "nsenter", "setpriv") if not shutil.which(tool)]
    return f"needs {', '.join(tools)}: apt-get install util-linux" if tools else None
