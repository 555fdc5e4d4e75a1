"""Whether secrets stay where they belong: for tests of labs, over ssh.

`leaks` reads every file, the journal, and every process's command line and environment of a host,
for each of the secrets, as they are, in base64, and in what is compressed. The secrets themselves
travel on standard input: the search leaves no trace that it could find. In a scenario's tests:

    assert secrecy.leaks(secrecy.over_ssh(SSH_CONFIG, "app1"), secrecy.of_lab("molecule")) == []
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Runs on the host: line one of its input is this program, line two its task.
SEARCH = r'''
import base64, gzip, json, lzma, os, re, select, stat, subprocess, sys

task = json.loads(sys.stdin.readline())
forms = {}
for name, secret in task["secrets"].items():
    raw = secret.encode()
    forms[raw] = name
    # Wherever it begins within a longer text; its ends depend on what stands around.
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        forms[text[4 if before else 0:-1]] = name
pattern = re.compile(b"|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
longest = max(map(len, forms))
found = set()
OPENERS = {"gz": gzip.open, "xz": lzma.open}


def search(stream):
    """The names of the secrets in a stream, which may be larger than the memory."""
    names, end = set(), b""
    while part := stream.read(1 << 20):
        names |= {forms[match] for match in pattern.findall(end + part)}
        end = (end + part)[-longest:]
    return names


def look(place):
    """A file; what is compressed is looked into."""
    with open(place, "rb") as stream:
        yield from search(stream)
    opener = OPENERS.get(place.rpartition(".")[2])
    if opener is not None:
        with opener(place) as stream:
            yield from search(stream)


def regular():
    for folder, folders, names in os.walk(task["root"]):
        if folder == "/":
            folders[:] = [name for name in folders if name not in ("proc", "sys")]
        for name in names:
            place = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(place).st_mode):
                    yield place
            except FileNotFoundError:
                pass  # it went away


def worth_a_look():
    """What grep finds something in, many times faster than Python, and what is compressed."""
    places = [*regular()]
    yield from (place for place in places if place.endswith(tuple(f".{kind}" for kind in OPENERS)))
    environment = {"LC_ALL": "C", "PATH": os.environ["PATH"]}
    for begin in range(0, len(places), 1_000):
        done = subprocess.run(
            ["grep", "-lZF", "--text", "--file=-", "--", *places[begin : begin + 1_000]],
            input=b"\n".join(forms),
            capture_output=True,
            env=environment,
        )
        yield from map(os.fsdecode, done.stdout.split(b"\0")[:-1])
        # What it could not read, but for what went away.
        others = [line for line in done.stderr.splitlines() if b"No such file" not in line]
        assert not others, others


def files():
    for place in {*worth_a_look()}:
        try:
            for secret in look(place):
                if place not in task["kept"].get(secret, ()):
                    found.add((secret, place, ""))
                elif os.lstat(place).st_mode & 0o007:
                    found.add((secret, place, "which others may use"))
        except (EOFError, FileNotFoundError, lzma.LZMAError, gzip.BadGzipFile):
            pass  # it went away, or is not what its name says


def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for part in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{part}", "rb") as stream:
                    for secret in search(stream):
                        with open(f"/proc/{pid}/comm") as comm:
                            found.add((secret, f"{part} of {comm.read().strip()}", ""))
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended
            except PermissionError:
                if task["whole"]:
                    raise


def journal():
    with subprocess.Popen(
        ["journalctl", "--output=export", "--all", "--no-pager"], stdout=subprocess.PIPE
    ) as process:
        found.update((secret, "the journal", "") for secret in search(process.stdout))
    assert process.returncode == 0, "journalctl failed"


if task["watch"]:
    print("watching", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        processes()
    processes()
else:
    files()
    processes()
    if task["whole"]:
        journal()
print(json.dumps(sorted(found)))
'''
START = "import json, sys; exec(json.loads(sys.stdin.readline()))"
Secrets = Mapping[str, str]
Command = Sequence[str]


def of_lab(name: str, labs: Path = Path("/var/lib/selvage-lab")) -> dict[str, str]:
    """The secrets that a lab made for itself, by name; nobody else may read them."""
    folder = labs / name / "secrets"
    for path in (folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, f"others may use {path}"
    return {path.name: path.read_text() for path in folder.iterdir()}


def over_ssh(config: str, host: str) -> Command:
    """What starts the search on a lab's host."""
    return ["ssh", "-F", config, host, f"python3 -c '{START}'"]


def leaks(
    command: Command,
    secrets: Secrets,
    kept: Mapping[str, Collection[str]] | None = None,
    root: str = "/",
    whole: bool = True,
) -> list[str]:
    """Where a host has secrets that it should not have, one line each.

    `kept` are the files that may have one, by secret; nobody but owner and group may use these.
    A `whole` host has a journal too, and root reads everything there.
    """
    task = _task(secrets, kept or {}, root, whole)
    done = subprocess.run(command, input=task, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return _lines(done.stdout)


@contextmanager
def watched(command: Command, secrets: Secrets) -> Iterator[list[str]]:
    """Looks at the processes again and again; the list is filled at the end.

    It sees what lasts some milliseconds, so a find is a leak, and no find is no proof.
    """
    found: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(_task(secrets, {}, "/", False, watch=True))
        process.stdin.flush()
        assert process.stdout.readline() == "watching\n"
        yield found
        found += _lines(process.communicate()[0])


def _task(
    secrets: Secrets,
    kept: Mapping[str, Collection[str]],
    root: str,
    whole: bool,
    watch: bool = False,
) -> str:
    assert secrets and all(len(secret) >= 8 for secret in secrets.values()), "nothing to look for"
    task = {
        "secrets": dict(secrets),
        "kept": {name: [*places] for name, places in kept.items()},
        "root": root,
        "whole": whole,
        "watch": watch,
    }
    return f"{json.dumps(SEARCH)}\n{json.dumps(task)}\n"


def _lines(answer: str) -> list[str]:
    return [
        f"{name} is in {place}{f', {why}' if why else ''}"
        for name, place, why in json.loads(answer)
    ]
