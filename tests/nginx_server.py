"""Nginx on loopback, with what role nginx renders."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from nginx_files import ROLE, rendered
from programs import ROOT, Program, free_port, get, wait_for

# Extracted, not installed: nothing starts it but these tests (Makefile, build/.packages).
BINARY = ROLE.parents[1] / "build" / "nginx" / "usr" / "sbin" / "nginx"


class Nginx(Program):
    """A master with its workers; `release` names the configuration that it serves."""

    def __init__(self, sites: list[dict[str, Any]], **variables: Any) -> None:
        super().__init__("nginx")
        self.http, self.https, self.status = free_port(), free_port(), free_port()
        self.variables = variables
        self.release = 0
        self.folder.chmod(0o755)
        (self.folder / "logs").mkdir()
        self.configure(sites)

    def write(self, name: str, content: str | bytes) -> None:
        """A file that a site names as /FOLDER/name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def configure(self, sites: list[dict[str, Any]]) -> None:
        """Write the files, in place of former ones."""
        self.release += 1
        sites = json.loads(json.dumps(sites).replace("/FOLDER", str(self.folder)))
        conf = self.folder / "conf"
        (conf / "sites").mkdir(parents=True, exist_ok=True)
        files = rendered(
            {
                "nginx_sites": sites,
                "nginx_listen": ["127.0.0.1"],
                "nginx_status_port": self.status,
                "nginx_worker_processes": 2,
                "__nginx_log_dir": self.folder / "logs",
                "__nginx_cache_dir": self.folder / "cache",
                "__nginx_ticket_dir": self.folder,
                "__nginx_pid": self.folder / "pid",
                "__nginx_http_port": self.http,
                "__nginx_https_port": self.https,
                "__nginx_mime_types": f"{'' if ROOT else BINARY.parents[2]}/etc/nginx/mime.types",
                "__nginx_http2_on": bool(ROOT),
                "__nginx_groups": ["X25519MLKEM768"] * bool(ROOT) + ["X25519", "prime256v1"],
                **self.variables,
            }
        )
        for old in (conf / "sites").iterdir():
            old.unlink()
        # Where Debian's package has them, only root may write, and nothing is installed here.
        temporary = "".join(
            f"    {kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        files["nginx.conf"] = files["nginx.conf"].replace("http {\n", f"http {{\n{temporary}")
        for name, text in files.items():
            (conf / name).write_text(text)
        self._name_release()

    def command(self, *words: str) -> list[str]:
        """Nginx with this configuration; its temporary files are in this folder."""
        settings = "daemon off;"
        program = [
            *(str(self.folder / "nginx"),),
            *words,
            "-c",
            str(self.folder / "conf/nginx.conf"),
        ]
        return [*program, "-p", str(self.folder), "-g", settings]

    def start(self) -> None:
        wrapper = self.folder / "nginx"
        if ROOT:
            inside = f"{ROOT}{self.folder}"
            accounts = " && ".join(
                f"mount --bind /etc/{name} {ROOT}/etc/{name}" for name in ("passwd", "group")
            )
            wrapper.write_text(
                f"#!/bin/sh\nmkdir -p {inside}\ntouch {ROOT}/etc/passwd {ROOT}/etc/group\n"
                f"exec unshare -m sh -c 'mount --bind {self.folder} {inside} && {accounts} &&"
                f' exec chroot {ROOT} /usr/sbin/nginx "$@"\' nginx "$@"\n'
            )
        else:
            wrapper.write_text(f'#!/bin/sh\nexec {BINARY} "$@"\n')
        wrapper.chmod(0o755)
        told = self.tell("-t")
        assert told.returncode == 0, told.stderr
        self.run(*self.command())
        wait_for(lambda: self.runs() == self.release)

    def tell(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What Nginx says, beside the one that runs."""
        command = self.command(*words)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def reload(self) -> None:
        """As systemd does it; new connections meet the new configuration then."""
        self.send(signal.SIGHUP)
        wait_for(lambda: self.runs() == self.release)

    def renew(self) -> None:
        """Reload the same configuration under another name."""
        self.release += 1
        self._name_release()
        self.reload()

    def _name_release(self) -> None:
        (self.folder / "conf/sites/_release").write_text(f'return 200 "{self.release}\\n";\n')

    def runs(self) -> int:
        """The release that new connections meet."""
        answer = get(self.status, "/release")
        return int(answer) if answer.strip().isdigit() else 0

    def close(self) -> None:
        super().close()
        if ROOT:
            Path(f"{ROOT}{self.folder}").rmdir()
