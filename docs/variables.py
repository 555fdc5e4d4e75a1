"""Print docs/variables.md, made from playbooks/vars/fabric.yml: make variables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

SOURCE = Path(__file__).parents[1] / "playbooks" / "vars" / "fabric.yml"
HEAD = """\
# Variables

What an inventory may set for the fabric, made from \
[playbooks/vars/fabric.yml](../playbooks/vars/fabric.yml). Each works wherever an inventory has \
it, for a group or a host: a group's `vars:`, `group_vars`, `host_vars`, or `-e`. All are checked \
before anything changes, in `--check` too; a `fabric_` name that is not here is refused.

| variable | type | default | what it is |
|---|---|---|---|
"""
INSTEAD = """
Roles have variables of their own (`roles/*/defaults/main.yml`), and an inventory may set those, \
too. But these the playbooks set, so they are refused by name:

| not this | but this |
|---|---|
"""


def page(document: dict[str, Any]) -> str:
    """The page, from the parsed file."""
    types = document["__fabric_types"]
    rows = [
        f"| `{name}` | {types[setting['type']]} | {_default(setting)} |"
        f" {' '.join(setting['description'].split())} |\n"
        for name, setting in document["__fabric_settings"].items()
    ]
    refused = [f"| `{name}` | {use} |\n" for name, use in document["__fabric_instead"].items()]
    return "".join([HEAD, *rows, INSTEAD, *refused])


def _default(setting: dict[str, Any]) -> str:
    if "default_from" in setting:
        return f"`{setting['default_from']}`"
    default = setting.get("default")
    return f"`{default}`" if default or default == [] else ""


if __name__ == "__main__":
    sys.stdout.write(page(yaml.safe_load(SOURCE.read_text())))
