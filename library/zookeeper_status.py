#!/usr/bin/python
"""Ansible module: ask a ZooKeeper ensemble how it is."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
module: zookeeper_status
short_description: Ask a ZooKeeper ensemble how it is, or wait until it serves
description:
  - Asks every member with the four-letter words C(srvr) and C(mntr), all at once, from the host
    where the module runs.
  - The members must allow both words (C(4lw.commands.whitelist)).
  - Never changes anything; check mode makes no difference.
options:
  members:
    description: The whole ensemble.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: The member's id, C(myid).
        type: int
        required: true
      name:
        description: A name for people, used in messages.
        type: str
        required: true
      address:
        description: Where clients reach the member.
        type: str
        required: true
  port:
    description: The client port of all members.
    type: int
    default: 2181
  expect:
    description:
      - Ids that must serve, with every follower that answers in sync with the leader. An id that
        no member has is refused.
      - Empty means to report only.
    type: list
    elements: int
    default: []
  wait:
    description: How many seconds to wait for what is expected, before the module fails.
    type: int
    default: 0
  timeout:
    description: How many seconds one member may take to answer.
    type: int
    default: 3
attributes:
  check_mode:
    support: full
    description: Runs the same.
  diff_mode:
    support: none
    description: There is no change to show.
author:
  - Selvage
"""

EXAMPLES = r"""
- name: Look at the ensemble
  zookeeper_status:
    members: "{{ zookeeper_members }}"
  register: ensemble

- name: Wait until zk1 and zk2 serve
  zookeeper_status:
    members:
      - {id: 1, name: zk1, address: 198.18.0.11}
      - {id: 2, name: zk2, address: 198.18.0.12}
      - {id: 3, name: zk3, address: 198.18.0.13}
    expect: [1, 2]
    wait: 60
"""

RETURN = r"""
members:
  description: Each member as it answered, in the order given.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The member's id.
      type: int
    name:
      description: The member's name.
      type: str
    address:
      description: The member's address.
      type: str
    mode:
      description:
        - C(leader), C(follower), C(observer) or C(standalone).
        - Null when the member does not serve.
      type: str
    zxid:
      description: The newest transaction; null when unknown.
      type: str
    synced_followers:
      description: How many followers are in sync; of the leader alone.
      type: int
    problem:
      description: Why the member does not serve; null when it does.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Invalid
from ansible.module_utils.selvage.registry import ensemble

ARGUMENT_SPEC: dict[str, Any] = {
    "members": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "id": {"type": "int", "required": True},
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
        },
    },
    "port": {"type": "int", "default": 2181},
    "expect": {"type": "list", "elements": "int", "default": []},
    "wait": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 3},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    parameters = module.params
    try:
        statuses, wrong = ensemble.wait(
            [ensemble.Member(**member) for member in parameters["members"]],
            port=parameters["port"],
            timeout_s=parameters["timeout"],
            expected=parameters["expect"],
            wait_s=parameters["wait"],
        )
    except Invalid as error:
        module.fail_json(msg=str(error))
    if wrong:
        module.fail_json(
            msg=f"{'; '.join(wrong)} (waited {parameters['wait']} s): repair this first"
        )
    members = [
        {
            **vars(status.member),
            "mode": status.mode,
            "zxid": status.zxid,
            "synced_followers": status.synced_followers,
            "problem": status.problem,
        }
        for status in statuses
    ]
    module.exit_json(changed=False, members=members)


if __name__ == "__main__":
    main()
