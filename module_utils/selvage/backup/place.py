"""A restore's work in a service's folder, as the service's user; Ansible stops and starts it.

    python3 -m selvage.backup.place zookeeper-prepare --archive FILE --data FOLDER --heap 512m
    python3 -m selvage.backup.place zookeeper-epoch --data FOLDER
    python3 -m selvage.backup.place zookeeper-swap --data FOLDER --log FOLDER --epoch 7 --fill
    python3 -m selvage.backup.place redis --archive FILE --data FOLDER
    python3 -m selvage.backup.place finish FOLDER…

What was there stays beside it, as `….before-restore`, until the next restore.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..formats.grammar import shown
from ..system.tcp import connect

_FILE: Final = re.compile(r"(snapshot|log)\.[0-9a-f]{1,16}")
_VERSION: Final = "version-2"
_EPOCHS: Final = ("acceptedEpoch", "currentEpoch")
# ZooKeeper's own, so that loading is what a member would do.
_JAVA: Final = (
    *("-XX:+ExitOnOutOfMemoryError", "-Djute.maxbuffer=262144"),
    "-Dzookeeper.jute.maxbuffer.extrasize=67108864",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    *("-cp", "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"),
    "org.apache.zookeeper.server.ZooKeeperServerMain",
)
_POLL_S: Final = 0.2
# In what was put aside: the restore came to its end.
_FINISHED: Final = "restored"


class RefusedError(Exception):
    """The backup is none of this service; the message is one line for the operator."""


def zookeeper_prepare(archive: Path, data: Path, heap: str, wait_s: float) -> str:
    """Let a ZooKeeper of its own load the backup and end its sessions; returns what is left.

    It listens on loopback, so the caller gives it a network of its own. With the sessions go the
    registrations: those of the day of the backup must not come back. Raises `RefusedError`.
    """
    work = data / "restore"
    shutil.rmtree(work, ignore_errors=True)
    (work / _VERSION).mkdir(parents=True)
    _extract(archive, work / _VERSION)
    config = work / "zoo.cfg"
    config.write_text(
        f"dataDir={work}\nclientPort=2181\nclientPortAddress=127.0.0.1\ntickTime=2000\n"
        "admin.enableServer=false\n4lw.commands.whitelist=mntr\nsnapshot.trust.empty=false\n"
    )
    with (work / "said").open("w+b") as said:
        process = subprocess.Popen(
            ["/usr/bin/java", f"-Xmx{heap}", *_JAVA, str(config)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            told = _until_no_sessions(process, time.monotonic() + wait_s)
        except RefusedError as error:
            said.seek(max(said.seek(0, os.SEEK_END) - 600, 0))
            words = shown(said.read().decode(errors="replace"))
            raise RefusedError(f"{error}: {words}") from None
        finally:
            process.terminate()
            process.wait()
    return f"{told.get('zk_znode_count', '?')} znodes"


def _extract(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive, "r:") as tar:
            for entry in tar:
                source = tar.extractfile(entry) if entry.isfile() else None
                if source is None or _FILE.fullmatch(entry.name) is None:
                    raise RefusedError(f"{entry.name!r:.80} is no file of ZooKeeper's")
                with (folder / entry.name).open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except tarfile.TarError as error:
        raise RefusedError(f"the backup is no archive of ZooKeeper's files: {error}") from None
    if not any(path.name.startswith("snapshot.") for path in folder.iterdir()):
        raise RefusedError("the backup has no snapshot")


def _until_no_sessions(process: subprocess.Popen[bytes], deadline: float) -> dict[str, str]:
    """What the server says when it has loaded all and no session is left."""
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RefusedError("ZooKeeper does not load the backup")
        told = _mntr()
        if told.get("zk_ephemerals_count") == "0" and told.get("zk_global_sessions", "0") == "0":
            return told
        time.sleep(_POLL_S)
    raise RefusedError("the sessions of the backup did not end in time")


def _mntr() -> dict[str, str]:
    answer = b""
    with suppress(OSError), connect("127.0.0.1", 2181, 5) as link:
        link.sendall(b"mntr")
        while piece := link.recv(65_536):
            answer += piece
    pairs = (line.partition("\t") for line in answer.decode(errors="replace").splitlines())
    return {name: value for name, tab, value in pairs if tab}


def zookeeper_epoch(data: Path) -> str:
    """The latest epoch that a member knows of; 0 where it has no data. Raises `RefusedError`."""
    latest = 0
    for name in _EPOCHS:
        path = data / _VERSION / name
        try:
            latest = max(latest, int(path.read_text()))
        except FileNotFoundError:
            continue
        except ValueError:
            raise RefusedError(f"{path}: is damaged, it has no number: remove it") from None
    return str(latest)


def zookeeper_swap(data: Path, log: Path, epoch: int, *, fill: bool, vote: bool) -> None:
    """Put what was prepared in the place of the data, or nothing.

    The epoch is later than any that a client has seen, so that transactions count on upwards. With
    `vote` a member that has no data may elect one that has.
    """
    for folder in {data, log}:
        _put_aside(folder / _VERSION)
    if vote:
        (log / "initialize").touch()
    if not fill:
        return
    work = data / "restore"
    for folder in (data, log):
        (folder / _VERSION).mkdir(mode=0o750, exist_ok=True)
    for name in _EPOCHS:
        (data / _VERSION / name).write_text(f"{epoch}")
    for path in sorted((work / _VERSION).iterdir()):
        if _FILE.fullmatch(path.name):
            folder = data if path.name.startswith("snapshot.") else log
            # The log may have a disk of its own.
            shutil.move(path, folder / _VERSION / path.name)
    shutil.rmtree(work)


def redis(archive: Path, data: Path) -> None:
    """Make the backup the base of the log, which is all that Redis reads when it starts."""
    work = data / "restore"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    base = "appendonly.aof.1.base.rdb"
    shutil.copyfile(archive, work / base)
    (work / "appendonly.aof.manifest").write_text(f"file {base} seq 1 type b\n")
    log = data / "appendonlydir"
    _put_aside(log)
    work.rename(log)


def _put_aside(path: Path) -> None:
    """Keep what is there, once: of an interrupted restore it is the first one's that counts."""
    aside, old = _aside(path), path.with_name(f"{path.name}.former-restore")
    if (aside / _FINISHED).exists():
        shutil.rmtree(old, ignore_errors=True)
        # In one step: half deleted it would look like that of an interrupted restore.
        aside.rename(old)
    shutil.rmtree(old, ignore_errors=True)
    if aside.exists():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.rename(aside)


