"""What Nginx serves: sites as an inventory declares them, validated, with all defaults filled in.

Each value that goes into a file has a grammar of its own, in which no character is one that Nginx's
configuration would interpret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from selvage.catalogue import SERVICE_NAME
from selvage.fields import Fields, Invalid, unique

Site = dict[str, Any]

PROFILES = ("intermediate", "modern")
# Of the fabric's CA: role certificates has put it where `nginx_tls_certificate` says.
FABRIC = "fabric"
_WORD = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
_A_WORD = "up to 32 of a-z, 0-9 and -"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# The last label has a letter: clients name no address when they ask for a certificate.
_HOST = rf"(?=.{{1,253}}\Z)(\*\.)?({_LABEL}\.)*(?!\d+\Z){_LABEL}"
_PATH = r"/[A-Za-z0-9._~/@+-]{0,255}"
_SIZE = r"[1-9][0-9]{0,5}[kmg]"
_RESERVED = "/.selvage"
_TARGETS = ("service", "upstream", "folder")
# Long enough for what a person waits for; an idle WebSocket lasts longer.
_TIMEOUT, _WEBSOCKET_TIMEOUT = "30s", "1h"
# A server that takes no connection within this is not there.
_CONNECT_MS = 5_000


def parse_sites(value: object, services: Mapping[str, int]) -> list[Site]:
    """The sites as the templates take them; raises `Invalid` with the first thing that is wrong."""
    problems = site_problems(value, services)
    if problems:
        raise Invalid(problems[0])
    return [_site(row, services) for row in _rows(value)]


def site_problems(value: object, services: Mapping[str, int]) -> list[str]:
    """One line for each site that cannot be meant; `services` are the sidecar's, with ports."""
    sites, problems = [], []
    try:
        rows = _rows(value)
    except Invalid as problem:
        return [str(problem)]
    for row in rows:
        try:
            sites.append(_site(row, services))
        except Invalid as problem:
            problems.append(f"{problem}{_called(value, row)}")
    owners: dict[str, str] = {}
    names: set[str] = set()
    for site in sites:
        if site["name"] in names:
            problems.append(f"nginx_sites: two sites are called {site['name']}: rename one")
        names.add(site["name"])
        for name in site["server_names"]:
            other = owners.setdefault(name, site["name"])
            if other != site["name"]:
                text = f"the sites {other} and {site['name']} both have the server name {name}"
                problems.append(f"nginx_sites: {text}: give it to one of them")
    return problems


def _rows(value: object) -> list[Fields]:
    return Fields({"nginx_sites": value}, "").tables("nginx_sites")


def _called(value: object, row: Fields) -> str:
    """Whom a line is about, where the site has a name that can be told."""
    index = int(row.where.rpartition("[")[2].rstrip("]"))
    name = value[index].get("name") if isinstance(value, list) else None
    return f" (site {name})" if isinstance(name, str) and re.fullmatch(_WORD, name) else ""


