"""What role nginx renders, from its own templates, variables and validation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))
from plugin_utils import nginx  # noqa: E402  # the role's filters are outside of the tests' path

ROLE = ROOT / "roles" / "nginx"
sys.path.append(str(ROLE / "files"))
import ticket_keys as ticket_keys  # noqa: E402  # likewise


def templates() -> jinja2.Environment:
    """As Ansible sets it up."""
    loader = jinja2.FileSystemLoader(ROLE / "templates")
    return jinja2.Environment(loader=loader, trim_blocks=True, keep_trailing_newline=True)


def variables() -> dict[str, Any]:
    """The role's, by name."""
    return {
        name: value
        for part in ("defaults", "vars")
        for name, value in yaml.safe_load((ROLE / part / "main.yml").read_text()).items()
    }


def rendered(given: Mapping[str, Any]) -> dict[str, str]:
    """The files of a configuration by name."""
    known = {**variables(), "ansible_managed": "Ansible managed", **given}
    problems = nginx.input_problems(known)
    assert problems == [], problems
    environment = templates()
    sites = nginx.parse_sites(known["nginx_sites"], known["nginx_services"])
    site = environment.get_template("site.conf.j2")
    return {
        "nginx.conf": environment.get_template("nginx.conf.j2").render(known),
        **{f"sites/{one['name']}.conf": site.render(known, __nginx_site=one) for one in sites},
    }
