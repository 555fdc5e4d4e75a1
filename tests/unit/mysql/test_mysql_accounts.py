"""Which passwords let an account in, and what a server is told of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.fields import Invalid
from selvage.mysql import accounts
from selvage.mysql.accounts import Account

PASSWORDS = [f"a-password-number-{number}" for number in range(4)]
HASHES = [accounts.hashed(password) for password in PASSWORDS]
wanted = st.lists(st.sampled_from(PASSWORDS), min_size=1, max_size=2, unique=True)
NATIVE = "mysql_native_password"


def way(text, plugin=NATIVE):
    return {"plugin": plugin, "authentication_string": text}


ways = st.lists(
    st.sampled_from(
        [*map(way, HASHES), way(""), way("invalid"), {"plugin": "unix_socket"}, way("x", "ed25519")]
    ),
    min_size=1,
    max_size=3,
)


def privileges(found):
    """As MariaDB writes them; an empty way stands for the first."""
    first, *others = found
    more = {"auth_or": [{}, *others]} if others else {}
    return json.dumps({"access": 0, "version_id": 101119, **first, **more})


def after(change):
    """The row that the statement leaves."""
    ((statement, (_, _, *hashes)),) = change.statements
    assert statement.count(f"{NATIVE} USING %s") == len(hashes)
    return privileges([way(text) for text in hashes])


def test_a_hash_is_what_the_server_makes_of_a_password():
    # SELECT PASSWORD('newnewnewnewnew1') of MariaDB 10.11.
    assert accounts.hashed("newnewnewnewnew1") == "*10A73EDA08646D576F78F3E87E9D93E28921160C"


@given(wanted, st.none() | ways)
def test_widening_lets_in_and_shuts_no_password_out(passwords, found):
    account = Account("shop", "%", tuple(passwords))
    hashes = [accounts.hashed(password) for password in passwords]
    row = None if found is None else privileges(found)
    before = set() if row is None else {*accounts.in_force(row)}
    change = accounts.change(account, row, exact=False)
    assert (change is None) == (before >= {*hashes})
    if change is not None:
        assert {*accounts.in_force(after(change))} == before | {*hashes}
        # Clients of the new one need no second question.
        assert change.statements[0][1][2] == hashes[0]
        assert accounts.change(account, after(change), exact=False) is None


@given(wanted, st.none() | ways)
def test_narrowing_leaves_these_passwords_alone_and_then_nothing_to_do(passwords, found):
    account = Account("shop", "%", tuple(passwords))
    hashes = [accounts.hashed(password) for password in passwords]
    row = None if found is None else privileges(found)
    change = accounts.change(account, row, exact=True)
    if change is not None:
        assert {*accounts.in_force(after(change))} == {*hashes}
        assert accounts.change(account, after(change), exact=True) is None
    elif row is not None:
        assert {*accounts.in_force(row)} == {*hashes}


def test_who_is_told_what():
    account = Account("shop", "198.18.%", (PASSWORDS[0], PASSWORDS[1]))
    made = accounts.change(account, None, exact=True)
    ((statement, values),) = made.statements
    assert statement == (
        f"CREATE USER IF NOT EXISTS %s@%s IDENTIFIED VIA {NATIVE} USING %s OR {NATIVE} USING %s"
    )
    assert values == ("shop", "198.18.%", HASHES[0], HASHES[1])
    assert made.told() == ("", "shop@198.18.%: 2 passwords (hidden), 2 of them new\n")
    rotated = accounts.change(account, privileges([way(HASHES[1])]), exact=True)
    assert rotated.statements[0][0].startswith("ALTER USER %s@%s IDENTIFIED VIA ")
    assert rotated.told() == (
        "shop@198.18.%: 1 password (hidden)\n",
        "shop@198.18.%: 2 passwords (hidden), 1 of them new\n",
    )
    assert not any(text in repr((account, made, rotated)) for text in HASHES + PASSWORDS)


@pytest.mark.parametrize("found", ["", "[]", "7", '{"auth_or": 7}', '{"auth_or": [[]]}'])
def test_a_row_that_nobody_understands_is_refused(found):
    with pytest.raises(Invalid):
        accounts.in_force(found)


MASTER_INFO = "33\nbinlog.000002\n344\n198.18.0.61\nreplication\na-secret\n3306\n5\n1\n" + "\n" * 40


def test_a_replica_wrote_down_its_password():
    assert accounts.replica_password(MASTER_INFO, "replication") == "a-secret"


@pytest.mark.parametrize(
    "text",
    ["", "binlog.000002\n4", "33\nbinlog", "4\na\nb\nc\nreplication\nd\n",
     MASTER_INFO.replace("replication", "somebody")],
)  # fmt: skip
def test_another_file_is_refused_and_not_told(text):
    with pytest.raises(Invalid) as refused:
        accounts.replica_password(text, "replication")
    assert "a-secret" not in str(refused.value)
