"""ZooKeeper's files: which are needed, and how much of a log is whole."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.backup import transactions

HEADER = struct.pack("!4siq", b"ZKLG", 2, 0)


def record(number, data=b""):
    body = struct.pack("!qiqqi", 1, 2, number, 3, 4) + data
    return struct.pack("!qi", zlib.adler32(body), len(body)) + body + b"B"


def test_a_snapshot_needs_the_log_that_goes_on_at_its_number_and_all_later_ones():
    names = ["log.1", "log.a5", "log.100000001", "log.b0", "snapshot.b0", "log.zz", "log.b0.tmp"]
    assert transactions.snapshots(names) == ["snapshot.b0"]
    assert transactions.logs(names, "snapshot.b0") == ["log.b0", "log.100000001"]
    assert transactions.logs(names, "snapshot.af") == ["log.a5", "log.b0", "log.100000001"]
    assert transactions.logs(["log.1"], "snapshot.0") == ["log.1"]
    assert transactions.logs([], "snapshot.0") == []


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 5_000))
def test_a_log_is_whole_up_to_the_zeros_that_are_written_ahead(datas, zeros):
    log = HEADER + b"".join(record(7 + n, data) for n, data in enumerate(datas))
    last = 6 + len(datas) if datas else 0
    found = transactions.whole(io.BytesIO(log + b"\0" * zeros))
    assert found == transactions.Log(len(log), last, clean=True)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_what_is_half_written_at_the_end_is_left_out(text, data):
    log, torn = HEADER + record(7), record(8, text)
    # Behind the checksum, so that it does not look like the end.
    cut = data.draw(st.integers(8, len(torn) - 1))
    tail = torn[:cut] + b"\0" * data.draw(st.integers(0, 200))
    found = transactions.whole(io.BytesIO(log + tail))
    assert found == transactions.Log(len(log), 7, clean=False)


@given(st.data())
def test_a_bit_that_changed_ends_the_log(data):
    log = bytearray(HEADER + record(7, b"some data") + record(8))
    place = data.draw(st.integers(len(HEADER), len(log) - len(record(8)) - 1))
    log[place] ^= 1 << data.draw(st.integers(0, 7))
    found = transactions.whole(io.BytesIO(bytes(log)))
    assert (found.size, found.last, found.clean) == (len(HEADER), 0, False)


def test_a_file_of_somebody_else_is_refused():
    with pytest.raises(transactions.DamagedError):
        transactions.whole(io.BytesIO(b"#!/bin/sh\nexit 0\n"))
    assert transactions.whole(io.BytesIO(b"")) == transactions.Log(0, 0, clean=True)
    assert transactions.whole(io.BytesIO(b"\0" * 100)) == transactions.Log(0, 0, clean=True)
