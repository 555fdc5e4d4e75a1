#!/usr/bin/python
"""Ansible module: one step of a promotion, told to the server of this host."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
module: mysql_step
short_description: Tell the MariaDB server of this host one step of a promotion
description:
  - Comes in as root by the server's socket. Which steps in which order are safe is decided by the
    filters P(mysql_switchover#filter) and P(mysql_failover#filter).
  - A step that is done already does no harm.
options:
  do:
    description: The step.
    type: str
    required: true
    choices: [writable, stop_receiving, start, catch_up, apply_received, forget, follow]
  source:
    description: From where the server is to replicate, for V(follow).
    type: dict
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
  position:
    description: Up to where it has to have applied, for V(catch_up).
    type: str
    default: ""
  semi_sync:
    description: Whether commits wait for a replica, for V(writable).
    type: bool
    default: true
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  wait:
    description: Seconds that the step may take.
    type: int
    default: 60
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
- name: Let it write
  mysql_step:
    do: writable
"""

RETURN = r"""
do:
  description: The step that was done.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.mysql import acting, session
from ansible.module_utils.selvage.mysql.arguments import SOCKET, SOURCE
from ansible.module_utils.selvage.mysql.session import Session, SqlError

STEPS = (
    *("writable", "stop_receiving", "start", "catch_up"),
    *("apply_received", "forget", "follow"),
)
ARGUMENT_SPEC: dict[str, Any] = {
    "do": {"type": "str", "required": True, "choices": [*STEPS]},
    "source": {"type": "dict", "options": SOURCE},
    "position": {"type": "str", "default": ""},
    "semi_sync": {"type": "bool", "default": True},
    "socket": SOCKET,
    "wait": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, required_if=[("do", "follow", ["source"])])
    given = module.params
    try:
        with session.local(given["socket"], given["wait"] + 10) as own:
            perform(own, given)
    except (SqlError, acting.NotDoneError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, do=given["do"])


def perform(own: Session, given: dict[str, Any]) -> None:
    """The step."""
    wait_s = given["wait"]
    match given["do"]:
        case "writable":
            acting.writable(own, semi_sync=given["semi_sync"])
        case "stop_receiving":
            acting.stop_receiving(own)
        case "start":
            acting.start(own)
        case "catch_up":
            acting.catch_up(own, given["position"], wait_s)
        case "apply_received":
            acting.apply_received(own, wait_s)
        case "forget":
            acting.forget(own)
        case "follow":
            acting.follow(own, session.known(given["source"], wait_s))
            acting.wait_until_it_runs(own, wait_s)


if __name__ == "__main__":
    main()
