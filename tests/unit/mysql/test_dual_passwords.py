"""Passwords of MySQL's accounts: what it keeps of them, and how they rotate in its two places."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selvage.fields import Invalid
from selvage.mysql import caching_sha2, dual_passwords
from selvage.mysql.accounts import Account

# Of MySQL 9.7: CREATE USER a@localhost IDENTIFIED BY 'aaaaaaaaaaaaaaaa'.
KEPT = bytes.fromhex(
    "244124303041241217630E5B69583121447E2839625A4A2847582A2E4167314D714D79345232"
    "6E6C506A4A54436D566A7758376D49306D59496249314B754745524F54453144"
).decode()
PASSWORDS = [f"a-password-number-{number}" for number in range(4)]
HASHES = {password: caching_sha2.hashed(password) for password in PASSWORDS}
words = st.lists(st.sampled_from(PASSWORDS), min_size=1, max_size=2, unique=True)
# Its own one, and the one that it retains.
places = st.lists(st.sampled_from(PASSWORDS), max_size=2)


def row(kept, plugin=caching_sha2.PLUGIN):
    own, retained = [*kept, None, None][:2]
    more = None if retained is None else {"additional_password": retained}
    return json.dumps({"plugin": plugin, "text": own or "", "more": more})


def applied(kept, change):
    """What the server keeps after the statements; it refuses to retain what is not there."""
    own, retained = [*kept, None, None][:2]
    for number, (statement, (_, _, *values)) in enumerate(change.statements):
        assert statement.startswith("CREATE") == (number == 0 and not kept)
        if "DISCARD" in statement:
            assert retained
            retained = None
            continue
        if "RETAIN" in statement:
            assert own
            retained = own
        (own,) = values
    return [text for text in (own, retained) if text is not None]


def let_in(kept):
    return {word for word in PASSWORDS if any(caching_sha2.lets_in(text, word) for text in kept)}


def test_a_hash_is_what_the_server_makes_of_a_password():
    assert caching_sha2.lets_in(KEPT, "a" * 16)
    assert not caching_sha2.lets_in(KEPT, "a" * 15)
    assert not caching_sha2.lets_in("", "")
    made = caching_sha2.hashed("b" * 32)
    assert len(made) == len(KEPT) == 70
    assert caching_sha2.lets_in(made, "b" * 32)


@settings(deadline=None, max_examples=60)
@given(words, places, st.booleans())
def test_these_passwords_let_in_and_then_there_is_nothing_to_do(passwords, found, exact):
    account = Account("shop", "%", tuple(passwords))
    kept = [HASHES[word] for word in found]
    before = {*found}
    try:
        change = dual_passwords.change(account, row(kept) if kept else None, exact=exact)
    except Invalid:
        # Nobody is shut out for want of a place.
        assert not exact
        assert len(before | {*passwords}) > 2 or len(found) > len(before)
        return
    after = kept if change is None else applied(kept, change)
    assert let_in(after) == {*passwords} | (set() if exact else before)
    assert dual_passwords.change(account, row(after), exact=exact) is None


def test_an_account_that_logs_in_otherwise_gets_a_password():
    account = Account("shop", "%", (PASSWORDS[0],))
    for found in (row([""]), row(["x"], plugin="auth_socket")):
        made = dual_passwords.change(account, found, exact=True)
        ((statement, _),) = made.statements
        assert statement == "ALTER USER %s@%s IDENTIFIED WITH caching_sha2_password AS %s"
        assert made.told() == ("", "shop@%: 1 password (hidden), 1 of them new\n")
        assert PASSWORDS[0] not in repr(made)


@pytest.mark.parametrize("found", ["", "[]", "7", "{}", '{"plugin": 1, "text": "", "more": 7}'])
def test_a_row_that_nobody_understands_is_refused(found):
    with pytest.raises(Invalid):
        dual_passwords.in_force(found)
