"""Where data may lie. The countries are ISO 3166's two letters."""

from __future__ import annotations

from collections.abc import Sequence

COUNTRY = "[A-Z]{2}"


def residency_problem(country: str | None, countries: Sequence[str]) -> str | None:
    """Why data may not lie in this country; without countries they may lie anywhere."""
    if not countries or country in countries:
        return None
    allowed = ", ".join(countries)
    if not country:
        return (
            f"fabric_country: is missing, and backups may lie in {allowed} alone"
            " (fabric_countries): say in which country this host is"
        )
    return (
        f"fabric_country: {country} is not among fabric_countries ({allowed}), where backups may"
        " lie: keep them on another host"
    )
