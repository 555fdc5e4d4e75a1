"""The module's thin part: parameters, one line per failure, what Ansible gets."""

from __future__ import annotations

import json
import socket

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_modules import load

SERVICES = [{"name": "inventory", "port": 3000}]


@pytest.fixture
def run(capsys, tmp_path):
    def run(**parameters):
        module = load("haproxy_backends")
        parameters = {"config": str(tmp_path / "reconciler.json"), **parameters}
        with patch_module_args(parameters), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def parsed(tmp_path):
    def parsed(**parameters):
        module = load("haproxy_backends")
        given = dict.fromkeys(module.SECTIONS)
        return module.parse({**given, "config": str(tmp_path / "reconciler.json"), **parameters})

    return parsed


@pytest.fixture
def config(tmp_path):
    document = {
        "registry": {"hosts": ["198.18.0.11:2181"]},
        "haproxy": {"timeout": "7s"},
        "state_directory": "/var/lib/elsewhere",
        "services": SERVICES,
    }
    (tmp_path / "reconciler.json").write_text(json.dumps(document))


def test_the_file_alone_is_enough(parsed, config):
    assert parsed().haproxy.timeout_ms == 7_000


def test_a_parameter_replaces_its_section_and_no_other(parsed, config):
    settings = parsed(services=[{"name": "orders", "port": 3001}])
    assert [service.name for service in settings.services] == ["orders"]
    assert settings.registry.hosts == ("198.18.0.11:2181",)
    assert settings.state_directory == "/var/lib/elsewhere"
    assert parsed(services=[]).services == ()


def test_without_the_file_registry_and_services_are_needed(parsed, run):
    registry = {"hosts": ["198.18.0.11:2181"]}
    assert parsed(registry=registry, services=SERVICES).services
    for parameters in ({}, {"registry": registry}, {"services": SERVICES}):
        result = run(**parameters)
        assert result["failed"]
        assert result["msg"].endswith("reconciler.json: No such file or directory")


def test_invalid_configuration_is_one_line(run, config):
    result = run(services=[{"name": "inventory", "port": 3000, "drain": "soon"}])
    assert result["failed"]
    assert result["msg"].startswith("services[0].drain: expected a duration")
    assert "\n" not in result["msg"]


def test_an_unreachable_registry_is_one_line(run, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        result = run(
            registry={"hosts": [host], "connect_timeout": "200ms"},
            services=SERVICES,
            state_directory=str(tmp_path),
        )
    assert result["failed"]
    assert result["msg"] == (
        f"the registry at {host} cannot be reached within 0.2 s; HAProxy goes on with what it has"
    )


def test_the_password_is_not_shown(run, config, capsys):
    secret = "s3cret-w0rd"
    registry = {"hosts": ["127.0.0.1:1"], "connect_timeout": "100ms", "username": "u"}
    result = run(registry={**registry, "password": secret}, state_directory="/nonexistent")
    assert result["failed"]
    assert secret not in json.dumps(result)


def test_only_services_of_the_catalogue_can_be_released(run, config):
    result = run(release=["inventry"])
    assert result["failed"]
    assert result["msg"] == ("'inventry' is not in this node's catalogue; did you mean inventory?")
