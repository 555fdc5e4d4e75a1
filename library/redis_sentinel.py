#!/usr/bin/python
"""The Ansible module: one running Sentinel has the given settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: redis_sentinel
short_description: Change the settings of a running Sentinel
description:
  - Compares what Sentinel says and keeps in its file, and tells what differs by C(SENTINEL SET) and
    C(SENTINEL CONFIG SET).
  - RV(restart) says when it shows another certificate than the file holds, for Sentinel loads one
    only when it starts.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: Nothing is set.
  diff_mode:
    support: full
    description: Former and new values, of O(secrets) the names alone.
options:
  address:
    description: The IPv4 address to ask.
    type: str
    required: true
  port:
    description: The port to ask, with TLS.
    type: int
    required: true
  user:
    description: The user of Redis and Sentinel who asks.
    type: str
    required: true
  passwords:
    description: The user's password, or two while they rotate; the first one that is taken counts.
    type: list
    elements: str
    required: true
  ca:
    description: The file with the CA that signed the certificates of the servers.
    type: path
    required: true
  timeout:
    description: Seconds for each answer.
    type: int
    default: 5
  settings:
    description: Settings by name, as C(SENTINEL SET) takes them, and V(announce-ip).
    type: dict
    required: true
  secrets:
    description: Settings whose values are never shown.
    type: dict
    default: {}
  state:
    description: Sentinel's own file.
    type: path
    required: true
  certificate:
    description: The file with Sentinel's certificate.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Tell Sentinel what differs
  redis_sentinel:
    address: 198.18.0.51
    port: 26379
    user: selvage
    passwords: ["{{ vaulted }}"]
    ca: /etc/redis/tls/ca.pem
    settings:
      down-after-milliseconds: "5000"
    state: /var/lib/redis/sentinel.conf
    certificate: /etc/redis/tls/cert.pem
"""

RETURN = r"""
names:
  description: What differed, by name.
  type: list
  elements: str
  returned: success
restart:
  description: The names of what only a restart changes; the module does not restart.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Invalid
from ansible.module_utils.selvage.redis import arguments, tell
from ansible.module_utils.selvage.redis.client import Client, FailedError
from ansible.module_utils.selvage.redis.facts import OddError

ARGUMENT_SPEC: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    **arguments.ACCESS,
    "settings": {"type": "dict", "required": True},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "state": {"type": "path", "required": True},
    "certificate": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        with Client(given["address"], given["port"], arguments.access(given)) as client:
            told = tell.sentinel_settings(
                client,
                {name: str(value) for name, value in given["settings"].items()},
                given["secrets"],
                Path(given["state"]),
                Path(given["certificate"]),
                dry_run=module.check_mode,
            )
    except (Invalid, FailedError, OddError) as error:
        module.fail_json(msg=f"redis-sentinel on {given['address']}:{given['port']}: {error}")
    lines = "".join(f"{name}: {old}\n" for name, (old, _) in told.lines.items() if old)
    after = "".join(f"{name}: {new}\n" for name, (_, new) in told.lines.items() if new)
    module.exit_json(
        changed=bool(told.lines),
        names=list(told.lines),
        restart=told.restart,
        diff={"before": lines, "after": after},
    )


if __name__ == "__main__":
    main()
