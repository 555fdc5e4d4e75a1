"""Sites of Nginx: what is refused before anything changes."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nginx_sites import SERVICES, SITE
from plugin_utils.nginx import certificate_names, site_problems
from plugin_utils.nginx_inputs import input_problems


def changed(path, value):
    """The site with another value at one place; `DROP` takes it away."""
    site = copy.deepcopy(SITE)
    *places, last = path
    part = site
    for place in places:
        part = part[place]
    if value is DROP:
        del part[last]
    else:
        part[last] = value
    return site


DROP = object()


def problems(*sites):
    return site_problems([*sites], SERVICES)


def test_a_site_with_everything_is_taken():
    assert problems(SITE) == []


REFUSED = [
    (
        ("locations", 0, "service"),
        "basket",
        "locations[0].service: this host's sidecar has no basket",
    ),
    (("locations", 0, "path"), "shop", "locations[0].path: expected a path that begins with /"),
    (("locations", 0, "path"), "/a b", "locations[0].path: expected a path"),
    (("locations", 0, "path"), "~ ^/a(", "locations[0].path: expected a path"),
    (("locations", 0, "path"), "/../x", "locations[0].path: /../x: nobody asks for such a path"),
    (
        ("locations", 0, "path"),
        "/.selvage/x",
        "locations[0].path: /.selvage/x: nobody asks for such a path",
    ),
    (("locations", 0, "folder"), "/srv", "locations[0].path: / needs one of service, upstream"),
    (
        ("locations", 0, "servise"),
        "x",
        "locations[0].servise: is not a known field; did you mean service?",
    ),
    (("locations", 1, "path"), "/", "locations: the path / stands twice"),
    (("locations", 1, "timeout"), "2 s", "locations[1].timeout: expected a duration"),
    (
        ("locations", 2, "upstream"),
        "lgacy",
        "locations[2].upstream: the site has no upstream lgacy",
    ),
    (
        ("locations", 4, "path"),
        "/static",
        "locations[4].path: /static: a location with a folder ends with /",
    ),
    (("locations", 4, "folder"), "srv", "locations[4].folder: expected an absolute path, got srv"),
    (("locations",), [], "locations: is required"),
    (("locations", 2), DROP, "upstreams: no location uses legacy: take it out"),
    (("server_names",), [], "server_names: is required"),
    (("server_names", 0), "Shop.example", "server_names[0]: expected a DNS name in lower case"),
    (("server_names", 0), "192.0.2.1", "server_names[0]: expected a DNS name"),
    (("server_names", 0), "shop.*", "server_names[0]: expected a DNS name"),
    (("server_names", 0), "*.shop.example", "server_names: the name *.shop.example stands twice"),
    (("name",), "_release", "name: expected up to 32 of a-z, 0-9 and -"),
    (("body",), "5 MB", "body: expected a size such as 10m"),
    (
        ("upstreams", 0, "servers", 0, "address"),
        "legacy.example:80",
        "upstreams[0].servers[0].address: expected an address and a port",
    ),
    (
        ("upstreams", 0, "servers", 0, "address"),
        "192.0.2.5:0",
        "upstreams[0].servers[0].address: expected an address and a port",
    ),
    (
        ("upstreams", 0, "servers", 0, "weight"),
        0,
        "upstreams[0].servers[0].weight: expected a whole number",
    ),
    (
        ("upstreams", 0, "servers"),
        [{"address": "192.0.2.5:80", "backup": True}],
        "upstreams[0].servers: all are backup",
    ),
    (("tls", "key"), DROP, "tls.key: is required"),
    (("tls", "profile"), "modern", "tls.profile: is not a known field"),
    (("limits", "connections"), "many", "limits.connections: expected a whole number"),
    (
        ("locations", 0, "fallback", "page"),
        "sorry.html",
        "locations[0].fallback.page: expected an absolute path",
    ),
]


@pytest.mark.parametrize(("path", "value", "expected"), REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(path, value, expected):
    (line,) = problems(changed(path, value))
    assert line.startswith(f"nginx_sites[0].{expected}")
    assert line.endswith("(site shop)") or path == ("name",)


def test_two_sites_with_one_name_are_refused():
    other = {
        "name": "store",
        "server_names": ["shop.example"],
        "locations": [{"path": "/", "service": "orders"}],
    }
    assert problems(SITE, other) == [
        "nginx_sites: the sites shop and store both have the server name shop.example: give it to"
        " one of them"
    ]
    assert "two sites are called shop" in problems(SITE, {**other, "name": "shop"})[0]


def test_each_bad_site_has_its_line():
    bad = changed(("body",), "x")
    assert len(problems(bad, SITE, changed(("name",), "b c"))) == 2


def places(value, path=()):
    """The place of each text within."""
    if isinstance(value, dict | list):
        for key_, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key_))
    elif isinstance(value, str):
        yield path


@given(
    st.sampled_from(sorted(places(SITE), key=str)),
    st.text(max_size=3),
    st.sampled_from(["\n", ";", "{", "}", '"', "'", "$", "\\", " ", "#", "\0"]),
    st.text(max_size=3),
)
@settings(max_examples=300)
def test_no_character_of_the_configuration_comes_from_a_value(path, before, sign, after):
    value = SITE
    for place in path:
        value = value[place]
    for text in (before + sign + after, value + sign, sign + value):
        assert len(problems(changed(path, text))) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from([(), *((key_,) for key_ in SITE), *places(SITE)]), VALUES)
@settings(max_examples=300)
def test_whatever_stands_there_is_taken_or_refused(path, value):
    lines = site_problems([changed(path, value)] if path else value, SERVICES)
    assert all("\n" not in line and len(line) < 400 for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "nginx_trusted_proxies",
            ["192.0.2.0/33"],
            "nginx_trusted_proxies[0]: expected an address",
        ),
        ("nginx_listen", ["::"], "nginx_listen[0]: expected an IPv4 address"),
        ("nginx_worker_processes", "4;", "nginx_worker_processes: expected auto or a number"),
        ("nginx_shutdown_timeout", "15", "nginx_shutdown_timeout: expected a duration"),
        ("nginx_tls_profile", "old", "nginx_tls_profile: expected one of intermediate, modern"),
        ("nginx_status_port", 0, "nginx_status_port: expected a whole number"),
        ("nginx_services", {"inventory": "3000;"}, "nginx_services.inventory: expected a whole"),
        ("nginx_sites", "shop", "nginx_sites: expected a list, got a string"),
    ],
)
def test_inputs_of_the_role_are_judged_too(name, value, expected):
    inputs = {
        "nginx_sites": [SITE],
        "nginx_services": SERVICES,
        "nginx_trusted_proxies": ["192.0.2.0/24", "2001:db8::/32"],
        "nginx_listen": ["0.0.0.0", "[::]"],
        "nginx_status_port": 8405,
        "nginx_worker_processes": 4,
        "nginx_shutdown_timeout": "15m",
        "nginx_tls_profile": "modern",
        "nginx_tls_certificate": "/etc/selvage/tls/nginx.pem",
        "nginx_tls_key": "/etc/selvage/tls/nginx.pem.key",
    }
    assert input_problems(inputs) == []
    (line,) = input_problems({**inputs, name: value})
    assert line.startswith(expected)


def test_the_fabrics_ca_certifies_what_brings_no_certificate():
    ours = {**SITE, "tls": {"hsts_days": 0}, "server_names": ["b.example", "a.example"]}
    assert certificate_names([SITE, ours, {**SITE, "tls": None}]) == ["a.example", "b.example"]
