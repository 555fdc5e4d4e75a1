"""A site of Nginx with everything that one may have."""

from __future__ import annotations

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
