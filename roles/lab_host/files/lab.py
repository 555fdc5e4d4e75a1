#!/usr/bin/env python3
"""Debian hosts on one Linux computer: systemd-nspawn machines on a bridge of their own.

`lab.py check|up|down|status|run` works on one lab, described by `<state>/<name>/lab.json`.
Every step looks before it acts, so `up` finishes what an interrupt or a reboot left half done,
and `down` removes what is recorded as ours and nothing else. Standard library only: `check`
runs before anything is installed.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
DISK_NEEDED = 6 * GIB
MEMORY_NEEDED = 3 * GIB
REBOOT = 133  # systemd-nspawn's exit code when the machine asked for a reboot
CACHE_PORT = 3142


class LabError(Exception):
    """One line for the person at the terminal."""


@dataclass(frozen=True)
class Machine:
    """One host of the lab."""

    name: str
    address: str


@dataclass(frozen=True)
class Lab:
    """One lab, as Ansible described it."""

    home: Path
    name: str
    base: Path
    prefix: str
    owner: str
    machines: tuple[Machine, ...]

    @classmethod
    def load(cls, home: Path) -> Lab:
        """Read `lab.json` in the lab's folder; raises LabError when it is missing."""
        try:
            spec = json.loads((home / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError(f"{home}: no lab is described here; run make lab") from None
        return cls(
            home=home,
            name=spec["name"],
            base=Path(spec["base"]),
            prefix=spec["prefix"],
            owner=spec["owner"],
            machines=tuple(Machine(**machine) for machine in spec["machines"]),
        )

    @property
    def bridge(self) -> str:
        """The bridge's name; interface names have at most 15 characters."""
        return f"slv-{self.name}"

    @property
    def table(self) -> str:
        """The nftables table that masquerades the hosts."""
        return f"selvage_lab_{self.name}"

    @property
    def gateway(self) -> str:
        """The computer's own address on the bridge."""
        return f"{self.prefix}.1"

    @property
    def subnet(self) -> str:
        """The bridge's network."""
        return f"{self.prefix}.0/24"

    def folder(self, machine: Machine) -> Path:
        """Everything of one host: overlay, log and pid."""
        return self.home / "hosts" / machine.name

    def machine_name(self, machine: Machine) -> str:
        """The name that systemd-nspawn, its veth and its cgroup carry."""
        return f"{self.name}-{machine.name}"


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command to its end; raises LabError with its first line of complaint."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{' '.join(command)}: {complaint[0] if complaint else done.returncode}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Whether a command exits 0; its output does not matter."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def write(path: Path, content: str, mode: int = 0o644) -> bool:
    """Make the file what it shall be; returns whether it had to change."""
    if path.is_file() and path.read_text() == content and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(content)
    path.chmod(mode)
    return True


# --- processes, recorded with their start time so that a reused pid is never taken for ours ---


def started_at(pid: int) -> str | None:
    """The start time of a live process in clock ticks since boot (proc(5), stat field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def boot_id() -> str:
    """This boot of the computer: start times count from it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def record(path: Path, pid: int) -> None:
    """Write down a process that we started."""
    write(path, f"{pid} {started_at(pid)} {boot_id()}\n")


def recorded(path: Path) -> int | None:
    """The pid of a recorded process that still runs."""
    try:
        pid, start, boot = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if boot == boot_id() and started_at(int(pid)) == start else None


def end(paths: list[Path], patience: float) -> None:
    """End recorded processes: all get SIGTERM, and what outlives the patience SIGKILL."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for path in paths:
            pid = recorded(path)
            if pid is not None:
                os.kill(pid, signal_number)
        deadline = time.monotonic() + patience
        while any(recorded(path) for path in paths) and time.monotonic() < deadline:
            time.sleep(0.1)
    for path in paths:
        path.unlink(missing_ok=True)


# --- refusals, before anything changes ---


def check(state: Path, name: str, prefix: str) -> None:
    """Raise LabError unless this computer can carry the lab."""
    if platform.system() != "Linux":
        raise LabError(f"the lab needs Linux, this is {platform.system()}: use a Linux machine")
    if os.geteuid() != 0 and shutil.which("sudo") is None:
        raise LabError("the lab needs root: run make as root, or install sudo")
    missing = [space for space in ("net", "pid", "mnt", "uts", "ipc")
               if not Path(f"/proc/self/ns/{space}").exists()]  # fmt: skip
    if missing:
        raise LabError(f"this kernel lacks the namespaces {', '.join(missing)}: use another kernel")
    if not has_overlayfs():
        raise LabError("this kernel has no overlayfs: load the module overlay")
    if not Path("/run/systemd/system").is_dir() and not cgroup_roots():
        raise LabError("no cgroup hierarchy for systemd is mounted: mount cgroup2 first")
    taken = routed_elsewhere(f"{prefix}.0/24", f"slv-{name}")
    if taken:
        raise LabError(f"{prefix}.0/24 is already routed to {taken}: choose another LAB_PREFIX")
    if all_running(state / name):
        return
    existing = next(path for path in (state, *state.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < DISK_NEEDED:
        raise LabError(f"{existing} has {free / GIB:.1f} GiB free: the lab needs 6 GiB")
    memory = available_memory()
    if memory < MEMORY_NEEDED:
        raise LabError(f"{memory / GIB:.1f} GiB of memory are free: the lab needs 3 GiB")


def has_overlayfs() -> bool:
    """Whether overlayfs is there or its module can be loaded."""
    filesystems = Path("/proc/filesystems")
    if "\toverlay\n" in filesystems.read_text():
        return True
    modprobe = shutil.which("modprobe") or "/usr/sbin/modprobe"
    return Path(modprobe).exists() and succeeds(modprobe, "--dry-run", "overlay")


def available_memory() -> int:
    """MemAvailable in bytes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LabError("/proc/meminfo names no MemAvailable: this kernel is too old")


def routed_elsewhere(subnet: str, bridge: str) -> str | None:
    """The interface that already carries a part of the subnet; the default route does not count."""
    wanted = ipaddress.ip_network(subnet)
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        network = ipaddress.ip_network(
            (
                int.from_bytes(bytes.fromhex(destination), "little"),
                bin(int(mask, 16)).count("1"),
            )
        )
        if network.prefixlen and interface != bridge and network.overlaps(wanted):
            return interface
    return None


def all_running(home: Path) -> bool:
    """Whether this lab is up already, and so needs no further room."""
    try:
        lab = Lab.load(home)
    except LabError:
        return False
    return all(recorded(lab.folder(machine) / "pid") for machine in lab.machines)


# --- the network ---


def set_up_network(lab: Lab) -> bool:
    """Bridge, address, forwarding and masquerading; returns whether anything changed."""
    changed = False
    if not Path(f"/sys/class/net/{lab.bridge}").exists():
        run("ip", "link", "add", lab.bridge, "type", "bridge")
        changed = True
    run("ip", "address", "replace", f"{lab.gateway}/24", "dev", lab.bridge)
    run("ip", "link", "set", lab.bridge, "up")
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    if forwarding.read_text().strip() == "0":
        # Remembered for `down`, outside the lab's own folder: several labs may need it.
        write(lab.home.parent / "ip_forward.before", "0\n")
        forwarding.write_text("1\n")
        changed = True
    if not succeeds("nft", "list", "table", "ip", lab.table):
        rules = (
            f"table ip {lab.table} {{\n"
            "chain postrouting {\n"
            "type nat hook postrouting priority srcnat;\n"
            f"ip saddr {lab.subnet} ip daddr != {lab.subnet} masquerade\n"
            "}\n}\n"
        )
        run("nft", "-f", "-", stdin=rules)
        changed = True
    return changed


def tear_down_network(lab: Lab) -> None:
    """Remove the lab's table and bridge."""
    if succeeds("nft", "list", "table", "ip", lab.table):
        run("nft", "delete", "table", "ip", lab.table)
    if Path(f"/sys/class/net/{lab.bridge}").exists():
        run("ip", "link", "delete", lab.bridge)


def resolvers() -> str:
    """A resolv.conf that the hosts can use: no loopback address, which would be their own."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            lines = Path(path).read_text().splitlines()
        except FileNotFoundError:
            continue
        servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
        reachable = [server for server in servers if not server.startswith(("127.", "::1"))]
        if reachable:
            return "".join(f"nameserver {server}\n" for server in reachable)
    raise LabError("/etc/resolv.conf names no resolver beyond loopback: the hosts need one")


# --- roots ---


def mount_overlay(lab: Lab, folder: Path) -> bool:
    """Lay a writable layer over the base at `<folder>/root`; returns whether it was missing."""
    root = folder / "root"
    for name in ("root", "upper", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if root.is_mount():
        return False
    options = f"lowerdir={lab.base},upperdir={folder}/upper,workdir={folder}/work"
    run("mount", "-t", "overlay", "-o", options, f"selvage-lab-{lab.name}", str(root))
    return True


def unmount(root: Path) -> None:
    """Unmount, patiently: the last process in it may just be ending."""
    for attempt in range(50):
        if not root.is_mount():
            return
        if succeeds("umount", str(root)):
            return
        time.sleep(0.1 * min(attempt, 5))
    raise LabError(f"{root} is still in use: see fuser -vm {root}, then run make lab-down again")


def prepare(lab: Lab, machine: Machine) -> bool:
    """Give one host its root, name, address and keys; returns whether anything changed."""
    folder = lab.folder(machine)
    root = folder / "root"
    changed = mount_overlay(lab, folder)
    keys = lab.home / "ssh"
    host_key = keys / f"{machine.name}.key"
    if not host_key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", str(host_key))
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{machine.name}.{lab.name}.selvage-lab")
    files = {
        "etc/hostname": (f"{machine.name}\n", 0o644),
        "etc/machine-id": (f"{identity.hex}\n", 0o444),
        "etc/resolv.conf": (resolvers(), 0o644),
        "etc/systemd/network/10-lab.network": (
            f"[Match]\nName=host0\n[Network]\nAddress={machine.address}/24\n"
            f"Gateway={lab.gateway}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            0o644,
        ),
        "etc/apt/apt.conf.d/90lab-cache": (
            f'Acquire::http::Proxy "http://{lab.gateway}:{CACHE_PORT}";\n',
            0o644,
        ),
        "etc/ssh/ssh_host_ed25519_key": (host_key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (host_key.with_suffix(".key.pub").read_text(), 0o644),
        "root/.ssh/authorized_keys": ((keys / "id_ed25519.pub").read_text(), 0o600),
    }
    if recorded(folder / "pid"):
        # A running host is its roles' business: only what is missing is written when it is down.
        return changed
    if (root / "etc/hosts").exists() is False:
        files["etc/hosts"] = (f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n", 0o644)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    for path, (content, mode) in files.items():
        changed |= write(root / path, content, mode)
    return changed


def make_keys(lab: Lab) -> bool:
    """The lab's own ssh key, owned by the person who runs make."""
    keys = lab.home / "ssh"
    keys.mkdir(exist_ok=True)
    changed = False
    if not (keys / "id_ed25519").exists():
        comment = f"selvage-lab-{lab.name}"
        key = str(keys / "id_ed25519")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key)
        changed = True
    return changed


def publish_keys(lab: Lab) -> bool:
    """The known_hosts of the lab, from the keys that we made: nothing is trusted on first use."""
    keys = lab.home / "ssh"
    lines = []
    for machine in lab.machines:
        kind, key = (keys / f"{machine.name}.key.pub").read_text().split()[:2]
        lines.append(f"{machine.name},{machine.address} {kind} {key}\n")
    changed = write(keys / "known_hosts", "".join(lines))
    for path in (keys, *keys.iterdir()):
        shutil.chown(path, lab.owner)
    return changed


# --- the package cache: apt-cacher-ng in a layer of its own, so the computer gets no service ---


def start_cache(lab: Lab) -> bool:
    """Run a package cache on the bridge; returns whether it had to be started."""
    folder = lab.home / "cache"
    root = folder / "root"
    pid_file = folder / "pid"
    mount_overlay(lab, folder)
    if recorded(pid_file):
        return False
    write(root / "etc/resolv.conf", Path("/etc/resolv.conf").read_text())
    write(root / "etc/hosts", Path("/etc/hosts").read_text())
    if not (root / "usr/sbin/apt-cacher-ng").exists():
        run("chroot", str(root), "apt-get", "update")
        run(
            "chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive",
            "apt-get", "install", "--yes", "--no-install-recommends", "apt-cacher-ng",
        )  # fmt: skip
    process = subprocess.Popen(
        [
            "chroot", "--userspec=apt-cacher-ng:apt-cacher-ng", str(root),
            "/usr/sbin/apt-cacher-ng", "-c", "/etc/apt-cacher-ng", "ForeGround=1",
            f"BindAddress={lab.gateway}", f"Port={CACHE_PORT}",
            "LogDir=/var/log/apt-cacher-ng", "CacheDir=/var/cache/apt-cacher-ng",
            "PassThroughPattern=.*",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    record(pid_file, process.pid)
    return True


# --- hosts ---


def cgroup_roots() -> list[Path]:
    """Where systemd's cgroups live here: one place on pure v2, two on a v1/v2 hybrid."""
    roots = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            roots.append(Path(left.split()[4]))
    return roots


def own_cgroup(name: str) -> None:
    """Move this process into a cgroup of its own.

    Hosts that share one also share its `payload`, and then stopping user sessions in one host
    hangs for minutes.
    """
    for root in cgroup_roots():
        group = root / name
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text(f"{os.getpid()}\n")


def remove_cgroup(name: str) -> None:
    """Remove the host's cgroups, leaves first; they are empty once it has ended."""
    for root in cgroup_roots():
        for folder, _, _ in os.walk(root / name, topdown=False):
            Path(folder).rmdir()


def start(lab: Lab, machine: Machine) -> bool:
    """Start a host's supervisor, detached; returns whether it was down."""
    folder = lab.folder(machine)
    if recorded(folder / "pid"):
        return False
    command = [sys.executable, str(Path(__file__).resolve()), "run", str(lab.home), machine.name]
    if Path("/run/systemd/system").is_dir():
        unit = f"selvage-lab-{lab.machine_name(machine)}"
        run("systemd-run", "--quiet", "--collect", f"--unit={unit}", "-p", "Delegate=yes",
            "-p", "KillMode=mixed", *command)  # fmt: skip
    else:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    deadline = time.monotonic() + 10
    while not recorded(folder / "pid"):
        if time.monotonic() > deadline:
            raise LabError(f"{machine.name} did not start: see {folder}/console.log")
        time.sleep(0.05)
    return True


def supervise(lab: Lab, machine: Machine) -> None:
    """Run one host until it powers off or we are told to end; a reboot starts it again."""
    folder = lab.folder(machine)
    name = lab.machine_name(machine)
    if not Path("/run/systemd/system").is_dir():
        own_cgroup(name)
    record(folder / "pid", os.getpid())
    ending = False
    host: subprocess.Popen[bytes] | None = None

    def on_end(_number: int, _frame: object) -> None:
        nonlocal ending
        ending = True
        if host is not None:
            host.terminate()

    signal.signal(signal.SIGTERM, on_end)
    with (folder / "console.log").open("ab") as log:
        while not ending:
            host = subprocess.Popen(
                [
                    "systemd-nspawn", "--quiet", "--register=no", "--keep-unit",
                    f"--machine={name}", f"--hostname={machine.name}",
                    f"--directory={folder}/root", f"--network-bridge={lab.bridge}",
                    "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--boot",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
            record(folder / "nspawn.pid", host.pid)
            if ending:
                host.terminate()
            if host.wait() != REBOOT:
                break
    (folder / "nspawn.pid").unlink(missing_ok=True)
    (folder / "pid").unlink(missing_ok=True)


# --- the commands ---


def up(lab: Lab) -> bool:
    """Bring the lab to life; returns whether anything had to change."""
    changed = set_up_network(lab)
    changed |= make_keys(lab)
    changed |= start_cache(lab)
    for machine in lab.machines:
        changed |= prepare(lab, machine)
    changed |= publish_keys(lab)
    for machine in lab.machines:
        changed |= start(lab, machine)
    return changed


def down(home: Path, keep_cache: bool) -> bool:
    """Remove the lab; the last one takes the shared base with it. Returns whether one was there."""
    if not home.exists():
        return False
    if (home / "lab.json").exists():
        lab = Lab.load(home)
        folders = [lab.folder(machine) for machine in lab.machines]
        end([folder / "pid" for folder in folders], patience=20)
        # Only left when a supervisor was killed; its host ends with systemd-nspawn.
        end([folder / "nspawn.pid" for folder in folders], patience=5)
        end([home / "cache" / "pid"], patience=5)
        for machine in lab.machines:
            unmount(lab.folder(machine) / "root")
            if not Path("/run/systemd/system").is_dir():
                remove_cgroup(lab.machine_name(machine))
            propagated = Path("/run/systemd/nspawn/propagate") / lab.machine_name(machine)
            if propagated.is_dir():
                propagated.rmdir()
        unmount(home / "cache" / "root")
        tear_down_network(lab)
    state = home.parent
    shutil.rmtree(home)
    if not keep_cache and not any(state.glob("*/lab.json")):
        before = state / "ip_forward.before"
        if before.exists():
            Path("/proc/sys/net/ipv4/ip_forward").write_text(before.read_text())
        shutil.rmtree(state)
    return True


def status(lab: Lab) -> None:
    """Print one line per host."""
    for machine in lab.machines:
        pid = recorded(lab.folder(machine) / "pid")
        state = f"running, pid {pid}" if pid else "not running (make lab starts it)"
        print(f"{machine.name:<8} {machine.address:<15} {state}")


def main() -> int:
    """Parse the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="refuse a computer that cannot carry the lab")
    checking.add_argument("home", type=Path)
    checking.add_argument("prefix")
    for name in ("up", "status"):
        commands.add_parser(name).add_argument("home", type=Path)
    removing = commands.add_parser("down")
    removing.add_argument("home", type=Path)
    removing.add_argument("--keep-cache", action="store_true", help="keep the base for later")
    running = commands.add_parser("run", help="supervise one host in the foreground")
    running.add_argument("home", type=Path)
    running.add_argument("machine")
    arguments = parser.parse_args()
    home: Path = arguments.home
    try:
        if arguments.command == "check":
            check(home.parent, home.name, arguments.prefix)
        elif arguments.command == "up":
            print("changed" if up(Lab.load(home)) else "unchanged")
        elif arguments.command == "down":
            print("changed" if down(home, arguments.keep_cache) else "unchanged")
        elif arguments.command == "status":
            status(Lab.load(home))
        else:
            lab = Lab.load(home)
            supervise(lab, next(m for m in lab.machines if m.name == arguments.machine))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
