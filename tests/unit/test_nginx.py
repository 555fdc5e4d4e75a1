"""Sites of Nginx: what is refused before anything changes, and what the role's files say."""

from __future__ import annotations

import base64
import copy
import re
from datetime import timedelta

import pytest
from authorities import NOW, Authority, key, pem, public
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_utils.nginx import certificate_names, input_problems, site_problems

import nginx as filters
from nginx_files import rendered

SERVICES = {"inventory": 3000, "orders": 3001}
SITE = {
    "name": "shop",
    "server_names": ["shop.example", "*.shop.example"],
    "upstreams": [
        {
            "name": "legacy",
            "servers": [
                {"address": "192.0.2.5:8080", "weight": 3},
                {"address": "[2001:db8::5]:8080", "max_fails": 1, "fail_timeout": "5s"},
                {"address": "192.0.2.6:8080", "backup": True},
            ],
        }
    ],
    "tls": {"certificate": "/etc/ssl/shop.pem", "key": "/etc/ssl/private/shop.key"},
    "limits": {"requests_per_second": 20, "connections": 10},
    "body": "5m",
    "locations": [
        {"path": "/", "service": "inventory", "fallback": {"stale": True}},
        {"path": "/poll", "service": "inventory", "timeout": "90s"},
        {
            "path": "/quick",
            "exact": True,
            "upstream": "legacy",
            "timeout": "2s",
            "fallback": {"page": "/srv/sorry.html", "retry_after": "1m"},
        },
        {"path": "/live", "service": "orders", "websocket": True},
        {"path": "/static/", "folder": "/srv/static", "cache": "1h"},
    ],
}


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


# What the files say


def files(*sites, **variables):
    return rendered({"nginx_sites": [*sites], "nginx_services": SERVICES, **variables})


def test_the_missions_settings_stand_there():
    text = files(nginx_worker_processes=4)["nginx.conf"]
    for line in (
        "worker_processes 4;",
        "worker_connections 4096;",
        "multi_accept on;",
        "use epoll;",
        "server_tokens off;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header Host $host;",
    ):
        assert re.search(rf"^ *{re.escape(line)}$", text, re.MULTILINE)
    assert "non_idempotent;" not in text


def test_one_file_for_each_site():
    other = {**SITE, "name": "other", "server_names": ["other.example"]}
    assert [*files(SITE, other)] == ["nginx.conf", "sites/shop.conf", "sites/other.conf"]


def test_a_site_says_what_it_is_told():
    text = files(SITE)["sites/shop.conf"]
    for line in (
        "server 192.0.2.5:8080 weight=3 max_fails=3 fail_timeout=10s;",
        "server [2001:db8::5]:8080 weight=1 max_fails=1 fail_timeout=5s;",
        "server 192.0.2.6:8080 weight=1 max_fails=3 fail_timeout=10s backup;",
        "server 127.0.0.1:3000 weight=1 max_fails=0;",
        "proxy_read_timeout 90000ms;",
        "proxy_read_timeout 2000ms;",
        "proxy_connect_timeout 2000ms;",
        "limit_req zone=shop.requests burst=40 nodelay;",
        "limit_conn shop.connections 10;",
        "ssl_certificate /etc/ssl/shop.pem;",
        "return 308 https://$host$request_uri;",
        "alias /srv/static/;",
        "expires 3600s;",
        "add_header Retry-After 60 always;",
        'add_header Strict-Transport-Security "max-age=63072000" always;',
    ):
        assert f" {line}\n" in text


def test_limits_are_off_unless_asked_for():
    text = files({**SITE, "limits": None})["sites/shop.conf"]
    assert "limit_" not in text


def test_http2_in_the_words_of_each_version():
    former = files(SITE, __nginx_http2_on=False)["sites/shop.conf"]
    later = files(SITE, __nginx_http2_on=True)["sites/shop.conf"]
    assert "ssl http2;" in former
    assert "http2 on;" not in former
    assert "http2 on;" in later
    assert "ssl http2;" not in later


