#!/usr/bin/python
"""The Ansible module: one running server has the given settings."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
---
module: redis_settings
short_description: Change the settings of a running Redis server
description:
  - Compares what C(CONFIG GET) says, and sets what differs with one C(CONFIG SET).
  - What Redis cannot change while it runs is returned in RV(restart).
  - Certificates are loaded anew when the server shows another one than the file holds.
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
    description: Settings by name, with their values as C(CONFIG GET) gives them.
    type: dict
    required: true
  secrets:
    description: Settings whose values are never shown.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Set what differs
  redis_settings:
    address: 198.18.0.51
    port: 6379
    user: selvage
    passwords: ["{{ vaulted }}"]
    ca: /etc/redis/tls/ca.pem
    settings:
      maxmemory: "1073741824"
      tls-cert-file: /etc/redis/tls/cert.pem
      tls-key-file: /etc/redis/tls/key.pem
      tls-ca-cert-file: /etc/redis/tls/ca.pem
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
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        with Client(given["address"], given["port"], arguments.access(given)) as client:
            told = tell.server_settings(
                client,
                {name: str(value) for name, value in given["settings"].items()},
                given["secrets"],
                dry_run=module.check_mode,
            )
    except (Invalid, FailedError, OddError) as error:
        module.fail_json(msg=f"redis-server on {given['address']}:{given['port']}: {error}")
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
