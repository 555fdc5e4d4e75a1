"""What holds for everything that is read from a registry, whatever the registry holds."""

from reading import hosts
from selvage.formats.grammar import MAX_WEIGHT, MIN_WEIGHT, parse_address


def assert_sound(reading, children, addresses, rules):
    """Every znode has one answer, every answer is safe to use and to show."""
    shown = (*reading.refusals, *reading.out_of_service)
    assert reading.failure is None
    assert len(reading.registrations) + len(shown) <= len(children)
    endpoints = [(found.address, found.port) for found in reading.registrations]
    assert endpoints == sorted(set(endpoints))
    for registration in reading.registrations:
        assert registration.child in children
        _assert_registration(registration)
    for refusal in shown:
        for text in (refusal.child, refusal.reason):
            assert text.isascii()
            assert text.isprintable()
        assert len(refusal.child) <= 120
        assert 0 < len(refusal.reason) < 400
    unresolved = {r.reason.split()[2] for r in reading.refusals if "cannot be res" in r.reason}
    named = hosts(children, rules)
    assert {name for name in unresolved if not name.endswith("...")} <= named - addresses.keys()
    assert all(name == name.lower() and 0 < len(name) <= 253 for name in named)


def _assert_registration(found):
    assert parse_address(found.address) == found.address
    assert type(found.port) is int
    assert 1 <= found.port <= 65_535
    assert found.weight in (None, 0) or MIN_WEIGHT <= found.weight <= MAX_WEIGHT
    assert found.max_connections is None or 1 <= found.max_connections <= 1_000_000
    assert type(found.backup) is bool
    assert len(found.labels) <= 64
    for text in (found.child, *found.labels, *found.labels.values()):
        assert text.isascii()
        assert not set(text) & set(" \t\r\n;\"'\\#$%")
