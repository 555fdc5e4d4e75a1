"""The edge: what the fabric opens, makes and refuses for the sites that Nginx serves there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plugin_utils.nginx import certificate_names, site_problems
from plugin_utils.settings import Values

HTTP_PORT, HTTPS_PORT = 80, 443
# Role nginx looks for it under this name.
CERTIFICATE = "nginx"


def services(catalogue: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What a site may name: the services of the host's sidecar, with their ports."""
    return {service["name"]: int(service["port"]) for service in catalogue}


def serves(values: Values, carried: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a host of the edge has sites, and they can be meant."""
    sites = values["nginx_sites"]
    return bool(sites) and not site_problems(sites, services(carried))


def edge_problems(
    values: Values, tiers: set[str], carried: Iterable[Mapping[str, Any]]
) -> list[str]:
    """What is wrong with a host's sites; `carried` is the part of the catalogue that it has."""
    if not values["nginx_sites"]:
        return []
    if "edge" not in tiers:
        return [
            "nginx_sites: nobody serves them here; only the hosts of the group"
            f" {values['fabric_edge_group']} have Nginx"
        ]
    problems = site_problems(values["nginx_sites"], services(carried))
    if not problems and any(
        entry["name"] == CERTIFICATE for entry in values["fabric_certificates"]
    ):
        problems.append(
            f"fabric_certificates: {CERTIFICATE} is the name of one that the fabric makes itself"
        )
    return problems


def ports(tiers: set[str], values: Values) -> dict[int, str]:
    """The ports on which Nginx listens here, on every address or on loopback."""
    if "nginx" not in tiers:
        return {}
    page = {int(values["nginx_status_port"]): "Nginx's status page"}
    return {HTTP_PORT: "Nginx", HTTPS_PORT: "Nginx", **page}


def rules(tiers: set[str]) -> list[dict[str, Any]]:
    """The firewall's rules: a site is for everybody."""
    own = [HTTP_PORT, HTTPS_PORT]
    return [{"name": "Nginx", "ports": own, "from": "anywhere"}] if "nginx" in tiers else []


def certificates(tiers: set[str], values: Values) -> list[dict[str, Any]]:
    """The certificate of the fabric's CA for the sites that bring none."""
    names = certificate_names(values["nginx_sites"]) if "nginx" in tiers else []
    # Clients also come by the address that the edges share, such as a monitor of it.
    addresses = values["edge_address_shared"]
    wanted = {"names": names, "addresses": addresses, "unit": "nginx.service"}
    return [{"name": CERTIFICATE, **wanted}] if names else []
