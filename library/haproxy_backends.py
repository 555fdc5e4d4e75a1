#!/usr/bin/python
"""The Ansible module: arguments, check mode, diff. `module_utils/selvage` does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: haproxy_backends
short_description: Make HAProxy's servers equal to what is registered in ZooKeeper
description:
  - Reads the instances that are registered in ZooKeeper below O(registry.root), compares them with
    what HAProxy runs on this node, and makes HAProxy equal to them.
  - Servers are added, changed, drained and removed through HAProxy's Runtime API, without a reload.
    The services file is written first, so that a HAProxy that restarts at any moment comes up with
    the same servers. What runs is read back afterwards.
  - Only a new service, a removed one or other options of a service reload HAProxy. The new file is
    checked by C(haproxy -c) before it is written, the reload is confirmed by HAProxy's master, and
    a service that HAProxy refuses stays as it was, while the others go on.
  - A new server is probed with the service's own check. It gets traffic at once when the probe
    succeeds, and otherwise when HAProxy's own checks have found it healthy.
  - A server that leaves gets no new sessions. It is deleted when its last session ends, and at the
    latest after the service's C(drain). The module waits for that.
  - When the registry cannot be reached, nothing is changed and the module fails.
  - A service whose last valid registration is gone keeps its servers, and is reported as held,
    unless its C(guards.allow_empty) is true. So is one that would be left with fewer servers than
    its guards allow. What joins is let in nevertheless. See O(release).
  - A registration that does not fit is refused with its reason; the others of its service are
    served. Nothing that stands in the registry becomes an option of HAProxy.
  - The reconciler daemon, other runs of this module and a person at a shell may be at work on the
    same node, they take turns.
version_added: "1.0.0"
author:
  - Selvage
requirements:
  - Python 3.11 or later and kazoo 2.8 or later (C(python3-kazoo)) on the node
  - HAProxy 2.6 or later on the node, in master-worker mode, with a stats socket of level admin
attributes:
  check_mode:
    support: full
    description: Nothing is changed, neither on the node nor in ZooKeeper. New servers are probed.
  diff_mode:
    support: full
    description: The services file, and the commands for HAProxy's sockets.
options:
  config:
    description:
      - The reconciler's configuration on the node, the same that its daemon reads.
      - The file need not exist when O(registry) and O(services) are both given.
    type: path
    default: /etc/selvage/reconciler.json
  registry:
    description:
      - Where the registrations are. Replaces the section C(registry) of O(config).
    type: dict
    suboptions:
      hosts:
        description: The members of the ZooKeeper ensemble, as C(host:port).
        type: list
        elements: str
        required: true
      root:
        description: The znode whose children are the services.
        type: str
        default: /services
      connect_timeout:
        description: How long to wait for a connection, such as V(500ms) or V(5s).
        type: str
        default: 5s
      session_timeout:
        description: ZooKeeper's session timeout, and the time limit for reading.
        type: str
        default: 10s
      username:
        description: The user of ZooKeeper's digest scheme. Needs O(registry.password).
        type: str
      password:
        description: The password of O(registry.username).
        type: str
  services:
    description:
      - The catalogue, which is the only source of HAProxy's options. Replaces the section
        C(services) of O(config). An empty list removes every service.
    type: list
    elements: dict
    suboptions:
      name:
        description: The child of O(registry.root) that holds the instances, and HAProxy's proxy.
        type: str
        required: true
      port:
        description: The port on 127.0.0.1 at which applications reach the service.
        type: int
        required: true
      mode:
        description: The protocol that HAProxy speaks.
        type: str
        choices: [http, tcp]
        default: http
      balance:
        description: How requests are spread. V(source) hashes consistently.
        type: str
        choices: [roundrobin, leastconn, first, random, source]
        default: roundrobin
      instance_port:
        description: The port of instances that are registered without one.
        type: int
      max_connections:
        description: The largest number of connections to one server.
        type: int
      check:
        description: The health check, made by HAProxy, and by the module for new servers.
        type: dict
        suboptions:
          type:
            description: The kind of check. By default V(http) in mode http, and V(tcp) otherwise.
            type: str
            choices: [http, tcp, mysql, redis]
          path:
            description:
              - For V(http), the path to get, by default V(/health). Any 2xx or 3xx is healthy.
            type: str
          interval:
            description: The time between two checks.
            type: str
            default: 2s
          timeout:
            description: How long an answer may take.
            type: str
            default: 1s
          rise:
            description: The number of successes after which a server is up.
            type: int
            default: 2
          fall:
            description: The number of failures after which a server is down.
            type: int
            default: 3
          user:
            description: For V(mysql) and, with a role, V(redis), the user to log in as.
            type: str
          role:
            description: For V(mysql) and V(redis), which role a server has to have.
            type: str
            choices: [primary, replica]
          ca:
            description: For V(redis) with a role, the CA of servers that speak TLS.
            type: path
          flavour:
            description: For V(mysql) with a role, whose way to log in.
            type: str
            choices: [mariadb, mysql]
      timeouts:
        description: HAProxy's timeouts, by default those of its defaults section.
        type: dict
        suboptions:
          connect:
            description: How long a connection to a server may take.
            type: str
          client:
            description: How long a client may be silent.
            type: str
          server:
            description: How long a server may be silent.
            type: str
      breaker:
        description:
          - The circuit breaker, which takes a server out by what real traffic says of it, until its
            check succeeds again. Off without C(observe) and C(error_limit).
        type: dict
        suboptions:
          error_limit:
            description: The number of errors in a row that open it. By default 10.
            type: int
          on_error:
            description: What they do. By default V(mark-down).
            type: str
            choices: [mark-down, fastinter, fail-check, sudden-death]
          observe:
            description:
              - What is an error. V(layer4) is a connection that fails; V(layer7) is also an answer
                that is late or 5xx, and needs mode http, where it is the default.
            type: str
            choices: [layer4, layer7]
          queue:
            description:
              - How many requests may wait for a free connection; others get 503. By default 100.
                It needs C(max_connections).
            type: int
          wait:
            description: For how long each of them waits. By default V(500ms).
            type: str
          slow_start:
            description: How long a server that comes up has a growing share. By default V(0s).
            type: str
      drain:
        description: How long a server that leaves may keep its sessions.
        type: str
        default: 30s
      guards:
        description: What the registry must not do by itself.
        type: dict
        suboptions:
          allow_empty:
            description: Whether the last server may go.
            type: bool
            default: false
          min_servers:
            description: The number of servers below which the registry takes none away.
            type: int
            default: 1
          max_servers:
            description:
              - V(1) where two servers must never have traffic, such as two primaries of a database.
                Without it the number is free; other values are refused.
            type: int
          max_loss:
            description:
              - The largest share, in percent, of its servers that a service loses within C(window).
                V(100) switches this guard off.
            type: int
            default: 100
          window:
            description: The time over which C(max_loss) counts.
            type: str
            default: 1m
          max_registrations:
            description:
              - The number of registrations above which none of them is read, and the service is
                held. C(min_servers) must not be larger.
            type: int
            default: 1000
      zone:
        description: What becomes of instances that are not in the node's O(zone).
        type: dict
        suboptions:
          label:
            description: The label of a registration that names its zone.
            type: str
            default: zone
          others:
            description:
              - V(backup) gives other zones traffic when the node's own has no healthy server, and
                V(weighted) gives them a share of their weight.
            type: str
            choices: [equal, backup, weighted]
            default: equal
          weight:
            description: For V(weighted), that share in percent. By default 10.
            type: int
      endpoint:
        description:
          - The additional endpoint of ServerSet members that is used instead of their main one.
        type: str
  haproxy:
    description:
      - Where HAProxy is. Replaces the section C(haproxy) of O(config).
    type: dict
    suboptions:
      binary:
        description: The program, which checks new configurations.
        type: path
        default: /usr/sbin/haproxy
      config:
        description: The main configuration file, which this module only reads.
        type: path
        default: /etc/haproxy/haproxy.cfg
      services_config:
        description: The services file, HAProxy's second C(-f) file, which belongs to this module.
        type: path
        default: /etc/haproxy/services/services.cfg
      admin_socket:
        description: The stats socket of level admin.
        type: path
        default: /run/haproxy/admin.sock
      master_socket:
        description: The socket of the master's CLI.
        type: path
        default: /run/haproxy/master.sock
      timeout:
        description: How long HAProxy may take to answer.
        type: str
        default: 5s
  state_directory:
    description:
      - The folder with the lock that makes runs on this node take turns. Replaces
        C(state_directory) of O(config), whose default is V(/var/lib/selvage-reconciler).
    type: path
  zone:
    description:
      - The zone that the node is in, for services that prefer their own. Replaces C(zone) of
        O(config).
    type: str
  reload_interval:
    description:
      - The least time between two reloads of HAProxy. Replaces C(reload_interval) of O(config),
        whose default is V(2s).
    type: str
  metrics_file:
    description:
      - The file for Prometheus that is written at the end. Replaces C(metrics_file) of O(config),
        whose default is C(metrics.prom) in O(state_directory).
    type: path
  release:
    description:
      - Services whose guards do not count in this run, so that what they held back is done. It
        leaves nothing behind, the next run heeds the guards again.
    type: list
    elements: str
    default: []
notes:
  - Run it as the user that owns HAProxy's sockets and the services file; root is not needed.
  - Durations are a whole number and a unit, such as V(500ms), V(2s) or V(1m).
"""