def test_each_location_repeats_the_sites_headers():
    """Where a location adds a header of its own, Nginx forgets those of its server."""
    text = files(SITE)["sites/shop.conf"]
    opened = len(re.findall(r"^    location ", text, re.MULTILINE))
    assert text.count("add_header Strict-Transport-Security") == opened
    assert text.count("add_header X-Request-ID") == opened


# Certificates that an operator brought

FILE = {"certificate": "/etc/ssl/shop.pem", "key": "/etc/ssl/shop.key", "sites": ["shop"]}
OURS, KEY = Authority(), key()


def told(certificate, private=KEY):
    content = (
        {"content": base64.b64encode(certificate.encode()).decode()}
        if certificate is not None
        else {"failed": True}
    )
    answer = {"rc": 1, "stdout": ""} if private is None else {"rc": 0, "stdout": public(private)}
    return filters.nginx_certificate_problems([FILE], [content], [answer], NOW)


def test_a_certificate_has_to_fit_its_key_and_the_day():
    good = OURS.issue(KEY, ["shop.example"])
    assert told(pem(good)) == []
    past = OURS.issue(KEY, ["shop.example"], days=-1)
    for problem, words in (
        (told(pem(good), key()), "/etc/ssl/shop.pem does not fit its key /etc/ssl/shop.key: "),
        (told(pem(past)), "/etc/ssl/shop.pem expired on 2026-11-21 12:00 UTC: renew it"),
        (told(pem(good), None), "/etc/ssl/shop.pem has no key in /etc/ssl/shop.key: bring it"),
        (told(None), "/etc/ssl/shop.pem is not there: put it on the host"),
        (told("x"), "/etc/ssl/shop.pem is no certificate in PEM: "),
    ):
        (line,) = problem
        assert line.startswith(f"site shop: {words}")
    future = Authority(now=NOW + timedelta(days=3651)).issue(
        KEY, ["shop.example"], now=NOW + timedelta(days=3651)
    )
    assert "is not valid before" in told(pem(future))[0]


def test_files_are_looked_at_once():
    sites = [
        {"name": "a", "tls": {"certificate": "/c", "key": "/k"}},
        {"name": "b", "tls": {"certificate": "/c", "key": "/k"}},
        {"name": "c", "tls": {"certificate": None, "key": None}},
        {"name": "d", "tls": None},
    ]
    assert filters.nginx_files(sites) == [{"certificate": "/c", "key": "/k", "sites": ["a", "b"]}]


# Nginx's own complaints

DEFAULTS = {"certificate": "/etc/selvage/tls/nginx.pem", "key": "/etc/selvage/tls/nginx.pem.key"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            ['nginx: [emerg] unknown "x" in /etc/nginx/selvage/release.aB/sites/shop.conf:7'],
            'site shop: unknown "x" in sites/shop.conf:7',
        ),
        (
            ['nginx: [emerg] cannot load "/etc/selvage/tls/nginx.pem": no such file'],
            'site b: cannot load "/etc/selvage/tls/nginx.pem": no such file',
        ),
        (
            [
                "",
                "2026/11/22 13:26:06 [emerg] 17#18: bind() to 0.0.0.0:80 failed (98: In use)\n"
                "2026/11/22 13:26:06 [emerg] 17#18: still could not bind()",
            ],
            "bind() to 0.0.0.0:80 failed (98: In use)",
        ),
        (["", "", "Unable to start\nservice"], "Unable to start service"),
        ([""], "it says nothing"),
    ],
)
def test_a_refusal_names_the_site(said, expected):
    sites = [
        {"name": "a", "tls": {"certificate": "/c", "key": "/k"}},
        {"name": "b", "tls": {"certificate": None, "key": None}},
    ]
    assert filters.nginx_refusal(said, sites, DEFAULTS) == expected
