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
extends_documentation_fragment: [redis.access, redis.one, redis.settings]
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
restart:
  description: The names of what only a restart changes; the module does not restart.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Invalid
from ansible.module_utils.selvage.redis import arguments, tell
from ansible.module_utils.selvage.redis.client import FailedError
from ansible.module_utils.selvage.redis.facts import OddError

ARGUMENT_SPEC: dict[str, Any] = {
    **arguments.ONE,
    **arguments.SETTINGS,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        with arguments.client(given) as client:
            told = tell.server_settings(
                client,
                arguments.settings(given),
                given["secrets"],
                dry_run=module.check_mode,
            )
    except (Invalid, FailedError, OddError) as error:
        module.fail_json(msg=f"redis-server on {given['address']}:{given['port']}: {error}")
    module.exit_json(restart=told.restart, **told.result())


if __name__ == "__main__":
    main()
