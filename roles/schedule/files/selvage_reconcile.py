#!/usr/bin/python3
"""Reconcile every sidecar once, as cron does each minute, or tell how the last runs went.

Exit codes: 0 reconciled, or fresh enough; 1 not; 2 wrong usage.
"""

import argparse
import fcntl
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import syslog
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LIB = Path("/usr/local/lib/selvage-schedule")
STATE_DIR = Path("/var/lib/selvage-schedule")
STATE = STATE_DIR / "state.json"
LOCK = STATE_DIR / "lock"
LOG = Path("/var/log/selvage/reconcile.log")
COMMAND = ("/usr/bin/ansible-playbook", str(LIB / "reconcile.yml"))
# What the callback selvage_lines writes.
TROUBLE = re.compile(r"\S+ (failed|unreachable): .+")
SUMMARY = re.compile(r"hosts=[1-9][0-9]* .*")
REASON_CHARACTERS = 300
GRACE_S = 5


def main() -> int:
    """Parse the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--status", action="store_true", help="print how the last runs went")
    parser.add_argument(
        "--max-age", type=int, default=5, metavar="MINUTES", help="of the last success (default: 5)"
    )
    parser.add_argument(
        "--time-limit", type=int, default=300, metavar="SECONDS", help="of a run (default: 300)"
    )
    options = parser.parse_args()
    if options.status:
        return status(options.max_age)
    os.umask(0o022)
    try:
        become_owner()
        return reconcile(options.time_limit)
    except OSError as error:
        print(f"selvage-reconcile: {error}", file=sys.stderr)
        return 1


def become_owner() -> None:
    """Root gives up its rights: the state, the key and the log belong to the schedule's user."""
    owner = STATE_DIR.stat().st_uid
    if os.geteuid() == 0:
        user = pwd.getpwuid(owner)
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(owner)
    elif os.geteuid() != owner:
        raise PermissionError(f"run it as root or as {pwd.getpwuid(owner).pw_name}")


def reconcile(limit_s: int) -> int:
    """Run the playbook unless it is running already, and record how it went."""
    # Who can open it can lock it, and an older version let everyone read it.
    LOCK.touch(0o600)
    LOCK.chmod(0o600)
    with LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            begun = read_state().get("last_start")
            complaint = f"the run of {begun} is still going, so this one was not started"
            log(complaint)
            print(f"selvage-reconcile: {complaint}", file=sys.stderr)
            return 1
        state = read_state() | {"last_start": now()}
        write_state(state)
        code, output = run(limit_s)
        reason = reason_of_failure(code, output, limit_s)
        log(*output.splitlines(), *([f"failed: {reason}"] if reason else []))
        print(output, end="")
        state |= {"last_end": now(), "exit_code": code, "reason": reason}
        if reason:
            state["consecutive_failures"] = state.get("consecutive_failures", 0) + 1
            tell(syslog.LOG_ERR, f"reconciling failed: {reason}")
            print(f"selvage-reconcile: {reason}", file=sys.stderr)
        else:
            if state.get("consecutive_failures"):
                tell(syslog.LOG_NOTICE, "reconciling works again")
            state |= {"last_success": state["last_end"], "consecutive_failures": 0}
        write_state(state)
        return 1 if reason else 0


def run(limit_s: int) -> tuple[int, str]:
    """The exit code and everything that was printed; a negative code when the time was up."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(STATE_DIR),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(LIB / "ansible.cfg"),
    }
    process = subprocess.Popen(
        COMMAND,
        cwd=LIB,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        return -1, output
    return process.returncode, output


def reason_of_failure(code: int, output: str, limit_s: int) -> str | None:
    """One line, or None after a success."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    trouble = sorted(line for line in lines if TROUBLE.fullmatch(line))
    if trouble:
        reason = trouble[0]
        if len(trouble) > 1:
            reason = f"{reason[:REASON_CHARACTERS]} (and {len(trouble) - 1} more)"
    elif code == -1:
        return f"ended after {limit_s} s, its time limit"
    elif code != 0:
        reason = lines[-1] if lines else f"ansible-playbook ended with {code}"
    elif not any(map(SUMMARY.fullmatch, lines)):
        return "no node was reconciled: run site.yml for the nodes and this controller"
    else:
        return None
    return reason[: REASON_CHARACTERS + 20]


def status(max_age_min: int) -> int:
    """Print the state; 0 when the last success is recent enough, for monitoring."""
    state = read_state()
    success = state.get("last_success")
    age_min = (
        (datetime.now(UTC) - datetime.fromisoformat(success)).total_seconds() / 60
        if success
        else float("inf")
    )
    fresh = age_min <= max_age_min
    print(f"{'fresh' if fresh else 'stale'}: last success {success or 'never'}")
    for name in ("last_start", "last_end", "exit_code", "consecutive_failures", "reason"):
        if state.get(name) is not None:
            print(f"{name}: {state[name]}")
    return 0 if fresh else 1


def read_state() -> dict[str, Any]:
    """The state file's content; nothing before the first run, or when a crash spoilt the file."""
    try:
        return dict(json.loads(STATE.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def write_state(state: dict[str, Any]) -> None:
    """Replace the state file."""
    unfinished = STATE.with_suffix(".new")
    unfinished.write_text(json.dumps(state, indent=2) + "\n")
    unfinished.replace(STATE)


def log(*lines: str) -> None:
    """Append lines to the log, each with the time."""
    with LOG.open("a") as file:
        file.writelines(f"{now()} {line}\n" for line in lines)


def tell(priority: int, message: str) -> None:
    """One line for the journal."""
    syslog.openlog("selvage-reconcile")
    syslog.syslog(priority, message)


def now() -> str:
    """The time in UTC, such as 2026-11-20T19:00:01+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
