#!/usr/bin/python
"""The Ansible module: by which password this host's replica logs in at its source."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: mysql_source_password
short_description: A replica logs in at its source by this password
description:
  - Where it is another one, the replica applies what it has received, and goes on from there with
    this one. The source has to know it already.
  - A server that replicates from nobody is left as it is.
options:
  password:
    description: Of the account C(replication).
    type: str
    required: true
  data_directory:
    description: Where the server keeps its data; the folder's owner reads there, not root.
    type: path
    default: /var/lib/mysql
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  wait:
    description: Seconds until it has applied what it received, and until it replicates again.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Tells whether it would change.
  diff_mode:
    support: none
    description: There is nothing that may be shown.
requirements:
  - python3-pymysql
author:
  - Selvage
"""

EXAMPLES = r"""
- name: Let the replica log in by the new password
  mysql_source_password:
    password: "{{ vaulted }}"
  throttle: 1
"""

RETURN = "{}"

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Invalid
from ansible.module_utils.selvage.mysql import acting, session
from ansible.module_utils.selvage.mysql.arguments import SOCKET
from ansible.module_utils.selvage.mysql.session import SqlError

ARGUMENT_SPEC: dict[str, Any] = {
    "password": {"type": "str", "required": True, "no_log": True},
    "data_directory": {"type": "path", "default": "/var/lib/mysql"},
    "socket": SOCKET,
    "wait": {"type": "int", "default": 60},
}
# Some 30 lines, none of which is long.
FILE_BYTES = 16_384


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        with session.local(given["socket"], given["wait"] + 10) as own:
            folder = Path(given["data_directory"])
            changed = acting.status(own) is not None and given["password"] != (
                acting.source_password(own, lambda: read(folder))
            )
            if changed and not module.check_mode:
                acting.log_in_by(own, given["password"], given["wait"])
    except (Invalid, OSError, SqlError, acting.NotDoneError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed)


def read(folder: Path) -> str:
    """What the server wrote down of its source; root follows nothing in the server's folder."""
    owner = folder.stat()
    done = subprocess.run(
        ["head", f"--bytes={FILE_BYTES}", folder / "master.info"],
        user=owner.st_uid,
        group=owner.st_gid,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    if done.returncode:
        raise OSError(" ".join(done.stderr.split()))
    return done.stdout


if __name__ == "__main__":
    main()