def input_problems(inputs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the inputs of role nginx, by the names of its variables."""
    problems = []
    fields = Fields(inputs, "")
    for check in (
        lambda: fields.mapping("nginx_services"),
        lambda: fields.integer("nginx_status_port", 1, 65_535),
        lambda: _workers(fields, "nginx_worker_processes"),
        lambda: fields.duration("nginx_shutdown_timeout", "1s", "24h"),
        lambda: fields.choice("nginx_tls_profile", PROFILES),
        lambda: fields.path("nginx_tls_certificate"),
        lambda: fields.path("nginx_tls_key"),
        lambda: _networks(fields, "nginx_trusted_proxies"),
        lambda: _addresses(fields, "nginx_listen"),
    ):
        try:
            check()
        except Invalid as problem:
            problems.append(str(problem))
    return problems + site_problems(inputs["nginx_sites"], inputs["nginx_services"] or {})


def _workers(fields: Fields, name: str) -> None:
    try:
        fields.integer(name, 1, 512)
    except Invalid:
        fields.text(name, "auto", "auto or a number")


def _networks(fields: Fields, name: str) -> None:
    expected = "an address or a network, such as 192.0.2.0/24"
    for index, text in enumerate(fields.texts(name, "[0-9A-Fa-f:./]{2,64}", expected)):
        try:
            ip_network(text)
        except ValueError as problem:
            raise fields.fail(f"{name}[{index}]", f"expected {expected}: {problem}") from None


def _addresses(fields: Fields, name: str) -> None:
    expected = "an IPv4 address, or an IPv6 address in brackets"
    for index, text in enumerate(
        fields.texts(name, r"[0-9.]{7,15}|\[[0-9a-f:.]{2,45}\]", expected)
    ):
        if not _is_address(text.strip("[]")):
            raise fields.fail(f"{name}[{index}]", f"{text} is not an address")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _site(row: Fields, services: Mapping[str, int]) -> Site:
    name = row.text("name", _WORD, _A_WORD)
    names = row.texts("server_names", _HOST, "a DNS name in lower case, such as shop.example")
    if not names:
        raise row.fail("server_names", "is required: under which names do clients ask for it?")
    unique(names, row.at("server_names"), "name")
    declared = [_upstream(fields) for fields in row.tables("upstreams")]
    unique((one["name"] for one in declared), row.at("upstreams"), "name")
    upstreams = {one["name"]: one for one in declared}
    body = row.text("body", _SIZE, "a size such as 10m", "10m")
    locations = [
        _location(fields, name, services, upstreams, body) for fields in row.tables("locations")
    ]
    if not locations:
        raise row.fail("locations", "is required: what does the site serve?")
    paths = [f"= {one['path']}" if one["exact"] else one["path"] for one in locations]
    unique(paths, row.at("locations"), "path")
    used = {one["upstream"]: one["servers"] for one in locations if one["kind"] == "proxy"}
    site = {
        "name": name,
        "server_names": names,
        "body": body,
        "locations": locations,
        "upstreams": [{"name": key, "servers": used[key]} for key in sorted(used)],
        "tls": _tls(row.table("tls")) if row.has("tls") else None,
        "limits": _limits(row.table("limits")),
    }
    for unused in upstreams:
        if f"{name}.{unused}" not in used:
            raise row.fail("upstreams", f"no location uses {unused}: take it out")
    row.done()
    return site


def _upstream(fields: Fields) -> dict[str, Any]:
    """Servers that are none of the fabric's."""
    name = fields.text("name", _WORD, _A_WORD)
    servers = [_server(server) for server in fields.tables("servers")]
    if not servers:
        raise fields.fail("servers", "is required: to whom do the requests go?")
    unique((server["address"] for server in servers), fields.at("servers"), "address")
    if all(server["backup"] for server in servers):
        raise fields.fail("servers", "all are backup: one at least has to have traffic")
    fields.done()
    return {"name": name, "servers": servers}


def _server(fields: Fields) -> dict[str, Any]:
    # No names: Nginx looks them up when it starts, and does not start where that fails.
    expected = "an address and a port, such as 192.0.2.5:8080 or [2001:db8::5]:8080"
    address = fields.text("address", r"([0-9.]{7,15}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}", expected)
    host, _, port = address.rpartition(":")
    if not _is_address(host.strip("[]")) or not 1 <= int(port) <= 65_535:
        raise fields.fail("address", f"expected {expected}, got {address}")
    server = {
        "address": address,
        "weight": fields.integer("weight", 1, 1000, 1),
        "max_fails": fields.integer("max_fails", 0, 1000, 3),
        "fail_timeout": fields.duration("fail_timeout", "1s", "1h", "10s") // 1000,
        "backup": fields.boolean("backup", False),
    }
    fields.done()
    return server


def _location(
    fields: Fields,
    site: str,
    services: Mapping[str, int],
    upstreams: Mapping[str, Mapping[str, Any]],
    body: str,
) -> dict[str, Any]:
    expected = "a path that begins with /, of letters, digits and ._~/@+-"
    path = fields.text("path", _PATH, expected)
    if path.startswith(_RESERVED) or "//" in path or {".", ".."} & {*path.split("/")}:
        raise fields.fail("path", f"{path}: nobody asks for such a path; correct it")
    targets = [target for target in _TARGETS if fields.has(target)]
    if len(targets) != 1:
        raise fields.fail("path", f"{path} needs one of {', '.join(_TARGETS)}, and one only")
    found = {"path": path, "exact": fields.boolean("exact", False)}
    found |= (
        _files(fields, path, found["exact"])
        if targets == ["folder"]
        else _proxy(fields, targets[0], site, services, upstreams, body)
    )
    fields.done()
    return found


def _files(fields: Fields, path: str, exact: object) -> dict[str, Any]:
    if exact or not path.endswith("/"):
        # Without the slash, /files../secret would be a file beside the folder.
        raise fields.fail("path", f"{path}: a location with a folder ends with / and is not exact")
    cache = fields.duration("cache", "1s", "9000h") if fields.has("cache") else None
    return {"kind": "files", "folder": fields.path("folder").rstrip("/") + "/", "cache": cache}


def _proxy(
    fields: Fields,
    target: str,
    site: str,
    services: Mapping[str, int],
    upstreams: Mapping[str, Mapping[str, Any]],
    body: str,
) -> dict[str, Any]:
    if target == "service":
        name = fields.text("service", SERVICE_NAME, "a service's name")
        if name not in services:
            known = ", ".join(sorted(services)) or "nothing"
            raise fields.fail("service", f"this host's sidecar has no {name}, it has: {known}")
        # The sidecar knows which instances live; a breaker before it would only guess.
        address = f"127.0.0.1:{int(services[name])}"
        servers: Any = [{"address": address, "weight": 1, "max_fails": 0, "backup": False}]
        key = f"{site}.service.{name}"
    else:
        name = fields.text("upstream", _WORD, _A_WORD)
        if name not in upstreams:
            known = ", ".join(sorted(upstreams)) or "none"
            raise fields.fail("upstream", f"the site has no upstream {name}; upstreams: {known}")
        servers, key = upstreams[name]["servers"], f"{site}.{name}"
    websocket = fields.boolean("websocket", False)
    default = _WEBSOCKET_TIMEOUT if websocket else _TIMEOUT
    timeout = fields.duration("timeout", "100ms", "24h", default)
    return {
        "kind": "proxy",
        "upstream": key,
        "servers": servers,
        "websocket": websocket,
        "timeout": timeout,
        "connect_timeout": min(timeout, _CONNECT_MS),
        "body": fields.text("body", _SIZE, "a size such as 10m", body),
        "fallback": _fallback(fields.table("fallback")) if fields.has("fallback") else None,
    }


def _fallback(fields: Fields) -> dict[str, Any]:
    """What clients get while nobody answers: 503 at least, which says when to come back."""
    seconds = fields.duration("retry_after", "1s", "24h", "10s") // 1000
    found = {
        "retry_after": seconds,
        "stale": fields.boolean("stale", False),
        "page": fields.path("page") if fields.has("page") else None,
    }
    fields.done()
    return found


def _tls(fields: Fields) -> dict[str, Any]:
    own = fields.has("certificate") or fields.has("key")
    found: dict[str, Any] = {
        "certificate": fields.path("certificate") if own else None,
        "key": fields.path("key") if own else None,
        "redirect": fields.boolean("redirect", True),
        "hsts": fields.integer("hsts_days", 0, 3650, 730) * 86_400,
    }
    fields.done()
    return found


def _limits(fields: Fields) -> dict[str, int]:
    """Off unless asked for: many users may share one address."""
    rate = fields.integer("requests_per_second", 0, 100_000, 0)
    found = {
        "rate": rate,
        "burst": fields.integer("burst", 0, 100_000, 2 * rate),
        "connections": fields.integer("connections", 0, 100_000, 0),
    }
    fields.done()
    return found


def certificate_names(sites: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names that the fabric's CA has to certify for these sites, as an inventory has them."""
    return sorted(
        {
            name
            for site in sites
            if (tls := site.get("tls")) is not None and tls.get("certificate") is None
            for name in site["server_names"]
        }
    )
