"""Role redis refuses what cannot be meant: one line each, and no secret in any."""

from pathlib import Path

import pytest
import yaml
from plugin_utils import redis

ROLE = Path(__file__).parents[3] / "roles" / "redis"
SECRET = "Correct-horse-battery-staple"
GOOD = {
    **yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()),
    "redis_members": [{"name": f"redis{n}", "address": f"192.0.2.{n}"} for n in (1, 2, 3)],
    "redis_name": "redis1",
    "redis_admin_passwords": [f"{SECRET}-1"],
    "redis_replication_passwords": [f"{SECRET}-2"],
    "redis_sentinel_passwords": [f"{SECRET}-3"],
    "redis_users": [{"name": "app", "passwords": [f"{SECRET}-4"], "commands": "+@read"}],
}


def user(**changes):
    return [{"name": "app", "passwords": [f"{SECRET}-4"], **changes}]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, None),
        ({"redis_admin_passwords": [f"{SECRET}-5", f"{SECRET}-1"]}, None),
        ({"redis_settings": {"save": "900 1", "hz": 50}}, None),
        (
            {"redis_members": GOOD["redis_members"][:2]},
            "redis_members has 2 members: list at least 3",
        ),
        (
            {"redis_members": GOOD["redis_members"] * 2},
            "redis_members: the name redis1 stands twice",
        ),
        ({"redis_name": "redis9"}, "redis_name is 'redis9', but redis_members has redis1, redis2"),
        ({"redis_members": [{"name": "a b", "address": "1"}]}, "redis_members[0].name: expected"),
        ({"redis_port": 26379}, "redis_port, redis_sentinel_port and redis_plain_port are 26379"),
        ({"redis_maxmemory": 1024}, "redis_maxmemory: expected bytes, at least 16 MiB, or 0"),
        ({"redis_tls_key": "key.pem"}, "redis_tls_key: expected an absolute path"),
        ({"redis_admin_passwords": []}, "redis_admin_passwords: expected a list of one password"),
        ({"redis_admin_passwords": SECRET}, "redis_admin_passwords: expected a list of one"),
        ({"redis_admin_passwords": ["short"]}, "redis_admin_passwords[0]: expected 16 to 128"),
        ({"redis_admin_passwords": [f'{SECRET}"\n']}, "redis_admin_passwords[0]: expected 16"),
        (
            {"redis_sentinel_passwords": [f"{SECRET}-1"]},
            "redis_sentinel_passwords[0]: is the same as redis_admin_passwords[0]",
        ),
        (
            {"redis_users": user(passwords=[f"{SECRET}-2"])},
            "redis_users[0].passwords[0]: is the same",
        ),
        (
            {"redis_users": user(name="sentinel")},
            "redis_users: sentinel is a user of the role's own",
        ),
        (
            {"redis_users": user(nopass=True)},
            "redis_users[0].hashes: expected one password",
        ),
        ({"redis_users": user(name="check")}, "redis_users: check is a user of the role's own"),
        ({"redis_users": user(commands="nopass")}, "redis_users[0].commands: expected rules"),
        (
            {"redis_settings": {"replicaof": "a 1"}},
            "redis_settings.replicaof: this one is the role's",
        ),
        ({"redis_settings": {"tls-port": 1}}, "redis_settings.tls-port: this one is the role's"),
        ({"redis_settings": {"user": "x"}}, "redis_settings.user: this one is the role's"),
        (
            {"redis_settings": {"appendonly": True}},
            "redis_settings.appendonly: expected a value as",
        ),
        ({"redis_settings": {"save": '"\nuser x'}}, "redis_settings.save: expected a value as"),
    ],
)
def test_one_line_for_what_is_wrong(changes, line):
    found = redis.problems({**GOOD, **changes})
    if line is None:
        assert found == []
    else:
        assert len(found) == 1, found
        assert found[0].startswith(line)
        assert "\n" not in found[0]
    assert SECRET not in "".join(found)


def test_files_for_servers_hold_hashes_alone():
    hashed = redis.hashed_users(GOOD["redis_users"])
    assert SECRET not in repr(hashed)
    assert "user app on #" in redis.users_file(hashed)
