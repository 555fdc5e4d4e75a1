"""A backup on its way is whole, or none."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.backup import frames


def sent(pieces, details=None):
    return b"".join(frames.pack(pieces, lambda: details or {"position": "7"}))


def received(stream):
    came = io.BytesIO()
    return frames.unpack(io.BytesIO(stream), came.write), came.getvalue()


@given(st.lists(st.binary(max_size=400)), st.integers(1, 300))
def test_what_is_sent_comes_with_its_checksum(pieces, size):
    details, came = received(sent(pieces))
    assert came == b"".join(pieces)
    assert details["size"] == len(came) and details["position"] == "7"


def test_a_large_piece_goes_in_several_frames():
    piece = bytes(range(256)) * 3_000
    assert received(sent([piece]))[1] == piece


@given(st.binary(min_size=1, max_size=400), st.data())
def test_what_is_cut_off_anywhere_is_refused(piece, data):
    stream = sent([piece])
    cut = data.draw(st.integers(0, len(stream) - 1))
    with pytest.raises(frames.BrokenError):
        received(stream[:cut])


@given(st.binary(min_size=1, max_size=400), st.data())
def test_a_bit_that_changed_among_the_data_is_refused(piece, data):
    stream = bytearray(sent([piece]))
    # Behind the header of the one frame with data.
    place = 5 + data.draw(st.integers(0, len(piece) - 1))
    stream[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(frames.BrokenError, match="checksum differs"):
        received(bytes(stream))


@pytest.mark.parametrize("stream", [b"", b"hello, this is sshd", b"D\xff\xff\xff\xff"])
def test_what_is_no_stream_is_refused(stream):
    with pytest.raises(frames.BrokenError):
        received(stream)


def test_a_failure_says_why_on_one_line():
    stream = sent([b"data"])[:9] + frames.failure("the disk\n\x1b[2Jis full")
    with pytest.raises(frames.BrokenError, match=r"^the disk \[2Jis full$"):
        received(stream)
