#!/usr/bin/python
"""The Ansible module: who is primary, and what is not as it should be."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
---
module: redis_status
short_description: Ask all members of a Redis replication who is primary
description:
  - Asks each member's server and Sentinel at the same time.
  - The primary is the one that a majority of the Sentinels names, else the one that the servers
    name, else the first of O(members). That last one counts only while no member answers and all
    are in O(new).
  - Fails when nobody may say who is primary.
version_added: "1.0.0"
author:
  - Selvage
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
  diff_mode:
    support: none
    description: Nothing is ever changed.
extends_documentation_fragment: [redis.access, redis.members]
options:
  new:
    description: Names of the members that are known to hold no data.
    type: list
    elements: str
    default: []
  among:
    description: Names of the members whose shortcomings count; without it, all of them.
    type: list
    elements: str
    default: []
  expect:
    description:
      - V(login) fails when one that answers does not let O(user) in, or has a certificate of
        another CA. Who is away does not count, and nothing else is looked at.
      - V(primary) waits until it is clear who is primary.
      - V(servers) waits until every server of O(members) replicates too.
      - V(sentinels) waits until every Sentinel knows the primary and the other members too.
    type: str
    choices: [login, primary, servers, sentinels]
    default: primary
  wait:
    description: Seconds to wait for what is expected. V(0) looks once.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Wait until all replicate and all Sentinels agree
  redis_status:
    members:
      - {name: redis1, address: 198.18.0.51}
      - {name: redis2, address: 198.18.0.52}
      - {name: redis3, address: 198.18.0.53}
    port: 6379
    sentinel_port: 26379
    user: selvage
    passwords: ["{{ vaulted }}"]
    ca: /etc/redis/tls/ca.pem
    expect: sentinels
    wait: 60
"""

RETURN = r"""
primary:
  description: The primary's O(members) entry, and in C(by) who says so, such as C(sentinels).
  type: dict
  returned: unless V(login) is expected
strangers:
  description: Addresses that Sentinels know of hosts that are no members.
  type: list
  elements: str
  returned: unless V(login) is expected
members:
  description: Each member with its C(role), C(version), C(sentinel_id) and C(problems).
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.selvage.fields import Fields, Invalid
from ansible.module_utils.selvage.redis import arguments, members, topology

ARGUMENT_SPEC: dict[str, Any] = {
    **arguments.MEMBERS,
    "new": {"type": "list", "elements": "str", "default": []},
    "among": {"type": "list", "elements": "str", "default": []},
    "expect": {
        "type": "str",
        "choices": ["login", "primary", "servers", "sentinels"],
        "default": "primary",
    },
    "wait": {"type": "int", "default": 0},
}


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    """The result; raises what says why there is none."""
    ask, ports, _ = arguments.everybody(parameters)
    wait_s = Fields(parameters, "").integer("wait", 0, 86_400)
    expect = parameters["expect"]
    among = parameters["among"] or [one["name"] for one in parameters["members"]]

    if expect == "login":
        seen = ask()
        if refusals := [f"{one.member.name} {text}" for one in seen for text in one.refusals]:
            raise Invalid(f"{'; '.join(refusals)}: correct the password, or the certificate")
        return {"members": [described(one) for one in seen]}

    def wrong(seen: list[topology.Seen], at: topology.Primary) -> list[str]:
        if expect == "primary":
            return []
        found: list[str] = topology.shortcomings(
            seen, ports, at, among=among, sentinels=expect == "sentinels"
        )
        return found

    seen, at, problems = members.settle(ask, wrong, parameters["new"], wait_s)
    if problems:
        raise Invalid(f"{'; '.join(problems)} (waited {wait_s} s): repair this first")
    primary = next(one.member for one in seen if one.member.address == at.address)
    return {
        "primary": {**vars(primary), "by": at.by},
        "strangers": topology.strangers(seen),
        "members": [described(one) for one in seen],
    }


def described(one: topology.Seen) -> dict[str, Any]:
    """One member for a person."""
    role = None
    if one.server is not None:
        role = "primary" if one.server.follows is None else "replica"
    return {
        **vars(one.member),
        "role": role,
        "version": one.server.version if one.server else None,
        "sentinel_id": one.watch.id if one.watch else None,
        "problems": list(one.problems),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params)
    except (Invalid, topology.UndecidedError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