EXAMPLES = r"""
- name: Reconcile this node with the catalogue that its daemon has
  haproxy_backends:

- name: Show what would happen, down to the commands for HAProxy's socket
  haproxy_backends:
  check_mode: true
  diff: true

- name: Let go of what the guards of a service hold back
  haproxy_backends:
    release: [inventory]

- name: Reconcile with a catalogue of one's own
  haproxy_backends:
    registry:
      hosts: ["198.18.0.11:2181", "198.18.0.12:2181", "198.18.0.13:2181"]
      username: reader
      password: "{{ vault_registry_password }}"
    services:
      - name: inventory
        port: 3000
        check:
          path: /health
          interval: 1s
        drain: 10s
      - name: cache
        port: 3001
        mode: tcp
        check:
          type: redis
"""

RETURN = r"""
services:
  description: What happened to each service of the catalogue, or would happen in check mode.
  returned: unless the configuration is invalid or the registry cannot be reached
  type: list
  elements: dict
  contains:
    name:
      description: The service.
      type: str
    added:
      description: Servers that were added. A server's name is made of service, address and port.
      type: list
      elements: str
    removed:
      description: Servers that were drained and deleted.
      type: list
      elements: str
    changed:
      description: Servers whose weight, limit or state was changed.
      type: list
      elements: str
    kept:
      description: Servers that are as they were.
      type: list
      elements: str
    draining:
      description:
        - Servers that left and drain still. The daemon, or a later run, deletes them.
        - A run waits up to 15 seconds for them.
      type: list
      elements: str
    held:
      description: Why the service does not follow the registry or the catalogue; null if it does.
      type: str
    drift:
      description: What somebody else had changed in HAProxy or its services file, and was repaired.
      type: list
      elements: str
    held_out:
      description:
        - The registrations that get no traffic because another one has it, where one server alone
          may (C(guards.max_servers)).
      type: list
      elements: dict
      contains:
        child:
          description: The name of the registration's znode, shortened and printable.
          type: str
        reason:
          description: Who has the traffic, and why.
          type: str
    out_of_service:
      description: The registrations that say themselves that they take no traffic.
      type: list
      elements: dict
      contains:
        child:
          description: The name of the registration's znode, shortened and printable.
          type: str
        reason:
          description: What it says.
          type: str
    refused:
      description: The registrations that were refused.
      type: list
      elements: dict
      contains:
        child:
          description: The name of the registration's znode, shortened and printable.
          type: str
        reason:
          description: What is wrong with it.
          type: str
  sample:
    - name: inventory
      added: [inventory_198.18.0.22_8080]
      removed: []
      changed: []
      kept: [inventory_198.18.0.21_8080]
      held: null
      drift: [inventory_198.18.0.21_8080 was put into maintenance]
      held_out: []
      out_of_service: []
      draining: []
      refused:
        - child: "198.18.0.300:8080"
          reason: not an IP address
commands:
  description:
    - The commands sent to HAProxy, one line each, in order. C(reload) goes to the master, the
      others to the stats socket. In check mode, the commands that would be sent.
  returned: unless the configuration is invalid or the registry cannot be reached
  type: list
  elements: str
  sample:
    - >-
      add server inventory/inventory_198.18.0.22_8080 198.18.0.22:8080 weight 1 check inter 2000ms
      rise 2 fall 3; enable server inventory/inventory_198.18.0.22_8080; ...
reloaded:
  description: Whether HAProxy was reloaded.
  returned: unless the configuration is invalid or the registry cannot be reached
  type: bool
problems:
  description:
    - Failures, one line each, that did not keep the rest from being done. The module fails if there
      are any.
  returned: unless the configuration is invalid or the registry cannot be reached
  type: list
  elements: str
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible.module_utils.selvage import catalogue, fields
    from ansible.module_utils.selvage.reconciler import settings
    from ansible.module_utils.selvage.reconciler.reconcile import FAILURES, Result, reconcile
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

REGISTRY = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "root": {"type": "str", "default": "/services"},
    "connect_timeout": {"type": "str", "default": "5s"},
    "session_timeout": {"type": "str", "default": "10s"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
CHECK = {
    "type": {"type": "str", "choices": ["http", "tcp", "mysql", "redis"]},
    "path": {"type": "str"},
    "interval": {"type": "str", "default": "2s"},
    "timeout": {"type": "str", "default": "1s"},
    "rise": {"type": "int", "default": 2},
    "fall": {"type": "int", "default": 3},
    "user": {"type": "str"},
    "role": {"type": "str", "choices": ["primary", "replica"]},
    "ca": {"type": "path"},
    "flavour": {"type": "str", "choices": ["mariadb", "mysql"]},
}
BREAKER = {
    "observe": {"type": "str", "choices": ["layer4", "layer7"]},
    "error_limit": {"type": "int"},
    "on_error": {
        "type": "str",
        "choices": ["mark-down", "fastinter", "fail-check", "sudden-death"],
    },
    "queue": {"type": "int"},
    "wait": {"type": "str"},
    "slow_start": {"type": "str"},
}
TIMEOUTS = {"connect": {"type": "str"}, "client": {"type": "str"}, "server": {"type": "str"}}
SERVICE = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "mode": {"type": "str", "choices": ["http", "tcp"], "default": "http"},
    "balance": {
        "type": "str",
        "choices": ["roundrobin", "leastconn", "first", "random", "source"],
        "default": "roundrobin",
    },
    "instance_port": {"type": "int"},
    "max_connections": {"type": "int"},
    "check": {"type": "dict", "options": CHECK},
    "timeouts": {"type": "dict", "options": TIMEOUTS},
    "breaker": {"type": "dict", "options": BREAKER},
    "drain": {"type": "str", "default": "30s"},
    "guards": {
        "type": "dict",
        "options": {
            "allow_empty": {"type": "bool", "default": False},
            "min_servers": {"type": "int", "default": 1},
            "max_servers": {"type": "int"},
            "max_loss": {"type": "int", "default": 100},
            "window": {"type": "str", "default": "1m"},
            "max_registrations": {"type": "int", "default": 1000},
        },
    },
    "zone": {
        "type": "dict",
        "options": {
            "label": {"type": "str", "default": "zone"},
            "others": {
                "type": "str",
                "choices": ["equal", "backup", "weighted"],
                "default": "equal",
            },
            "weight": {"type": "int"},
        },
    },
    "endpoint": {"type": "str"},
}
HAPROXY = {
    "binary": {"type": "path", "default": "/usr/sbin/haproxy"},
    "config": {"type": "path", "default": "/etc/haproxy/haproxy.cfg"},
    "services_config": {"type": "path", "default": "/etc/haproxy/services/services.cfg"},
    "admin_socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
    "master_socket": {"type": "path", "default": "/run/haproxy/master.sock"},
    "timeout": {"type": "str", "default": "5s"},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "config": {"type": "path", "default": "/etc/selvage/reconciler.json"},
    "registry": {"type": "dict", "options": REGISTRY},
    "services": {"type": "list", "elements": "dict", "options": SERVICE},
    "haproxy": {"type": "dict", "options": HAPROXY},
    "state_directory": {"type": "path"},
    "zone": {"type": "str"},
    "reload_interval": {"type": "str"},
    "metrics_file": {"type": "path"},
    "release": {"type": "list", "elements": "str", "default": []},
}
SECTIONS = (
    "registry",
    "services",
    "haproxy",
    "state_directory",
    "zone",
    "reload_interval",
    "metrics_file",
)


def parse(parameters: dict[str, Any]) -> settings.Settings:
    """The settings: the file's sections, each replaced by the parameter of its name."""
    given = {name: parameters[name] for name in SECTIONS if parameters[name] is not None}
    path = Path(parameters["config"])
    sufficient = {"registry", "services"} <= given.keys()
    document = {} if sufficient and not path.exists() else fields.read_document(path)
    return settings.parse({**document, **given})