def finish(paths: Sequence[Path]) -> None:
    """The restore is over: the next one may throw away what this one put aside."""
    for path in paths:
        if _aside(path).exists():
            (_aside(path) / _FINISHED).touch()


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-restore")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one step; 1 with a line on stderr when that cannot be."""
    parser = argparse.ArgumentParser(prog="place")
    steps = parser.add_subparsers(required=True)
    one = steps.add_parser("zookeeper-prepare")
    one.add_argument("--archive", type=Path, required=True)
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--heap", required=True)
    one.add_argument("--wait", type=float, default=600)
    one.set_defaults(do=lambda o: zookeeper_prepare(o.archive, o.data, o.heap, o.wait))
    one = steps.add_parser("zookeeper-epoch")
    one.add_argument("--data", type=Path, required=True)
    one.set_defaults(do=lambda o: zookeeper_epoch(o.data))
    one = steps.add_parser("zookeeper-swap")
    one.add_argument("--data", type=Path, required=True)
    one.add_argument("--log", type=Path, required=True)
    one.add_argument("--epoch", type=int, required=True)
    one.add_argument("--fill", action="store_true")
    one.add_argument("--vote", action="store_true")
    one.set_defaults(do=lambda o: zookeeper_swap(o.data, o.log, o.epoch, fill=o.fill, vote=o.vote))
    one = steps.add_parser("redis")
    one.add_argument("--archive", type=Path, required=True)
    one.add_argument("--data", type=Path, required=True)
    one.set_defaults(do=lambda o: redis(o.archive, o.data))
    one = steps.add_parser("finish")
    one.add_argument("paths", type=Path, nargs="+")
    one.set_defaults(do=lambda o: finish(o.paths))
    return serve(parser.parse_args(arguments))


def serve(options: argparse.Namespace) -> int:
    """Do what was asked for; 1 with a line on stderr when that cannot be."""
    os.umask(0o027)
    try:
        print(options.do(options) or "done")
    except (RefusedError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
