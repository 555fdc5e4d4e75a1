"""Redis's protocol: whole answers, halves of them, and what somebody else may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.redis import resp

lines = st.text(
    st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=20
)
answers = st.recursive(
    st.none() | st.integers(-(2**63), 2**63) | st.text(max_size=30) | lines.map(resp.Complaint),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)


def encoded(answer):
    if answer is None:
        return b"$-1\r\n"
    if isinstance(answer, resp.Complaint):
        return b"-%s\r\n" % answer.text.encode()
    if isinstance(answer, int):
        return b":%d\r\n" % answer
    if isinstance(answer, list):
        return b"*%d\r\n" % len(answer) + b"".join(map(encoded, answer))
    data = answer.encode(errors="surrogatepass")
    return b"$%d\r\n%s\r\n" % (len(data), data)


@given(answers.filter(lambda answer: "\ud800" not in repr(answer)), st.binary(max_size=10))
def test_what_a_server_says_is_read_back_and_what_follows_is_left(answer, more):
    data = encoded(answer)
    try:
        assert resp.parse(data + more) == (answer, len(data))
    except resp.MalformedError:
        # Deeper than any answer that is asked for.
        assert "[[[[[[[[" in repr(answer)


@given(answers, st.data())
def test_a_part_of_an_answer_is_none_yet(answer, data):
    whole = encoded(answer)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert resp.parse(part) is None
    except resp.MalformedError:
        assert "[[[[[[[[" in repr(answer)


@given(st.binary(max_size=60) | st.text("*$:+-0123456789\r\n", max_size=40).map(str.encode))
def test_anything_else_is_refused_or_read(data):
    try:
        found = resp.parse(data)
    except resp.MalformedError:
        return
    assert found is None or found[1] <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"$99999999999\r\n",
        b"*1048577\r\n",
        b"*-2\r\n",
        b"$-5\r\n",
        b":x\r\n",
        b"HTTP/1.1 400 Bad Request",
        b"$2\r\nabcd",
        b"*1\r\n" * 9,
        b":" + b"1" * 40 + b"\r\n",
        b"+" + b"x" * (resp.ANSWER_BYTES + 1),
    ],
)
def test_what_no_server_says_is_refused_before_it_is_kept(data):
    with pytest.raises(resp.MalformedError):
        resp.parse(data)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_a_command_is_a_list_of_strings(words):
    words = [word for word in words if word.isprintable()] or ["PING"]
    data = resp.command(words)
    assert resp.parse(data) == (words, len(data))
