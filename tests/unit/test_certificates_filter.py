"""Filters of role certificates: what is due, and what is refused with one line."""

from __future__ import annotations

import base64

import pytest
from authorities import NOW, Authority, key, pem, public, request
from cryptography import x509
from plugin_utils.x509 import authority_problem

import certificates

WANTED = {"name": "web", "names": ["app1"], "addresses": ["192.0.2.1"]}
NAMES = ["app1", "192.0.2.1"]
DAYS = {"valid": 180, "renew": 60}
OURS = Authority()
KEY = key()
ABSENT = {"failed": True, "msg": "file not found"}
NO_KEY = {"can_load_key": False}


def file(text):
    return {"content": base64.b64encode(text.encode()).decode()}


def key_file(private=KEY):
    return {"can_load_key": True, "public_key": public(private)}


def planned(certificate, private=None, authority=OURS, wanted=WANTED, days=DAYS):
    text = (
        certificate if isinstance(certificate, str) else pem(certificate) if certificate else None
    )
    (entry,) = certificates.certificate_plan(
        [wanted],
        [ABSENT if text is None else file(text)],
        [private or key_file()],
        pem(*authority.chain),
        "/etc/selvage/tls",
        days,
        NOW,
    )
    return entry


def test_nothing_is_there():
    entry = planned(None, NO_KEY)
    assert (entry["problem"], entry["reason"], entry["keyless"]) == ("", "there is none", True)
    assert entry["not_after"] == "20270521120000Z"
    # A run that was interrupted after the key.
    assert planned(None)["keyless"] is False


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (61, ""),
        (59, "it expires on 2027-01-20 12:00 UTC"),
        (-1, "it expired on 2026-11-21 12:00 UTC"),
    ],
)
def test_it_is_renewed_before_it_ends(days, reason):
    entry = planned(OURS.issue(KEY, NAMES, days=days))
    assert (entry["problem"], entry["reason"]) == ("", reason)


def test_nothing_outlives_the_authority_and_is_renewed_for_that_reason():
    ending = Authority(days=30)
    entry = planned(None, authority=ending)
    assert entry["not_after"] == "20261222120000Z"
    assert planned(ending.issue(KEY, NAMES, days=30), authority=ending)["reason"] == ""


@pytest.mark.parametrize(
    "wanted",
    [
        {**WANTED, "names": ["app1", "more"]},
        {**WANTED, "names": ["app2"]},
        {**WANTED, "addresses": []},
        {**WANTED, "addresses": ["192.0.2.2"]},
    ],
)
def test_other_names_are_another_certificate(wanted):
    assert planned(OURS.issue(KEY, NAMES), wanted=wanted)["reason"] == "its names have changed"


def test_the_same_names_in_another_order_are_the_same():
    wanted = {**WANTED, "names": ["app1", "b", "a"]}
    assert planned(OURS.issue(KEY, ["app1", "192.0.2.1", "a", "b"]), wanted=wanted)["reason"] == ""


def test_a_name_that_is_too_long_for_a_common_name():
    long = "a" * 63 + ".example"
    wanted = {"name": "web", "names": [long]}
    assert planned(OURS.issue(KEY, [long]), wanted=wanted)["reason"] == ""


def test_intermediates_are_sent_and_the_root_is_not():
    root = Authority("root")
    between = Authority("between", above=root)
    mine = between.issue(KEY, NAMES)
    text = certificates.certificate_text(pem(mine), pem(*between.chain))
    assert text == pem(mine, between.certificate)
    assert planned(text, authority=between)["reason"] == ""
    assert "CA's own certificates" in planned(pem(mine), authority=between)["reason"]


def test_an_authority_that_has_expired_issues_nothing():
    entry = planned(None, NO_KEY, authority=Authority(days=-1))
    assert entry["problem"].startswith(
        "the fabric's CA cannot issue web: CN=fabric CA expired on 2026-11-21 12:00 UTC"
    )


FOREIGN = Authority("other CA")
SAME_NAME = Authority()


@pytest.mark.parametrize(
    ("certificate", "private", "problem"),
    [
        (FOREIGN.issue(KEY, NAMES), None, "is of a foreign CA (CN=other CA), and this fabric's is"),
        (SAME_NAME.issue(KEY, NAMES), None, "is of a foreign CA (CN=fabric CA)"),
        (OURS.issue(key(), NAMES), None, "web.pem.key is not the key of /etc/selvage/tls/web.pem"),
        (OURS.issue(KEY, NAMES), NO_KEY, "web.pem has lost its key, /etc/selvage/tls/web.pem.key"),
        ("rubbish", None, "web.pem is no certificate"),
        (None, {"can_load_key": True}, "web.pem.key is no private key without a passphrase"),
        (OURS.issue(KEY, NAMES), {"can_load_key": True}, "web.pem.key is no private key"),
    ],
)
def test_what_nobody_but_the_operator_may_replace(certificate, private, problem):
    entry = planned(certificate, private)
    assert problem in entry["problem"] and "\n" not in entry["problem"]
    assert entry["reason"] == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (request(KEY, NAMES), ""),
        (request(KEY, ["app1", "192.0.2.1", "db1"]), "DNS:app1, DNS:db1, IP:192.0.2.1"),
        (request(KEY, ["app1"]), "DNS:app1, or other uses"),
        (request(KEY, NAMES, name="db1"), "CN=db1"),
        (request(KEY, NAMES, ca=True), "other uses"),
        ("rubbish", "the request for web is none"),
        (request(KEY, NAMES, more=[x509.OCSPNoCheck()]), "other uses"),
    ],
)
def test_a_host_gets_what_the_inventory_says_and_nothing_else(text, problem):
    found = certificates.request_problem(text, WANTED)
    assert bool(found) == bool(problem) and problem in found


