"""What role nginx writes, what it says of certificates, and of Nginx's own complaints."""

from __future__ import annotations

import base64
import re
from datetime import timedelta

import pytest
from authorities import NOW, Authority, key, pem, public
from nginx_sites import SERVICES, SITE

import nginx as filters
from nginx_files import rendered


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
        "limit_req zone=shop.limit.requests burst=40 nodelay;",
        "limit_conn shop.limit.connections 10;",
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
