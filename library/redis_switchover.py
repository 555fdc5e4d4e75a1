#!/usr/bin/python
"""The Ansible module: another member is primary."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
---
module: redis_switchover
short_description: Let another member of a Redis replication be primary
description:
  - Pauses writes for 10 seconds at most, waits until every replica has all of them, and lets
    Sentinel promote one. No acknowledged write is lost.
  - Refused unless all members replicate and all Sentinels agree.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: Nothing is handed over; what would refuse it does so.
  diff_mode:
    support: none
    description: There is nothing that a diff could show.
extends_documentation_fragment: [redis.access, redis.members]
options:
  wait:
    description: Seconds to wait for the new primary.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Hand over
  redis_switchover:
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
former:
  description: The address of the former primary.
  type: str
  returned: success
primary:
  description: The address of the new one; in check mode the former one.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Fields, Invalid
from ansible.module_utils.selvage.redis import arguments, switchover
from ansible.module_utils.selvage.redis.client import FailedError
from ansible.module_utils.selvage.redis.switchover import RefusedSwitchError
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
        former, now = switchover.switch(
            *arguments.everybody(given), wait_s, dry_run=module.check_mode
        )
    except (Invalid, FailedError, RefusedSwitchError, UndecidedError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, former=former.address, primary=now.address)


if __name__ == "__main__":
    main()
