"""Debian hosts on one Linux computer: systemd-nspawn machines on a bridge of their own.

Every step looks before it acts, so `up` finishes what an interrupt or a reboot left half done,
and `down` removes what is recorded as ours and nothing else. Standard library only: `check`
runs before anything is installed. Run it as `python3 <this folder> check|up|down|status|run`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path

from cache import start_cache
from common import LabError
from hosts import known, prepare, start, stop, supervise
from kernel import raise_settings, restore_settings
from keys import hang_up, make_key, publish
from layers import unmount
from network import set_up_network, tear_down_network
from processes import end, recorded
from requirements import check
from spec import Lab

# Not among what is removed.
LOCK = Path("/run/selvage-lab.lock")


def up(lab: Lab) -> bool:
    """Bring the lab to life; returns whether anything had to change."""
    changed = raise_settings(lab.home.parent)
    changed |= set_up_network(lab)
    make_key(lab)
    changed |= start_cache(lab)
    former = [machine for machine in known(lab) if machine not in lab.machines]
    stop(lab, former)
    for machine in former:
        shutil.rmtree(lab.folder(machine))
    for machine in lab.machines:
        changed |= prepare(lab, machine)
    changed |= publish(lab)
    for machine in lab.machines:
        changed |= start(lab, machine)
    return changed or bool(former)


def down(home: Path, keep_cache: bool) -> bool:
    """Remove the lab, and with the last one what labs share; returns whether anything was there."""
    state = home.parent
    if not state.exists():
        return False
    changed = home.exists()
    if (home / "lab.json").exists():
        lab = Lab.load(home)
        hang_up(lab)
        stop(lab, known(lab))
        end([home / "cache" / "pid"], patience=5)
        unmount(home / "cache" / "root")
        tear_down_network(lab)
    if changed:
        shutil.rmtree(home)
    # Others may remove theirs at the same time, and see no lab either.
    with LOCK.open("w") as lock:
        flock(lock, LOCK_EX)
        if state.exists() and not any(state.glob("*/lab.json")):
            restore_settings(state)
            if not keep_cache:
                shutil.rmtree(state)
                changed = True
    return changed


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
    checking.add_argument("release")
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
            check(home.parent, home.name, arguments.prefix, arguments.release)
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
