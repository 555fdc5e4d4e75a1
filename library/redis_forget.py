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
extends_documentation_fragment: [redis.access, redis.members]
options:
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
from ansible.module_utils.selvage.redis import arguments, forget
from ansible.module_utils.selvage.redis.client import FailedError
from ansible.module_utils.selvage.redis.topology import UndecidedError

ARGUMENT_SPEC: dict[str, Any] = {
    **arguments.MEMBERS,
    "wait": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        wait_s = Fields(given, "").integer("wait", 1, 86_400)
        gone = forget.forget(*arguments.everybody(given), wait_s, dry_run=module.check_mode)
    except (Invalid, FailedError, forget.StillKnownError, UndecidedError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(gone), forgotten=gone)


if __name__ == "__main__":
    main()
