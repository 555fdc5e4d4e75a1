"""Users: what a server is told, so that who is let in stays in while passwords change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.fields import Invalid
from selvage.redis import users
from selvage.redis.users import Account, User

digests = st.sampled_from([character * 64 for character in "abc"])
hashes = st.lists(digests, min_size=1, max_size=2, unique=True)
rule_sets = st.sampled_from([("-@all", "+ping"), ("-@all", "+info"), ("~*", "-@all", "+@read")])
wanted_users = st.builds(lambda found, rules: User("app", tuple(found), rules), hashes, rule_sets)
open_users = st.builds(lambda rules: User("app", (), rules, nopass=True), rule_sets)
accounts = (
    st.none()
    | st.builds(Account, st.booleans(), st.frozensets(digests), rule_sets)
    | st.builds(Account, st.booleans(), st.just(frozenset()), rule_sets, st.just(True))
)


def told(has, words):
    """What the server makes of ACL SETUSER."""
    if not words:
        return has
    if words[0] == "reset":
        has = Account(False, frozenset(), ())
    enabled = has.enabled or "on" in words
    added = {word[1:] for word in words if word.startswith("#")}
    rules = tuple(w for w in words if w not in ("reset", "on", "nopass") and not w.startswith("#"))
    if "nopass" in words:
        return Account(enabled, frozenset(), rules or has.rules, nopass=True)
    nopass = has.nopass and not added
    return Account(enabled, has.hashes | added, rules or has.rules, nopass)


@given(wanted_users | open_users, accounts)
def test_widening_lets_in_and_shuts_nobody_out(user, has):
    now = told(has, users.widening(user, has))
    assert now.enabled
    assert now.passes >= set(user.passes)
    if has is not None and has.enabled and not user.nopass:
        assert now.hashes >= has.hashes
        assert now.rules == has.rules
    assert users.widening(user, now) == ()


@given(wanted_users | open_users, accounts)
def test_narrowing_makes_the_user_exactly_that_and_then_nothing(user, has):
    tried = Account(False, frozenset(), user.rules)
    now = told(has, users.narrowing(user, has, tried))
    assert now == Account(True, frozenset(user.hashes), user.rules, user.nopass)
    assert users.narrowing(user, now, tried) == ()


def test_the_file_has_no_default_user_and_no_password():
    given_users = [
        {
            "name": "app",
            "hashes": ["a" * 64],
            "keys": ["a:*"],
            "channels": ["c"],
            "commands": "+get",
        }
    ]
    assert users.text(users.parse(given_users, "users")) == (
        "user default off sanitize-payload resetchannels -@all\n"
        f"user app on #{'a' * 64} ~a:* resetchannels &c -@all +get\n"
    )


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"name": "default"}, "users[0].name: default is nobody's"),
        ({"name": "a b"}, "users[0].name: expected a name of letters, digits and ._-, got 'a b'"),
        ({"keys": ["a b"]}, "users[0].keys[0]: expected a pattern without blanks"),
        ({"keys": ["a\nuser x on nopass"]}, "users[0].keys[0]: expected a pattern"),
        ({"commands": "+get nopass"}, "users[0].commands: expected rules such as"),
        ({"commands": "+get\nuser x"}, "users[0].commands: expected rules such as"),
        ({"hashes": []}, "users[0].hashes: expected one password, or two"),
        ({"hashes": ["x"]}, "users[0].hashes[0]: expected a SHA-256"),
        ({"nopass": True}, "users[0].hashes: expected one password, or two"),
        ({"password": "x"}, "users[0].password: is not a known field"),
    ],
)
def test_what_no_user_may_have(user, message):
    with pytest.raises(Invalid) as told_why:
        users.parse([{"name": "app", "hashes": ["a" * 64], **user}], "users")
    assert str(told_why.value).startswith(message)
