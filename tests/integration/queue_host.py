"""A host with a queue, on loopback: Redis behind the sidecar, Supervisor, Celery's workers.

Supervisor's files are the role's, and so are the programs that it runs.
"""

from __future__ import annotations

import getpass
import http.client
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import jinja2
from redis_members import Cluster, role_users

from programs import Program, free_port, wait_for
from selvage.redis import users

REPOSITORY = Path(__file__).parents[2]
sys.path.append(str(REPOSITORY))
from plugin_utils import celery  # noqa: E402

FILES = REPOSITORY / "roles" / "celery" / "files"
DEMO = REPOSITORY / "roles" / "demo_service" / "files"
PYTHON = "/usr/bin/python3"
# Extracted by the Makefile: installed, it would start.
SUPERVISOR = REPOSITORY / "build" / "supervisor" / "usr" / "lib" / "python3" / "dist-packages"
PASSWORD = "jobs-of-these-tests"
# As docs/operations.md has it for an application's own user.
RULES = (
    *("~demo:*", "resetchannels", "&demo:*", "&demo:/0.celery.pidbox", "-@all", "+@read"),
    *("+@write", "+@connection", "+@pubsub", "+@transaction", "+@scripting", "+@blocking"),
    "-@dangerous",
)


class Broker:
    """Redis's members with a user for the jobs, at one port of the sidecar."""

    def __init__(self, fabric) -> None:
        self.cluster = Cluster()
        accounts = [
            *role_users("__redis_server_users"),
            users.User("jobs", (users.hashed(PASSWORD),), RULES),
        ]
        for server in self.cluster.servers.values():
            server.settings |= {"min-replicas-to-write": "1", "min-replicas-max-lag": "10"}
            server.write(accounts)
        self.cluster.start()
        ca = fabric.haproxy.folder / "ca.pem"
        ca.write_bytes(self.cluster.authority.ca.read_bytes())
        check = {"type": "redis", "role": "primary", "user": "check", "ca": str(ca)}
        check |= {"interval": "1s", "timeout": "5s", "rise": 1, "fall": 2}
        self.port = fabric.service("redis-primary", mode="tcp", check=check, drain="0s")
        for member in self.cluster.members:
            fabric.register(
                f"{member.address}:{self.cluster.ports.server}", service="redis-primary"
            )
        fabric.reconcile()
        self.url = (
            f"rediss://jobs:{quote(PASSWORD)}@127.0.0.1:{self.port}/0"
            f"?ssl_cert_reqs=required&ssl_ca_certs={self.cluster.authority.ca}"
        )

        self.access = replace(self.cluster.access, user="jobs", passwords=(PASSWORD,))

    def close(self) -> None:
        self.cluster.close()


