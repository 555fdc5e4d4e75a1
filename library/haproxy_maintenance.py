#!/usr/bin/python
"""The Ansible module: an operator's override of one server; `module_utils/selvage` has it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: haproxy_maintenance
short_description: Take a server out of service on a node, with a reason and an end
description:
  - Sets or ends an operator's override. While it is in force the reconciler keeps the server in
    maintenance on this node, over restarts of HAProxy and of the node.
  - The daemon heeds it within a second. Where there is none, M(haproxy_backends) does.
  - The server need not be registered. It joins in maintenance then.
version_added: "1.0.0"
author:
  - Selvage
requirements:
  - Python 3.11 or later and kazoo 2.8 or later (C(python3-kazoo)) on the node
attributes:
  check_mode:
    support: full
    description: Nothing is changed.
  diff_mode:
    support: full
    description: The state of the server, with the reason.
options:
  config:
    description: The reconciler's configuration on the node.
    type: path
    default: /etc/selvage/reconciler.json
  service:
    description: The service, as the node's catalogue has it.
    type: str
    required: true
  server:
    description: The server's address and port, such as V(198.18.0.21:8080).
    type: str
    required: true
  state:
    description: V(maint) sets the override, V(ready) ends it.
    type: str
    choices: [maint, ready]
    default: maint
  reason:
    description: One line for whoever comes next. Required with O(state=maint).
    type: str
  for:
    description:
      - For how long, from V(1s) to V(720h). Required with O(state=maint).
      - An override with the same O(reason) is left as it is for the first tenth of its time, and
        extended later.
    type: str
notes:
  - Run it as the user that the reconciler runs as.
"""

EXAMPLES = r"""
- name: Take a server out for two hours
  haproxy_maintenance:
    service: inventory
    server: 198.18.0.21:8080
    reason: new disk
    for: 2h

- name: Let it back in before
  haproxy_maintenance:
    service: inventory
    server: 198.18.0.21:8080
    state: ready
"""

RETURN = r"""
server:
  description: The server's name in HAProxy.
  returned: success
  type: str
  sample: inventory_198.18.0.21_8080
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible.module_utils.selvage import catalogue, fields
    from ansible.module_utils.selvage.reconciler import overrides, settings
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

ARGUMENT_SPEC: dict[str, Any] = {
    "config": {"type": "path", "default": "/etc/selvage/reconciler.json"},
    "service": {"type": "str", "required": True},
    "server": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["maint", "ready"], "default": "maint"},
    "reason": {"type": "str"},
    "for": {"type": "str"},
}


def apply(parameters: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """Set or end the override; what Ansible gets. Raises `fields.Invalid`, OSError."""
    configured = settings.load(Path(parameters["config"]))
    service = catalogue.find(configured.services, parameters["service"])
    folder = Path(configured.state_directory, "overrides")
    place = parameters["server"]
    if parameters["state"] == "ready":
        server = overrides.server_at(service, place)
        changed = overrides.remove(folder, server, dry_run=dry_run)
        words = "ready"
    else:
        reason, lasts, now = parameters["reason"], parameters["for"], time.time()
        override = overrides.parse(service, place, reason, lasts, now)
        server = override.server
        changed = overrides.put(folder, override, now, dry_run=dry_run)
        words = f"maint for {lasts}: {reason}"
    diff = {"prepared": f"{service.name} {place} {words}\n" if changed else ""}
    return {"changed": changed, "server": server, "diff": diff}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[("state", "maint", ("reason", "for"))],
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("kazoo"), exception=str(IMPORT_ERROR))
    try:
        values = apply(module.params, dry_run=module.check_mode)
    except fields.Invalid as problem:
        module.fail_json(msg=str(problem))
    except OSError as problem:
        module.fail_json(msg=f"{problem.filename}: {problem.strerror}")
    module.exit_json(**values)


if __name__ == "__main__":
    main()
