"""The metrics' text, and its file."""

from __future__ import annotations

import os
import re

import pytest

from selvage.formats.registrations import Refusal
from selvage.haproxy.servers import BreakerState
from selvage.reconciler.metrics import Snapshot, render, write
from selvage.reconciler.result import ServiceResult

LINE = re.compile(
    r'# (HELP|TYPE) selvage_\w+ .+|selvage_\w+(\{(\w+="(\\.|[^"\\])*",?)+\})? [0-9.]+'
)
BAD = Refusal("bad", "is bad")


def rendered(services=(), counters=None, **fields):
    values = {
        "read_at": 12.5, "passed_at": 13, "connected": True, "problems": 0, "overrides": 0,
        "breakers": {}, "at": 1_000,
    }  # fmt: skip
    snapshot = Snapshot(**{**values, **fields}, services=services, counters=counters or {})
    text = render(snapshot)
    assert text.endswith("\n")
    assert all(LINE.fullmatch(line) for line in text.splitlines()), text
    return text.splitlines()


def test_what_concerns_the_whole_node():
    lines = rendered(problems=2, overrides=3)
    assert lines[:3] == [
        "# HELP selvage_registry_read_timestamp_seconds"
        " When the registry was last known to be as it was read; 0 for never.",
        "# TYPE selvage_registry_read_timestamp_seconds gauge",
        "selvage_registry_read_timestamp_seconds 12.500",
    ]
    assert {
        "selvage_pass_timestamp_seconds 13.000",
        "selvage_registry_connected 1",
        "selvage_problems 2",
        "selvage_overrides 3",
    } <= set(lines)
    assert "selvage_registry_connected 0" in rendered(connected=False)


def test_each_service_has_its_samples():
    held = ServiceResult(
        "orders", kept=("a", "b"), added=("c",), held="why", refused=(BAD, BAD),
        out_of_service=(BAD,), held_out=(BAD,),
    )  # fmt: skip
    lines = rendered([held, ServiceResult("inventory", changed=("a",))])
    assert [line for line in lines if 'service="' in line] == [
        'selvage_service_held{service="inventory"} 0',
        'selvage_service_held{service="orders"} 1',
        'selvage_service_refused{service="inventory"} 0',
        'selvage_service_refused{service="orders"} 2',
        'selvage_service_out_of_service{service="inventory"} 0',
        'selvage_service_out_of_service{service="orders"} 1',
        'selvage_service_held_out{service="inventory"} 0',
        'selvage_service_held_out{service="orders"} 1',
        'selvage_service_servers{service="inventory"} 1',
        'selvage_service_servers{service="orders"} 3',
    ]


def test_labels_are_escaped():
    lines = rendered([ServiceResult('a"b\\c\nd')])
    assert r'selvage_service_held{service="a\"b\\c\nd"} 0' in lines


def test_breakers_have_their_samples():
    late = BreakerState(True, False, 4, 3, "timeout")
    returning = BreakerState(True, True, 5, 1)
    closed = BreakerState(False, False, 6, 2)
    breakers = {"orders": {}, "inventory": {"b": late, "a": returning, "c": closed}}
    assert [line for line in rendered(breakers=breakers) if 'service="' in line] == [
        'selvage_service_breakers_open{service="inventory"} 2',
        'selvage_service_breakers_open{service="orders"} 0',
        'selvage_service_breaker_opened_total{service="inventory"} 6',
        'selvage_service_breaker_opened_total{service="orders"} 0',
        'selvage_breaker_open_since_timestamp_seconds{service="inventory",server="a",error=""} 995',
        "selvage_breaker_open_since_timestamp_seconds"
        '{service="inventory",server="b",error="timeout"} 996',
    ]


def test_counters_begin_at_zero_and_only_samples_are_taken():
    lines = rendered(
        counters={
            'selvage_steps_total{step="add"}': 5,
            'selvage_steps_total{step="new"}': 1,
            'selvage_steps_total{step="a"} 7\nevil 1': 1,
            "selvage_other_total": 1,
            "selvage_drift_total": 2,
        }
    )
    counters = lines[lines.index("# TYPE selvage_steps_total counter") :]
    assert 'selvage_steps_total{step="add"} 5' in counters
    assert 'selvage_steps_total{step="new"} 1' in counters
    assert 'selvage_steps_total{step="remove"} 0' in counters
    assert 'selvage_reloads_total{result="refused"} 0' in counters
    assert 'selvage_probes_total{result="failed"} 0' in counters
    assert "selvage_drift_total 2" in counters
    assert not any("evil" in line or "other" in line for line in lines)


def test_each_metric_stands_in_one_group():
    lines = rendered([ServiceResult("a"), ServiceResult("b")])
    names = [re.match(r"(?:# \w+ )?(\w+)", line)[1] for line in lines]
    groups = [name for name, former in zip(names, [None, *names], strict=False) if name != former]
    assert len(groups) == len(set(groups))


def test_the_file_is_for_everyone_and_whole(tmp_path):
    path = tmp_path / "metrics.prom"
    former = os.umask(0o077)
    try:
        write(path, "one\n")
        write(path, "two\n")
    finally:
        os.umask(former)
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [*tmp_path.iterdir()] == [path]


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "metrics.prom").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write(tmp_path / "metrics.prom", "one\n")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.prom"]
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "metrics.prom", "one\n")