def returned(result: Result, *, with_diff: bool) -> dict[str, Any]:
    """What Ansible gets."""
    values: dict[str, Any] = {
        "changed": result.changed,
        "services": [dataclasses.asdict(service) for service in result.services],
        "commands": list(result.commands),
        "reloaded": result.reloaded,
        "problems": list(result.problems),
    }
    if with_diff:
        values["diff"] = [
            {
                "before_header": "services file",
                "after_header": "services file",
                "before": result.before,
                "after": result.after,
            },
            {"prepared": "".join(f"{command}\n" for command in result.commands)},
        ]
    return values


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("kazoo"), exception=str(IMPORT_ERROR))
    # kazoo logs each attempt to connect; the failure is told once, below.
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    try:
        parsed = parse(module.params)
        released = {catalogue.find(parsed.services, name).name for name in module.params["release"]}
        result = reconcile(parsed, dry_run=module.check_mode, released=released)
    except FAILURES as failure:
        module.fail_json(msg=str(failure))
    values = returned(result, with_diff=module._diff)
    for service in result.services:
        if service.held is not None:
            module.warn(f"{service.name} is held: {service.held}")
        for one in service.held_out:
            module.warn(f"{service.name}: {one.child} is held out: {one.reason}")
        for drift in service.drift:
            module.warn(f"{service.name}: {drift} by somebody else")
        for refusal in service.refused:
            module.warn(
                f"{service.name}: registration {refusal.child} is refused: {refusal.reason}"
            )
    if result.problems:
        module.fail_json(msg="; ".join(result.problems), **values)
    module.exit_json(**values)


if __name__ == "__main__":
    main()
