"""Whatever the registry holds, HAProxy accepts the services file, without a warning."""

import subprocess

import pytest
from hypothesis import given, settings
from redis_members import Authority

from selvage.haproxy.text import render
from strategies import CA_FILE, plan_world, text_of, worlds

# Defaults for mode http, as Debian ships them: a service in mode tcp must not need others.
BASE = """\
global
    log 127.0.0.1:9 local0
    stats timeout 30s
defaults
    log global
    mode http
    option httplog
    option dontlognull
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend Metrics
    bind 127.0.0.1:8405
    http-request use-service prometheus-exporter
"""


@pytest.fixture(scope="module")
def accept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("haproxy")
    base, services = folder / "haproxy.cfg", folder / "services.cfg"
    base.write_text(BASE)
    authority = Authority()

    def check(text):
        services.write_text(text.replace(CA_FILE, str(authority.ca)))
        result = subprocess.run(
            ["haproxy", "-c", "-f", base, "-f", services],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr + text
        assert "WARNING" not in result.stderr, result.stderr + text

    yield check
    authority.close()


@settings(max_examples=100)
@given(worlds())
def test_any_registry_content_is_accepted(accept, world):
    accept(text_of(plan_world(*world)))


def test_an_empty_catalogue_is_accepted(accept):
    accept(render([], {}))
