"""The reconciler's configuration file: defaults, and one line for what is refused."""

from __future__ import annotations

import json

import pytest

from selvage.fields import Fields, Invalid
from selvage.reconciler.settings import load, parse
from selvage.registry.settings import parse_settings

MINIMAL = {"registry": {"hosts": ["198.18.0.11:2181", "[2001:db8::1]:2181", "zk3"]}}


def test_defaults():
    settings = parse(MINIMAL)
    assert settings.services == ()
    assert settings.state_directory == "/var/lib/selvage-reconciler"
    assert settings.metrics_file == "/var/lib/selvage-reconciler/metrics.prom"
    assert settings.resync_interval_ms == 60_000
    assert settings.reload_interval_ms == 2_000
    assert settings.zone is None
    assert settings.haproxy.master_socket == "/run/haproxy/master.sock"
    assert settings.registry.root == "/services"
    assert settings.registry.username is None


def test_every_field_of_the_first_level():
    settings = parse(
        {
            **MINIMAL,
            "state_directory": "/srv/state",
            "resync_interval": "5s",
            "reload_interval": "100ms",
            "zone": "fsn1",
        }
    )
    assert settings.state_directory == "/srv/state"
    assert settings.metrics_file == "/srv/state/metrics.prom"
    assert settings.resync_interval_ms == 5_000
    assert settings.reload_interval_ms == 100
    assert settings.zone == "fsn1"
    assert parse({**MINIMAL, "metrics_file": "/srv/m.prom"}).metrics_file == "/srv/m.prom"


def test_null_counts_as_absent():
    registry = {**MINIMAL["registry"], "username": None, "password": None}
    assert parse({"registry": registry, "services": None}) == parse(MINIMAL)


def test_the_password_is_not_shown():
    registry = {**MINIMAL["registry"], "username": "u", "password": "s3cret"}
    settings = parse({"registry": registry})
    assert settings.registry.password == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "registry.hosts: is required"),
        ({**MINIMAL, "servics": []}, "servics: is not a known field; did you mean services?"),
        ({**MINIMAL, "services": {}}, "services: expected a list"),
        ({**MINIMAL, "haproxy": {"socket": "/x"}}, "haproxy.socket: is not a known field"),
        ({**MINIMAL, "haproxy": {"binary": "haproxy"}}, "haproxy.binary: expected an absolute"),
        ({**MINIMAL, "services": [{"name": "a"}]}, "services[0].port: is required"),
        ({**MINIMAL, "zone": "a b"}, "zone: expected a label such as a or fsn1"),
        ({**MINIMAL, "reload_interval": "50ms"}, "reload_interval: expected a duration from 100ms"),
        ({**MINIMAL, "metrics_file": "m.prom"}, "metrics_file: expected an absolute path"),
    ],
)
def test_a_refused_file_is_named(tmp_path, document, message):
    path = tmp_path / "reconciler.json"
    path.write_text(json.dumps(document))
    with pytest.raises(Invalid) as failure:
        load(path)
    assert str(failure.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON: "), ("[]", "expected a JSON object"), (None, "No such file")],
)
def test_a_file_that_is_no_document(tmp_path, text, message):
    path = tmp_path / "reconciler.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Invalid) as failure:
        load(path)
    assert str(failure.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "registry.hosts: is required"),
        ({"hosts": ["a b"]}, "registry.hosts[0]: expected host:port"),
        ({"hosts": ["a:2181", "b:65536"]}, "registry.hosts[1]: expected a port from 1 to 65535"),
        ({"hosts": ["a:0"]}, "registry.hosts[0]: expected a port from 1 to 65535, got 0"),
        ({"hosts": ["a:1", "a:1"]}, "registry.hosts: the host a:1 stands twice"),
        ({"hosts": ["a:1"], "root": "services"}, "registry.root: expected a path"),
        ({"hosts": ["a:1"], "root": "/a/../b"}, "registry.root: expected a path"),
        ({"hosts": ["a:1"], "username": "u"}, "registry.username: username and password belong"),
        ({"hosts": ["a:1"], "timeout": "1s"}, "registry.timeout: is not a known field"),
    ],
)
def test_refused_registry_settings(section, message):
    with pytest.raises(Invalid) as failure:
        parse_settings(Fields(section, "registry"))
    assert str(failure.value).startswith(message)
