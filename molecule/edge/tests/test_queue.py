"""Jobs of the demonstration service: accepted at once on any host, done later by any worker."""

import json
import re

import pytest

import secrecy
from drills import FAILURES, connected
from labs import SSH_CONFIG, playbook, shell, wait_for

HOSTS = ("app1", "app2", "app3")
INVENTORY = ["molecule/edge/inventory"]
PLAY = ("--extra-vars", "demo_jobs_version=of-this-test")
# Read by nobody but their programs.
KEPT = {"redis_jobs": ["/etc/demo-inventory.broker", "/etc/selvage-celery/demo.json"]}
BEAT = 'beat{application="demo"}'
METRICS = "/var/lib/selvage-celery/demo/metrics.prom"


def ask(host, path, *options):
    """Status and document of the host's own instance."""
    words = " ".join(options)
    said = shell(host, f"curl -s -m 10 -w '\\n%{{http_code}}' {words} 127.0.0.1:8080{path}")
    body, _, status = said.rpartition("\n")
    return int(status), json.loads(body)


def accepted(host, key, order='{"steps": 2, "seconds": 0.1}'):
    """A job's place; refused ones are sent again, with the same key."""
    found = []

    def taken():
        options = ("-X POST", f"-H 'Idempotency-Key: {key}'", f"-d '{order}'")
        status, document = ask(host, "/jobs", *options)
        assert status in (202, 503), document
        found.append(document.get("look"))
        return status == 202

    wait_for(taken, f"{key} is accepted")
    return found[-1]


def runs_of(places):
    """How often each was done, once all are."""

    def done():
        states = [ask("app1", place)[1] for place in places]
        return all(one["state"] == "done" for one in states) and [one["runs"] for one in states]

    return wait_for(done, "all jobs are done")


def value(host, metric):
    """Of the last look there; none if there is none."""
    text = shell(host, f"cat {METRICS}")
    found = re.search(rf"^selvage_celery_{re.escape(metric)} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def supervisors():
    return [shell(host, "systemctl show -p MainPID --value supervisor") for host in HOSTS]


def test_a_job_is_accepted_at_once_and_done_later():
    places = [accepted(host, f"first-{host}") for host in HOSTS]
    assert runs_of(places) == [1, 1, 1]
    assert accepted("app2", "first-app1") == places[0]


def test_a_deployment_replaces_workers_one_by_one_and_loses_no_job():
    before = supervisors()
    checked = playbook(INVENTORY, "celery.yml", *PLAY, "--check")
    assert checked.rc == 0, checked.output
    assert "Would replace, one after the other: demo-1, demo-2, demo-beat" in checked.output
    places = [accepted(host, f"deploy-{host}-{n}") for n in range(4) for host in HOSTS]
    done = playbook(INVENTORY, "celery.yml", *PLAY)
    assert done.rc == 0, done.output
    assert sorted(done.changed) == [*HOSTS]
    again = playbook(INVENTORY, "celery.yml", *PLAY)
    assert (again.rc, again.changed) == (0, []), again.output
    print(f"jobs during a deployment: {len(places)}, done {sum(runs_of(places))} times")
    assert supervisors() == before


def test_one_host_has_the_beat():
    wait_for(lambda: sum(value(host, BEAT) or 0 for host in HOSTS) == 1, "one beat")


def is_primary(host):
    """As health checks ask."""
    redis = f"redis-cli --tls --cacert /etc/selvage/tls/ca.pem -h {connected(host).address}"
    return "master" in connected(host)(f"{redis} || true", "AUTH check none\nROLE\n").split()


def test_jobs_are_done_although_the_primary_was_killed_and_a_worker_with_it():
    former = wait_for(lambda: [host for host in HOSTS if is_primary(host)], "a primary")[0]
    other = next(host for host in HOSTS if host != former)
    places = [accepted(other, f"failover-before-{n}") for n in range(10)]
    with FAILURES["killed"](connected(former), "redis-server"):
        shell(other, "kill -KILL $(supervisorctl pid demo-1)")
        places += [accepted(other, f"failover-meanwhile-{n}") for n in range(10)]
    runs = runs_of(places)
    print(f"jobs around a failover: {len(runs)}, done {sum(runs)} times")
    assert min(runs) >= 1
    # Whoever stopped to consume, as Debian 12's do after that, was restarted.
    for host in HOSTS:
        for worker in ("demo-1", "demo-2"):
            looked = f'worker_canary_age_seconds{{application="demo",worker="{worker}"}}'
            wait_for(lambda host=host, name=looked: (value(host, name) or 999) < 60, looked)


@pytest.mark.parametrize("name", HOSTS)
def test_settings_stay_with_their_owner(name):
    modes = shell(name, "stat -c '%a %U' /etc/selvage-celery/demo.json /etc/demo-inventory.broker")
    assert modes.split() == ["600", "demo-inventory", "640", "root"]
    mine = {"redis_jobs": secrecy.of_lab("edge")["redis_jobs"]}
    assert secrecy.leaks(secrecy.over_ssh(SSH_CONFIG, name), mine, KEPT) == []
