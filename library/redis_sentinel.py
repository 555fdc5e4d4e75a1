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
    C(SENTINEL CONFIG SET), as V(announce-ip).
  - RV(restart) says when it shows another certificate than the file holds, for Sentinel loads one
    only when it starts.
version_added: "1.0.0"
author:
  - Selvage
extends_documentation_fragment: [redis.access, redis.one, redis.settings]
options:
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
    "state": {"type": "path", "required": True},
    "certificate": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        with arguments.client(given) as client:
            told = tell.sentinel_settings(
                client,
                arguments.settings(given),
                given["secrets"],
                Path(given["state"]),
                Path(given["certificate"]),
                dry_run=module.check_mode,
            )
    except (Invalid, FailedError, OddError) as error:
        module.fail_json(msg=f"redis-sentinel on {given['address']}:{given['port']}: {error}")
    module.exit_json(restart=told.restart, **told.result())


if __name__ == "__main__":
    main()
