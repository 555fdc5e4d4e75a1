#!/usr/bin/python
"""The Ansible module: one running server or Sentinel lets in the given users."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
---
module: redis_users
short_description: Change the users of a running Redis server or Sentinel
description:
  - Tells what differs by C(ACL SETUSER), so that no connection is cut.
  - Rules are compared in the server's own words. For that it gets a user C(selvage-scratch) for a
    moment, who cannot log in, in check mode too.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: No user of O(users) changes.
  diff_mode:
    support: full
    description: The names of users that change.
extends_documentation_fragment: [redis.access, redis.one]
options:
  users:
    description: The users.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      hashes:
        description: The SHA-256 of the password, or of both while it rotates.
        type: list
        elements: str
        default: []
      nopass:
        description: Whether any password lets in, instead of O(users[].hashes).
        type: bool
        default: false
      keys:
        description: Patterns of keys.
        type: list
        elements: str
        default: []
      channels:
        description: Patterns of channels.
        type: list
        elements: str
        default: []
      commands:
        description: Rules for commands.
        type: str
        default: "-@all"
  exact:
    description:
      - Whether passwords, users and rights that are not given go, too. Otherwise all that are given
        get in, and nobody loses anything.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Let nobody else in
  redis_users:
    address: 198.18.0.51
    port: 6379
    user: selvage
    passwords: ["{{ vaulted }}"]
    ca: /etc/redis/tls/ca.pem
    users:
      - {name: orders, hashes: ["{{ digest }}"], keys: ["orders:*"], commands: "+@read +@write"}
"""

RETURN = "{}"

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Invalid
from ansible.module_utils.selvage.redis import arguments, tell, users
from ansible.module_utils.selvage.redis.client import FailedError

ARGUMENT_SPEC: dict[str, Any] = {
    **arguments.ONE,
    "users": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "hashes": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "nopass": {"type": "bool", "default": False, "no_log": False},
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "channels": {"type": "list", "elements": "str", "default": []},
            "commands": {"type": "str", "default": "-@all"},
        },
    },
    "exact": {"type": "bool", "default": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        wanted = users.parse(given["users"], "users")
        with arguments.client(given) as client:
            told = tell.accounts(client, wanted, exact=given["exact"], dry_run=module.check_mode)
    except (Invalid, FailedError) as error:
        module.fail_json(msg=f"{given['address']}:{given['port']}: {error}")
    module.exit_json(**told.result())


if __name__ == "__main__":
    main()
