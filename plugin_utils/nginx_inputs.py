"""What is wrong with the inputs of role nginx."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from plugin_utils.nginx import is_address, site_problems
from selvage.fields import Fields, Invalid

PROFILES = ("intermediate", "modern")


def input_problems(inputs: Mapping[str, Any]) -> list[str]:
    """What is wrong with the inputs of role nginx, by the names of its variables."""
    problems = []
    fields = Fields(inputs, "")
    for check in (
        lambda: _services(fields, "nginx_services"),
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
    if any(problem.startswith("nginx_services") for problem in problems):
        return problems
    return problems + site_problems(inputs["nginx_sites"], inputs["nginx_services"])


def _services(fields: Fields, name: str) -> None:
    services = fields.table(name)
    for service in fields.mapping(name):
        services.integer(service, 1, 65_535)


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
        if not is_address(text.strip("[]")):
            raise fields.fail(f"{name}[{index}]", f"{text} is not an address")
