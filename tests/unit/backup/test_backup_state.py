"""What is told of the last runs."""

from datetime import UTC, datetime, timedelta

from selvage.backup import manifest, state

NOW = datetime(2026, 11, 22, 3, 17, tzinfo=UTC)
MADE = manifest.complete(
    {"fabric": "shop", "service": "redis", "name": "20261122T031700Z", "member": "redis2"},
    {
        "role": "replica",
        "position": "7",
        "version": "",
        "sha256": "0" * 64,
        "size": 42,
        "encrypted": True,
    },
)


def after_success():
    return state.succeeded(state.begun({}, "redis", NOW), "redis", NOW, MADE, kept=3)


def test_a_success_and_then_failures():
    told = after_success()
    for hours in (24, 48):
        told = state.failed(told, "redis", NOW + timedelta(hours=hours), "no member can be taken")
    assert told["redis"]["failures"] == 2
    assert told["redis"]["last_success"] == "2026-11-22T03:17:00+00:00"
    fine, lines = state.report(told, ["redis", "mysql"], NOW + timedelta(hours=49), 26)
    assert not fine
    assert lines == [
        "redis stale: last success 2026-11-22T03:17:00+00:00 age=49.0h size=42 member=redis2 kept=3"
        " failures=2 reason: no member can be taken",
        "mysql stale: last success never",
    ]


def test_a_recent_success_is_fresh_and_ends_the_failures():
    told = state.failed({}, "redis", NOW, "away")
    told = state.succeeded(told, "redis", NOW, MADE, kept=1)
    fine, (line,) = state.report(told, ["redis"], NOW + timedelta(hours=2), 26)
    assert fine and "reason" not in line and line.startswith("redis fresh")


def test_metrics_have_what_an_alarm_needs():
    told = state.failed(after_success(), "zookeeper", NOW, "away")
    lines = [line for line in state.metrics(told).splitlines() if not line.startswith("#")]
    assert lines == [
        f'selvage_backup_last_success_timestamp_seconds{{service="redis"}} {int(NOW.timestamp())}',
        'selvage_backup_size_bytes{service="redis"} 42',
        'selvage_backup_failures{service="redis"} 0',
        'selvage_backup_failures{service="zookeeper"} 1',
    ]


def test_the_files_are_for_everyone_and_a_spoilt_one_counts_as_none(tmp_path):
    state.write(tmp_path, after_success())
    assert state.read(tmp_path / "state.json") == after_success()
    assert (tmp_path / "metrics.prom").stat().st_mode & 0o777 == 0o644
    (tmp_path / "state.json").write_text("[1")
    assert state.read(tmp_path / "state.json") == {}
    assert state.read(tmp_path / "none") == {}
