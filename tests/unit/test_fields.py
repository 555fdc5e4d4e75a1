import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.fields import Fields, Invalid, parse_duration, unique


def refused(call):
    with pytest.raises(Invalid) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0s", 0), ("500ms", 500), ("2s", 2_000), ("1m", 60_000), ("24h", 86_400_000)],
)
def test_durations_are_milliseconds(text, milliseconds):
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "5 s", "-1s", "1.5s", "05s", "1d", "٣s", "1s\n", " 1s"])
def test_other_texts_are_no_durations(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_duration_outside_its_bounds_names_the_bounds():
    message = refused(lambda: Fields({"x": "2m"}, "").duration("x", "1ms", "1m"))
    assert message == "x: expected a duration from 1ms to 1m, such as 500ms or 2s, got 2m"
    assert Fields({"x": "1m"}, "").duration("x", "1ms", "1m") == 60_000


@pytest.mark.parametrize("value", [5, True, None])
def test_a_duration_is_a_string(value):
    assert "expected a duration" in refused(
        lambda: Fields({"x": value}, "").duration("x", "1ms", "1m", default="2h")
    )


def test_the_place_of_a_nested_field_is_named():
    entry = Fields({"services": [{}, {"check": {"interval": 3}}]}, "").tables("services")[1]
    message = refused(lambda: entry.table("check").duration("interval", "1s", "2s"))
    assert message.startswith("services[1].check.interval: ")


@pytest.mark.parametrize("document", [{}, {"x": None}])
def test_null_counts_as_absent(document):
    assert Fields(document, "").integer("x", 1, 9, 4) == 4
    assert not Fields(document, "").has("x")
    assert refused(lambda: Fields(document, "").integer("x", 1, 9)) == "x: is required"
    assert Fields(document, "").tables("x") == []
    assert Fields(document, "").mapping("x") == {}


def test_a_field_that_was_asked_for_is_known_even_when_null():
    fields = Fields({"x": None}, "")
    assert not fields.has("x")
    fields.done()


def test_an_unknown_field_gets_a_hint():
    fields = Fields({"allow_emtpy": True}, "guards")
    fields.boolean("allow_empty", False)
    assert refused(fields.done) == (
        "guards.allow_emtpy: is not a known field; did you mean allow_empty?"
    )


def test_an_unknown_field_unlike_any_gets_no_hint():
    fields = Fields({7: True}, "")
    fields.boolean("allow_empty", False)
    assert refused(fields.done) == "7: is not a known field"


@pytest.mark.parametrize(("value", "number"), [(0, 0), (9, 9), ("7", 7), ("-1", -1)])
def test_whole_numbers(value, number):
    assert Fields({"x": value}, "").integer("x", -1, 9) == number


@pytest.mark.parametrize("value", [10, -2, 1.0, True, "7 ", "٣", "1e3", "", [], float("nan")])
def test_other_values_are_no_whole_numbers(value):
    assert "expected a whole number from -1 to 9" in refused(
        lambda: Fields({"x": value}, "").integer("x", -1, 9)
    )


@pytest.mark.parametrize("value", ["b", "", ["a"], {"a": 1}, 1])
def test_only_the_given_words(value):
    assert Fields({"x": "a"}, "").choice("x", ["a"]) == "a"
    assert "expected one of a" in refused(lambda: Fields({"x": value}, "").choice("x", ["a"]))


@pytest.mark.parametrize("value", ["yes", 1, 0, "true"])
def test_only_true_and_false(value):
    assert "expected true or false" in refused(lambda: Fields({"x": value}, "").boolean("x"))


@pytest.mark.parametrize("value", ["relative", "/a b", "/a\n", "/a;b", '/"', "/" + "x" * 256])
def test_paths_are_absolute_and_plain(value):
    assert Fields({"x": "/run/a.sock"}, "").path("x") == "/run/a.sock"
    assert "expected an absolute path" in refused(lambda: Fields({"x": value}, "").path("x"))


def test_lists_name_the_item():
    fields = Fields({"x": ["a", "B"]}, "")
    assert (
        refused(lambda: fields.texts("x", "[a-z]", "a letter")) == "x[1]: expected a letter, got B"
    )
    assert refused(lambda: Fields({"x": "a"}, "").texts("x", "a", "a")) == (
        "x: expected a list, got a string"
    )
    assert refused(lambda: Fields({"x": [1]}, "").tables("x")) == (
        "x[0]: expected a mapping, got a int"
    )


def test_a_value_that_stands_twice():
    unique(["a", "b"], "x", "name")
    assert refused(lambda: unique(["a", "a"], "x", "name")) == "x: the name a stands twice"


@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_the_value_a_refusal_is_one_bounded_line(value):
    for take in (
        lambda fields: fields.text("x", "[^\\W\\w]", "nothing"),
        lambda fields: fields.integer("x", 1, 0),
        lambda fields: fields.duration("x", "2s", "1s"),
        lambda fields: fields.done(),
    ):
        assert len(refused(lambda take=take: take(Fields({"x": value}, "")))) < 200
