#!/usr/bin/python
"""Ansible module: one of the two sides of a planned switchover."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
module: mysql_handover
short_description: Let two MariaDB servers change places while clients write
description:
  - Runs on the hosts of both servers at the same time, in one task. Whoever is V(primary)
    afterwards has all that the other one acknowledged, and there are never two that write.
  - Each goes back by itself when it does not come to that.
options:
  state:
    description: What the server of this host is afterwards.
    type: str
    required: true
    choices: [primary, replica]
  other:
    description: The other server.
    type: dict
    required: true
    suboptions:
      name:
        description: That member's name, for messages.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        default: 3306
      passwords:
        description: Of its account C(replication), the new one first while they rotate.
        type: list
        elements: str
        required: true
      ca:
        description: The CA's certificate, readable by the server.
        type: path
        required: true
  token:
    description: A secret of this handover, the same on both sides, by which they find each other.
    type: str
    required: true
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  ready:
    description: Seconds until both sides are there and the new one has caught up; writes go on.
    type: int
    default: 60
  pause:
    description: Seconds without a writer, after which the former primary writes again.
    type: int
    default: 5
attributes:
  check_mode:
    support: none
    description: The plan is what can be looked at.
  diff_mode:
    support: none
    description: There is no change to show.
requirements:
  - python3-pymysql
author:
  - Selvage
"""

EXAMPLES = r"""
- name: Let db2 take over from db1
  mysql_handover:
    state: "{{ 'primary' if inventory_hostname == 'db2' else 'replica' }}"
    other:
      name: "{{ 'db1' if inventory_hostname == 'db2' else 'db2' }}"
      address: "{{ '198.18.0.51' if inventory_hostname == 'db2' else '198.18.0.52' }}"
      passwords: ["{{ vaulted }}"]
      ca: /etc/selvage/tls/ca.pem
    token: "{{ drawn_at_random }}"
  when: inventory_hostname in ['db1', 'db2']
"""

RETURN = r"""
paused:
  description: Seconds without a writer, as the former primary counts them.
  returned: success, on the former primary
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.mysql import acting, handover, session
from ansible.module_utils.selvage.mysql.arguments import SOCKET, SOURCE
from ansible.module_utils.selvage.mysql.session import SqlError

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "required": True, "choices": ["primary", "replica"]},
    "other": {"type": "dict", "required": True, "options": SOURCE},
    "token": {"type": "str", "required": True, "no_log": True},
    "socket": SOCKET,
    "ready": {"type": "int", "default": 60},
    "pause": {"type": "int", "default": 5},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC)
    given = module.params
    limits = handover.Limits(given["ready"], given["pause"])
    timeout_s = limits.ready_s + limits.answer_s
    result: dict[str, Any] = {}
    try:
        other = session.known(given["other"], limits.answer_s)
        if given["state"] == "replica":
            paused = handover.give(
                lambda: session.local(given["socket"], timeout_s), other, given["token"], limits
            )
            result["paused"] = round(paused, 3)
        else:
            handover.take(
                lambda: session.local(given["socket"], timeout_s),
                lambda: session.remote(other, timeout_s),
                other,
                given["token"],
                limits,
            )
    except (SqlError, acting.NotDoneError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
