#!/usr/bin/python
"""Ansible module: what one MariaDB or MySQL server says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: mysql_look
short_description: Ask the MariaDB or MySQL server of this host what it is
description:
  - Comes in as root by the server's socket. Whoever decides over the answer is the
    filter P(mysql_cluster#filter).
  - A server that does not answer is an answer, too. Never changes anything; check mode makes no
    difference.
options:
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  data_directory:
    description: Where the server keeps its data.
    type: path
    default: /var/lib/mysql
  user:
    description: The account, which the server knows by the user that runs the module.
    type: str
    default: root
  timeout:
    description: How many seconds the server may take for an answer.
    type: int
    default: 10
attributes:
  check_mode:
    support: full
    description: Runs the same.
  diff_mode:
    support: none
    description: There is no change to show.
requirements:
  - python3-pymysql, where there are data
author:
  - Selvage
"""

EXAMPLES = r"""
- name: Ask the server what it is
  mysql_look:
  register: said
"""

RETURN = r"""
said:
  description: What the server said, as it said it.
  returned: always
  type: dict
  contains:
    problem:
      description: Why there is no answer, in one line; null where there is one.
      type: str
    data:
      description: Whether a database is in the data directory. Without, all below is missing.
      type: bool
    flavour:
      description: V(mariadb) or V(mysql), by the files of the data; null if there are none.
      type: str
    seeding:
      description: Whether a seeding has begun and not ended.
      type: bool
    cluster:
      description: To which cluster the data belong; null if to none.
      type: str
    databases:
      description: The names of all databases.
      type: list
      elements: str
    replication:
      description: A row for each source.
      type: list
      elements: dict
    variables:
      description: The version, what the server may do, and its GTIDs.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.mysql import flavours
from ansible.module_utils.selvage.mysql.arguments import SOCKET

ARGUMENT_SPEC: dict[str, Any] = {
    "socket": SOCKET,
    "data_directory": {"type": "path", "default": "/var/lib/mysql"},
    "user": {"type": "str", "default": "root"},
    "timeout": {"type": "int", "default": 10},
}
VARIABLES = (
    *("version", "server_id", "read_only"),
    *(flavour.semi_sync for flavour in flavours.ALL),
    *(name for flavour in flavours.ALL for name in flavour.positions),
)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    parameters = module.params
    folder = Path(parameters["data_directory"])
    said: dict[str, Any] = {
        "problem": None,
        "data": any(is_database(path) for path in folder.iterdir()) if folder.is_dir() else False,
        "flavour": flavours.of_files(path.name for path in folder.glob("*")),
        "seeding": any((folder / f"selvage-{mark}").exists() for mark in ("seeding", "seeded")),
    }
    if said["data"] and not said["seeding"]:
        try:
            said |= ask(parameters["socket"], parameters["user"], parameters["timeout"])
        except ImportError:
            said["problem"] = "python3-pymysql is not installed there"
        except Exception as error:  # of pymysql, whose names are known with it only
            said["problem"] = " ".join(str(error).split())[:300]
    module.exit_json(changed=False, said=said)


def is_database(path: Path) -> bool:
    """Each is a folder. Files alone are left by a server that was started without any."""
    return path.is_dir() and path.name != "lost+found" and not path.name.startswith("#")


def ask(socket: str, user: str, timeout: int) -> dict[str, Any]:
    """All that the server says, over one connection."""
    import pymysql

    with (
        pymysql.connect(
            unix_socket=socket,
            user=user,
            connect_timeout=timeout,
            read_timeout=timeout,
            cursorclass=pymysql.cursors.DictCursor,
        ) as connection,
        connection.cursor() as cursor,
    ):

        def rows(statement: str) -> list[dict[str, Any]]:
            cursor.execute(statement)
            return list(cursor.fetchall())

        # Before what is committed: what is in neither is in nobody's.
        variables = {
            row["Variable_name"]: row["Value"]
            for row in rows("SHOW GLOBAL VARIABLES LIKE 'gtid_owned'")
        }
        names = ", ".join(f"'{name}'" for name in VARIABLES)
        variables |= {
            row["Variable_name"]: row["Value"]
            for row in rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        }
        databases = [row["Database"] for row in rows("SHOW DATABASES")]
        cluster = rows("SELECT name FROM selvage.cluster") if "selvage" in databases else []
        return {
            "variables": variables,
            "replication": rows(flavours.of(variables["version"]).status),
            "databases": databases,
            "cluster": cluster[0]["name"] if cluster else None,
        }


if __name__ == "__main__":
    main()
