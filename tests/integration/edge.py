"""Sites of an Nginx in tests, and a client of theirs."""

from __future__ import annotations

import http.client
import json

HOST = "shop.example"


def site(*locations, **more):
    return {"name": "shop", "server_names": [HOST], "locations": [*locations], **more}


def upstream(name, *addresses, **more):
    return {"name": name, "servers": [{"address": address, **more} for address in addresses]}


def ask(nginx, path="/", method="GET", body=None, host=HOST, **headers):
    """The answer with its whole body."""
    link = http.client.HTTPConnection("127.0.0.1", nginx.http, timeout=120)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    link.request(method, path, body, {"Host": host, **names})
    answer = link.getresponse()
    answer.content = answer.read()
    link.close()
    return answer


def log(nginx):
    """The access log, whose lines are all JSON."""
    return [
        json.loads(line) for line in (nginx.folder / "logs/access.log").read_text().splitlines()
    ]
