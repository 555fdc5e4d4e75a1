#!/usr/bin/python
"""The Ansible module: by which passwords accounts of a MariaDB server let in."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
module: mysql_passwords
short_description: Accounts of this host's MariaDB server let in by these passwords
description:
  - An account has one password, or two while it rotates. One that is not there is made, without a
    right.
  - Comes in as root by the server's socket, and tells the server hashes alone.
options:
  accounts:
    description: The accounts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The account's name.
        type: str
        required: true
      host:
        description: From where it may come in.
        type: str
        default: "%"
      passwords:
        description: The password, or the new one and the former one.
        type: list
        elements: str
        required: true
  exact:
    description:
      - Whether passwords that are not given let in no more. Otherwise nobody loses anything.
    type: bool
    default: true
  logged:
    description: Whether replicas hear of it.
    type: bool
    default: true
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  wait:
    description: Seconds that an answer may take; a commit may wait for a replica.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Tells what would change.
  diff_mode:
    support: full
    description: Accounts, and how many passwords each has.
requirements:
  - python3-pymysql
author:
  - Selvage
"""

EXAMPLES = r"""
- name: Let the application in by both of its passwords
  mysql_passwords:
    accounts:
      - name: shop
        passwords: ["{{ vaulted }}", "{{ vaulted_former }}"]
"""

RETURN = "{}"

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Invalid
from ansible.module_utils.selvage.mysql import accounts, acting, session
from ansible.module_utils.selvage.mysql.arguments import SOCKET
from ansible.module_utils.selvage.mysql.session import SqlError

ARGUMENT_SPEC: dict[str, Any] = {
    "accounts": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "default": "%"},
            "passwords": {"type": "list", "elements": "str", "required": True, "no_log": True},
        },
    },
    "exact": {"type": "bool", "default": True},
    "logged": {"type": "bool", "default": True},
    "socket": SOCKET,
    "wait": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        with session.local(given["socket"], given["wait"]) as own:
            if not given["logged"]:
                own.rows("SET SESSION sql_log_bin = 0")
            wanted = accounts.parse(given["accounts"])
            done = [
                change
                for account in wanted
                if (
                    change := acting.let_in(
                        own, account, exact=given["exact"], dry_run=module.check_mode
                    )
                )
            ]
    except (Invalid, SqlError) as error:
        module.fail_json(msg=str(error))
    before, after = zip(*(change.told() for change in done), strict=True) if done else ("", "")
    module.exit_json(changed=bool(done), diff={"before": "".join(before), "after": "".join(after)})


if __name__ == "__main__":
    main()
