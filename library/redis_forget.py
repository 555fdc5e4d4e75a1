#!/usr/bin/python
"""The Ansible module: Sentinels know of no others than the members."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
---
module: redis_forget
short_description: Let Sentinels forget hosts that are members no more
description:
  - A host that is no member any more but still answers is detached first. Its Sentinel stops
    watching, and its server follows nobody that exists, so that it takes no writes.
  - Then each Sentinel forgets what it knows of others, one after the other. Before the next one
    does, it knows all members again.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: Nobody is told anything.
  diff_mode:
    support: none
    description: There is nothing that a diff could show.
options:
  members:
    description: All members. The first one is the primary while there is no data anywhere.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The member's name, for messages.
        type: str
        required: true
      address:
        description: Its IPv4 address.
        type: str
        required: true
  port:
    description: The port of the servers, with TLS.
    type: int
    required: true
  sentinel_port:
    description: The port of the Sentinels, with TLS.
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
  wait:
    description: Seconds to wait until a Sentinel knows all members again.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Forget hosts that left
  redis_forget:
    members:
      - {name: redis1, address: 198.18.0.51}
      - {name: redis2, address: 198.18.0.52}
      - {name: redis3, address: 198.18.0.53}
    port: 6379
    sentinel_port: 26379
    user: selvage
    passwords: ["{{ vaulted }}"]
    ca: /etc/redis/tls/ca.pem
"""

RETURN = r"""
forgotten:
  description: The addresses of hosts that are forgotten.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Fields, Invalid
from ansible.module_utils.selvage.redis import arguments, forget, members
from ansible.module_utils.selvage.redis.client import FailedError
from ansible.module_utils.selvage.redis.topology import UndecidedError

ARGUMENT_SPEC: dict[str, Any] = {
    **arguments.MEMBERS,
    **arguments.ACCESS,
    "wait": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        listed, ports = arguments.members(given)
        access = arguments.access(given)
        wait_s = Fields(given, "").integer("wait", 1, 86_400)
        gone = forget.forget(
            lambda: members.look(listed, ports, access),
            ports,
            access,
            wait_s,
            dry_run=module.check_mode,
        )
    except (Invalid, FailedError, forget.StillKnownError, UndecidedError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(gone), forgotten=gone)


if __name__ == "__main__":
    main()
