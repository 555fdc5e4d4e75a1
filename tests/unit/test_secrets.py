"""Secrets of an inventory: what is refused, by its name and without a word of its value."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from authorities import Authority, encrypted, key, pem
from hypothesis import given
from hypothesis import strategies as st
from plugin_utils.secrets import check_secret, secret_problems
from test_fabric_filters import SETTINGS, drawn, problems

from selvage.fields import Invalid

ROOT = Path(__file__).parents[2]
SECRETS = {
    name for name, setting in SETTINGS.items() if setting["type"].endswith(("secret", "secrets"))
}
GOOD = "0f3a9c1be77d42aa5b60"
PASSPHRASE = "fabric_ca_passphrase"
WEB = {"fabric_certificates": [{"name": "web"}]}


def refused(value):
    with pytest.raises(Invalid) as problem:
        check_secret(value, "fabric_x")
    assert "\n" not in str(problem.value)
    return str(problem.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("changeme", "fabric_x: it contains 'changeme', as examples do"),
        ("CHANGE-ME", "it contains 'changeme'"),
        ("MyPassword-0f3a9c1be77d42aa5b60", "it contains 'password'"),
        ("0f3a9c1be77d42aa5b6", "it has 19 characters, and a secret has at least 20"),
        ("", "it has 0 characters"),
        ("0f3a9c1be77d42aa5b60" * 7, "it has 140 characters"),
        ("0f3a9c1be77d 42aa5b60", "letters, digits and"),
        ("0f3a9c1be77d'42aa5b60", "letters, digits and"),
        ("abababababababababababab", "fewer than 8 different"),
        (12345678901234567890, "put it into quotation marks"),
    ],
)
def test_what_is_no_secret(value, reason):
    assert reason in refused(value)


def test_a_good_one():
    check_secret(GOOD, "fabric_x")


@given(st.text(min_size=7))
def test_no_part_of_a_secret_is_told(value):
    try:
        check_secret(value, "")
    except Invalid as problem:
        told = str(problem)
        assert value not in told or value in refused("")


def test_the_example_and_the_lab_have_a_line_for_each():
    for inventory in ("example", "lab"):
        vault = ROOT / f"inventories/{inventory}/group_vars/fabric/vault.yml"
        assert set(yaml.safe_load(vault.read_text())) >= SECRETS
    example = yaml.safe_load((ROOT / "inventories/example/group_vars/fabric/vault.yml").read_text())
    values = [value[0] if isinstance(value, list) else value for value in example.values()]
    assert all("as examples do" in refused(value) for value in values)


def everywhere(**variables):
    return {host: {**variables} for host in ("zk1", "zk2", "app1", "edge1", "ctl1")}


def test_a_missing_one_is_refused_once_something_needs_it():
    assert problems() == []
    (line,) = problems(app1=WEB)
    assert line.startswith(
        "app1, ctl1, edge1 and 2 more: fabric_ca_passphrase: is missing, and certificates of this"
    )


def test_a_bad_one_is_refused_though_nothing_needs_it():
    (line,) = problems(**everywhere(fabric_ca_passphrase="changeme"))
    assert line.startswith("app1, ctl1, edge1 and 2 more: fabric_ca_passphrase: it contains")


def test_one_for_the_whole_fabric():
    changes = everywhere(**{PASSPHRASE: GOOD})
    changes["app1"] = {PASSPHRASE: GOOD[::-1]}
    (line,) = problems(**changes)
    assert "fabric_ca_passphrase: is not the same on all hosts" in line and GOOD[:8] not in line


def test_two_that_are_alike():
    values = {"app1": {"fabric_a": GOOD, "fabric_b": GOOD, "fabric_c": None}}
    (problem,) = secret_problems(values, {"fabric_a": [], "fabric_b": [], "fabric_c": []})
    assert problem[1].startswith("fabric_b: is the same as fabric_a")


def test_the_map_has_none():
    changes = everywhere(fabric_ca_passphrase=GOOD)
    changes["app1"].update(WEB)
    found = drawn(**changes)
    assert found["problems"] == [] and GOOD not in repr(found)
    assert found["authority"] == "ctl1"
    assert "__fabric_authority" in found["hosts"]["ctl1"]["groups"]
    assert all("__fabric_certified" in mine["groups"] for mine in found["hosts"].values())
    assert found["hosts"]["app1"]["certificates"] == [
        {"name": "web", "names": ["app1"], "addresses": ["198.18.0.21"]}
    ]


def test_without_certificates_there_is_no_authority():
    found = drawn()
    assert found["authority"] is None
    assert all("__fabric_certified" not in mine["groups"] for mine in found["hosts"].values())


def of_two_controllers(**more):
    changes = everywhere(fabric_ca_passphrase=GOOD, **more)
    changes["app1"].update(WEB)
    return drawn({"controller": ["ctl1", "edge1"]}, **changes)


def test_which_of_several_controllers_has_the_key_is_said():
    (line,) = of_two_controllers()["problems"]
    assert line.startswith("app1: fabric_ca_host: is missing, 2 hosts are controllers")
    assert of_two_controllers(fabric_ca_host="edge1")["authority"] == "edge1"
    (line,) = of_two_controllers(fabric_ca_host="ctl9")["problems"]
    assert "fabric_ca_host: ctl9 is no host of this fabric" in line


OWN = Authority("our own")


@pytest.mark.parametrize(
    ("certificate", "private", "problem"),
    [
        (pem(OWN.certificate), encrypted(OWN.key, GOOD), None),
        (pem(OWN.certificate), encrypted(OWN.key, GOOD[::-1]), "fabric_ca_passphrase opens"),
        (pem(OWN.certificate), encrypted(key(), GOOD), "is not the key of CN=our own"),
        (
            pem(OWN.issue(key(), ["app1"])),
            encrypted(OWN.key, GOOD),
            "no certificate of an authority",
        ),
        (pem(Authority(days=-1).certificate), encrypted(OWN.key, GOOD), "expired on"),
        ("our-ca.pem", encrypted(OWN.key, GOOD), "there is no certificate in it"),
        (pem(OWN.certificate), "our-key.pem", "fabric_ca_key: expected a private key in PEM"),
        (pem(OWN.certificate), None, "takes fabric_ca_certificate, fabric_ca_key, fabric_ca_pass"),
    ],
)
def test_a_ca_of_ones_own(certificate, private, problem):
    changes = everywhere(
        fabric_ca_passphrase=GOOD, fabric_ca_certificate=certificate, fabric_ca_key=private
    )
    changes["app1"].update(WEB)
    lines = problems(**changes)
    if problem is None:
        assert lines == []
    else:
        assert any(problem in line for line in lines), lines
        assert "our-key" not in str(lines) and GOOD not in str(lines)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"name": "ca"}, "fabric_certificates[0].name: ca is the file"),
        ({"name": "../web"}, "fabric_certificates[0].name: expected up to 32"),
        ({"name": "web", "mode": "0644"}, "fabric_certificates[0].mode: expected a mode without"),
        ({"name": "web", "mode": 416}, "fabric_certificates[0].mode: expected a mode without"),
        ({"name": "web", "addresses": ["192.0.2.300"]}, "192.0.2.300 is not an address"),
        ({"name": "web", "names": ["a b"]}, "names[0]: expected a DNS name"),
        ({"name": "web", "load": ["true"]}, "load: says how `unit` reads its files"),
        ({"name": "web", "unit": "nginx"}, "unit: expected a systemd unit"),
        ({"name": "web", "reload": "x"}, "is not a known field"),
    ],
)
def test_certificates_that_cannot_be_meant(entry, problem):
    changes = everywhere(fabric_ca_passphrase=GOOD)
    changes["app1"]["fabric_certificates"] = [entry]
    (line,) = problems(**changes)
    assert problem in line