def verdict(certificate=OURS, private=OURS.key):
    text = pem(*certificate.chain) if isinstance(certificate, Authority) else certificate
    return certificates.authority_verdict(
        ABSENT if text is None else file(text),
        {"can_load_key": True, "public_key": public(private)} if private else NO_KEY,
        "/etc/selvage/ca",
        "ctl1",
        NOW,
    )


def test_an_authority_that_can_issue():
    assert verdict() == ""
    assert verdict(None, None) == ""
    # A run that was interrupted after the key, or a CA to be renewed with it.
    assert verdict(None) == ""


@pytest.mark.parametrize(
    ("certificate", "private", "problem"),
    [
        (Authority(days=-1, key_of=KEY), KEY, "CN=fabric CA expired on 2026-11-21 12:00 UTC"),
        (OURS, None, "the key of the fabric's CA is gone from /etc/selvage/ca/key.pem on ctl1"),
        (OURS, KEY, "key.pem on ctl1 is not the key of /etc/selvage/ca/certificate.pem"),
        ("rubbish", KEY, "there is no certificate in it"),
    ],
)
def test_an_authority_that_cannot(certificate, private, problem):
    found = verdict(certificate, private)
    assert problem in found and "\n" not in found


def test_a_passphrase_that_does_not_open_it():
    found = certificates.authority_verdict(
        file(pem(OURS.certificate)), {"can_load_key": True}, "/etc/selvage/ca", "ctl1"
    )
    assert found.startswith("fabric_ca_passphrase does not open the key of the fabric's CA")


def test_the_inventorys_authority_replaces_no_other_one():
    def given(there, new):
        return certificates.authority_given(
            file(pem(*there.chain)), pem(*new.chain), "/etc/selvage/ca", "ctl1"
        )

    assert "fabric_ca_certificate is CN=other CA, but ctl1 has the CA" in given(OURS, FOREIGN)
    assert given(OURS, Authority("fabric CA", days=9999, key_of=OURS.key)) == ""


def test_a_new_authority_is_not_trusted_by_who_trusted_another_one():
    def trusted(text):
        return certificates.trust_problem(text, pem(*OURS.chain), "/etc/selvage/tls/ca.pem")

    assert trusted(ABSENT) == "" and trusted(file(pem(*OURS.chain))) == ""
    assert trusted(file(pem(Authority(days=9999, key_of=OURS.key).certificate))) == ""
    assert trusted(file(pem(*SAME_NAME.chain))).startswith(
        "/etc/selvage/tls/ca.pem is of another CA (CN=fabric CA) than this fabric's (CN=fabric CA)"
    )
    assert "there is no certificate in it" in trusted(file("rubbish"))


def test_chains_of_authorities():
    root = Authority("root")
    between = Authority("between", above=root)
    leaf = OURS.issue(KEY, NAMES)
    assert authority_problem(between.chain, NOW) is None
    assert "append the certificates" in authority_problem(between.chain[:1], NOW)
    assert "was not issued by CN=fabric CA" in authority_problem(
        [between.certificate, OURS.certificate], NOW
    )
    assert "no certificate of an authority" in authority_problem([leaf], NOW)


def unread(written, started=100, told=None, state="active", authority=0):
    stamp = {"exists": False} if told is None else {"exists": True, "mtime": told}
    found = certificates.certificates_unread(
        [WANTED],
        [{"stat": {"exists": True, "mtime": written}}],
        [{"stdout": f"ActiveState={state}\nActiveEnterTimestamp=@{started}"}],
        [{"stat": stamp}],
        {"stat": {"exists": True, "mtime": authority}},
    )
    return found == [WANTED]


def test_who_has_not_read_what_is_new():
    assert not unread(written=90)
    assert unread(written=110.5)
    # A run that was interrupted before it told the program, long ago.
    assert unread(written=110.5, told=105.0)
    assert not unread(written=110.5, told=110.9)
    assert not unread(written=110.5, state="inactive")
    # Started in the very second: which came first, nobody can tell.
    assert unread(written=100.4)
    assert unread(written=90, authority=110.0)