class Service(Program):
    """The demonstration service with its jobs."""

    def __init__(self, broker: Broker, **environment: str) -> None:
        super().__init__("jobs")
        self.port = free_port()
        self.environment = {"DEMO_BROKER": broker.url, **environment}

    def start(self) -> None:
        (self.folder / "broker").write_text(self.environment.pop("DEMO_BROKER"))
        words = ("--address", "127.0.0.1", "--port", str(self.port), "--version", "1")
        self.run(
            *("env", *(f"{name}={value}" for name, value in self.environment.items())),
            *(PYTHON, "-B", str(DEMO / "inventory.py"), *words, "--jobs", "broker"),
        )
        wait_for(self.serves)

    def serves(self) -> bool:
        try:
            return self.ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, order=None, **headers: str):
        """Status, headers, and the document."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            body = None if order is None else json.dumps(order)
            link.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = link.getresponse()
            return answer.status, dict(answer.getheaders()), json.loads(answer.read())
        finally:
            link.close()


class Host(Program):
    """Supervisor with what the role has it run for one application."""

    def __init__(self, broker: Broker, registry: list[str] | None = None, **given) -> None:
        super().__init__("supervisor")
        environment = given.pop("environment", {})
        application = {
            **{"name": "demo", "application": "demo_jobs", "directory": str(DEMO)},
            **{"user": "demo", "queues": ["demo"], "hard_seconds": 20},
            "environment": {"DEMO_BROKER": broker.url, **environment},
            **given,
        }
        self.settings = self.folder / "demo.json"
        (self.plan,) = celery.plan([application], registry or [])
        document = json.loads(celery.texts([application], registry or [])[application["name"]])
        document["state"] = str(self.folder / "state")
        (self.folder / "state").mkdir()
        self.settings.write_text(json.dumps(document))
        self.state = self.folder / "state"
        self.workers: list[str] = self.plan["workers"]
        self.deploy(self.plan["deployed"])

    def deploy(self, deployed: str) -> None:
        """Write Supervisor's file anew."""
        loader = jinja2.FileSystemLoader(REPOSITORY / "roles" / "celery" / "templates")
        template = jinja2.Environment(loader=loader, trim_blocks=True).get_template(
            "programs.conf.j2"
        )
        mine = {"file": str(self.settings), "user": getpass.getuser(), "deployed": deployed}
        programs = template.render(
            item=self.plan | mine,
            __celery_program=str(FILES),
            __celery_log_dir=str(self.folder),
            ansible_managed="of these tests",
        )
        (self.folder / "supervisord.conf").write_text(
            f"[unix_http_server]\nfile={self.folder}/sock\n"
            f"[supervisord]\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/pid\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory ="
            " supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self.folder}/sock\n{programs}"
        )

    def start(self) -> None:
        self.run(*self._command("supervisord"), "--nodaemon")
        wait_for(lambda: (self.folder / "sock").exists())

    def _command(self, program: str) -> list[str]:
        environment = f"PYTHONPATH={SUPERVISOR}"
        conf = str(self.folder / "supervisord.conf")
        return [
            "env",
            environment,
            "PYTHONDONTWRITEBYTECODE=1",
            PYTHON,
            "-m",
            f"supervisor.{program}",
            "-c",
            conf,
        ]

    def control(self, *words: str) -> str:
        """Supervisor's answer."""
        done = subprocess.run(
            [*self._command("supervisorctl"), *words], capture_output=True, text=True, timeout=300
        )
        return done.stdout

    def program(self, *words: str, python: str = PYTHON) -> subprocess.CompletedProcess[str]:
        """One of the role's own, as its units run it."""
        command = [python, "-B", str(FILES), "--settings", str(self.settings), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    def pid(self, program: str) -> int:
        """Of Supervisor's own child; 0 for none."""
        found = re.search(r"pid (\d+)", self.control("status", program))
        return int(found[1]) if found else 0

    def consume(self) -> None:
        """Return when all workers do."""
        for worker in self.workers:
            done = self.program("consumes", worker, "--limit", "120")
            assert done.returncode == 0, done.stdout + done.stderr + self.log(worker)

    def log(self, program: str) -> str:
        return (self.folder / f"{program}.log").read_text()

    def metric(self, name: str) -> float:
        """Of the last look."""
        text = (self.state / "metrics.prom").read_text()
        found = re.search(rf"^selvage_celery_{re.escape(name)} (\S+)$", text, re.M)
        assert found, text
        return float(found[1])

    def close(self) -> None:
        if self.process is not None:
            self.control("shutdown")
            self.process.wait(120)
            self.process = None
        super().close()


class Beat(Program):
    """What Supervisor would run, on a host of its own, without a broker."""

    def __init__(self, registry: list[str]) -> None:
        super().__init__("beat")
        environment = {"DEMO_BROKER": "memory://", "DEMO_SWEEP_SECONDS": "1"}
        application = {
            **{"name": "demo", "application": "demo_jobs", "directory": str(DEMO), "user": "demo"},
            **{"queues": ["demo"], "beat": True, "environment": environment},
        }
        document = json.loads(celery.texts([application], registry)["demo"])
        self.settings = self.folder / "demo.json"
        self.settings.write_text(json.dumps({**document, "state": str(self.folder)}))

    def run_beat(self) -> None:
        self.run(PYTHON, "-B", str(FILES), "--settings", str(self.settings), "beat")

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def child(self) -> str:
        """The process that sends."""
        return Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0]
