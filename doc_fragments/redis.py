"""What the documentation of Redis's modules shares: module_utils/selvage/redis/arguments.py."""


class ModuleDocFragment:
    """By the names that modules extend their documentation with: `redis.access` and so on."""

    # Who asks.
    ACCESS = r"""
options:
  user:
    description: The user of Redis and Sentinel who asks.
    type: str
    required: true
  passwords:
    description: The user's password, or two while they rotate; the first one that is taken counts.
    type: list
    elements: str
    required: true
  ca:
    description: The file with the CA that signed the certificates of the servers.
    type: path
    required: true
  timeout:
    description: Seconds for each answer.
    type: int
    default: 5
"""

    # All members are asked.
    MEMBERS = r"""
options:
  members:
    description: All members. The first one is the primary while there is no data anywhere.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The member's name, for messages.
        type: str
        required: true
      address:
        description: Its IPv4 address.
        type: str
        required: true
  port:
    description: The port of the servers, with TLS.
    type: int
    required: true
  sentinel_port:
    description: The port of the Sentinels, with TLS.
    type: int
    required: true
"""

    # One server or Sentinel is asked.
    ONE = r"""
options:
  address:
    description: The IPv4 address to ask.
    type: str
    required: true
  port:
    description: The port to ask, with TLS.
    type: int
    required: true
"""

    # And told.
    SETTINGS = r"""
attributes:
  check_mode:
    support: full
    description: Nothing is set.
  diff_mode:
    support: full
    description: Former and new values, of O(secrets) the names alone.
options:
  settings:
    description: Settings by name, with the values that the program itself gives for them.
    type: dict
    required: true
  secrets:
    description: Settings whose values are never shown.
    type: dict
    default: {}
"""
