"""What role celery takes, and what it makes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))
from plugin_utils import celery  # noqa: E402

from selvage.fields import Invalid  # noqa: E402

ORDERS = {
    "name": "orders",
    "application": "orders.tasks",
    "directory": "/opt/orders",
    "user": "orders",
    "queues": ["orders", "mail"],
    "hard_seconds": 100,
    "environment": {"BROKER": "rediss://orders:secret-of-these-tests@127.0.0.1:6379/0"},
}


def one(**more):
    return [{**ORDERS, **more}]


def test_time_limits_follow_from_the_longest_task():
    (made,) = celery.applications(one(prefetch=4))
    assert made["soft_seconds"] == 90
    assert made["visibility_seconds"] == 430
    assert made["stop_seconds"] > made["hard_seconds"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"name": "Orders"}, "celery_applications[0].name: expected up to 32 of a-z"),
        ({"application": "orders tasks"}, "celery_applications[0].application: expected what"),
        ({"directory": "opt/orders"}, "celery_applications[0].directory: expected an absolute"),
        ({"user": "root"}, "celery_applications[0].user: a job is told what to do from afar"),
        ({"queues": []}, "celery_applications[0].queues: name one or more"),
        ({"queues": ["a,b"]}, "celery_applications[0].queues"),
        ({"visibility_seconds": 129}, "celery_applications[0].visibility_seconds: is 129, but"),
        ({"soft_seconds": 100}, "celery_applications[0].soft_seconds: expected a whole number"),
        ({"environment": {"A B": "x"}}, "celery_applications[0].environment: 'A B' is no"),
        (
            {"environment": {"A": "secret\n;x"}},
            "celery_applications[0].environment.A: expected one",
        ),
        ({"environment": {"A": 5}}, "celery_applications[0].environment.A: expected one line"),
        ({"version": "1;2"}, "celery_applications[0].version: expected a version"),
        ({"worker": 2}, "celery_applications[0].worker: "),
        ({"beat": "yes"}, "celery_applications[0].beat: expected true or false"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name_and_without_a_secret(more, line):
    with pytest.raises(Invalid) as caught:
        celery.applications(one(**more))
    assert str(caught.value).startswith(line)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_applications_have_two_names():
    with pytest.raises(Invalid, match="orders"):
        celery.applications([*one(), *one()])


def test_what_is_shown_has_no_secret_and_what_is_deployed_follows_from_it():
    (shown,) = celery.plan(one(workers=2, beat=True), ["zk1:2181"])
    assert "secret" not in repr(shown)
    assert shown["programs"] == ["orders-1", "orders-2", "orders-beat"]
    text = celery.texts(one(beat=True), ["zk1:2181"])["orders"]
    document = json.loads(text)
    assert document["environment"] == ORDERS["environment"]
    assert document["registry"] == "zk1:2181"
    deployed = {
        celery.plan(one(**more), [])[0]["deployed"]
        for more in ({}, {"version": "2"}, {"environment": {}}, {"concurrency": 2})
    }
    assert len(deployed) == 4
    assert celery.plan(one(), [])[0]["deployed"] in deployed


FILES = ROOT / "roles" / "celery" / "files"
sys.path.append(str(FILES))
from selvage_celery import judge, metrics, report, settings  # noqa: E402

LIMITS = judge.Limits(patience_s=60.0, busy_s=300.0, stop_s=330.0)


def said(**more):
    fields = {"pid": 7, "born": 70, "at": 1000.0, "ending": False, "active": 0, "full": 0.0}
    return report.Report(
        **{**fields, "canary": 0.0, "succeeded": 0, "failed": 0, "retried": 0, **more}
    )


def memory(**more):
    return judge.Memory(**{"pid": 7, "born": 70, **more})


@pytest.mark.parametrize(
    ("report_", "before", "act"),
    [
        # A new process, and one that has answered, are asked.
        (said(), judge.Memory(), "send"),
        (said(born=71), memory(asked=1.0), "send"),
        (said(canary=950.0), memory(asked=940.0), "send"),
        # An answer to a former canary is none.
        (said(canary=930.0), memory(asked=900.0, in_a_row=0), "send"),
        (said(canary=930.0), memory(asked=935.0), "term"),
        # It is given time, and the more the less the last restart has helped.
        (said(), memory(asked=950.0), ""),
        (said(), memory(asked=930.0), "term"),
        (said(), memory(asked=900.0, in_a_row=1), ""),
        (said(), memory(asked=870.0, in_a_row=1), "term"),
        # Who does as many tasks as it can is busy, until all of them must have ended.
        (said(full=1000.0), memory(asked=700.0), ""),
        (said(full=1000.0), memory(asked=630.0), "term"),
        # Between two tasks it looks free for a moment.
        (said(full=990.0), memory(asked=700.0), ""),
        (said(full=930.0), memory(asked=700.0), "term"),
        # Who says nothing hangs, however busy it was.
        (said(full=930.0, at=930.0), memory(asked=930.0), "term"),
        # Who is told to end has as long as its tasks.
        (said(ending=True), memory(asked=1.0), ""),
        (said(), memory(asked=1.0, told=700.0), ""),
        (said(), memory(asked=1.0, told=660.0), "kill"),
    ],
)
def test_who_has_stopped_to_consume(report_, before, act):
    assert judge.judge(1000.0, report_, before, LIMITS).act == act


def test_a_broker_that_is_away_is_no_workers_fault():
    after = judge.away(memory(asked=1.0, restarts=3))
    assert (after.asked, after.restarts) == (0.0, 3)
    assert judge.judge(1000.0, said(), after, LIMITS).act == "send"


def test_who_was_ended_is_counted_and_asked_anew():
    ended = judge.judge(1000.0, said(), memory(asked=900.0), LIMITS)
    assert ended.memory.restarts == 1
    again = judge.judge(1001.0, said(born=71), ended.memory, LIMITS)
    assert (again.act, again.memory.restarts, again.memory.in_a_row) == ("send", 1, 1)
    fine = judge.judge(1050.0, said(born=71, canary=1002.0), again.memory, LIMITS)
    assert fine.memory.in_a_row == 0


def test_metrics_of_a_host(tmp_path):
    path = tmp_path / "orders.json"
    path.write_text(celery.texts(one(workers=2, beat=True), ["zk1:2181"])["orders"])
    mine = settings.read(path)
    text = metrics.text(
        mine, {"orders-1": said(canary=1.0, failed=2)}, {}, {"mail": (3, 1.5)}, True, False
    )
    for line in (
        'selvage_celery_queue_length{application="orders",queue="mail"} 3',
        'selvage_celery_oldest_job_age_seconds{application="orders",queue="mail"} 1.5',
        'selvage_celery_worker_up{application="orders",worker="orders-1"} 1',
        'selvage_celery_worker_up{application="orders",worker="orders-2"} 0',
        'selvage_celery_tasks_total{application="orders",worker="orders-1",outcome="failed"} 2',
        'selvage_celery_beat{application="orders"} 0',
    ):
        assert f"{line}\n" in text
