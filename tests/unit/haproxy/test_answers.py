"""What HAProxy says is taken as a whole, or not at all."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.haproxy.answers import Answer, Process
from selvage.haproxy.servers import BreakerState, LiveServer, LiveService

VARIABLE = "proc.selvage.inventory: type=str value=<05a4>\n"
STATE = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
    " srv_check_state srv_port\n3 inventory 1 a 10.0.0.1 2 0 1 6 80\n\n"
)
STAT = (
    "# pxname,svname,scur,slim,status,bck,type,last_chk,mode,\n"
    "inventory,FRONTEND,0,4096,OPEN,,0,,http,\n"
    'inventory,a,3,7,UP,0,2,"a\n\u2028""inventory,a,9,9,DOWN,1,2,,,\n",http,\n\n'
)
INFO = "Name: HAProxy\nVersion: 3.0.11-1+deb13u5\nPid: 7\nStopping: 0\n\n"
WHOLE = VARIABLE + STATE + STAT + INFO
A = LiveServer("a", "10.0.0.1", 80, 1, False, 7, True, True, False, False, 3)


def read(text):
    answer = Answer(text)
    found = answer.variable("proc.selvage.inventory"), answer.services("inventory")
    return (*found, answer.process())


def test_a_whole_answer():
    service = LiveService("inventory", None, (A,))
    assert read(WHOLE) == ("05a4", {"inventory": service}, Process(7, (3, 0), False))
    # As HAProxy 3.0 closes it.
    assert read(WHOLE.replace("<05a4>\n", "<05a4>\n\n")) == read(WHOLE)


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_a_part_of_it_is_none(cut):
    with pytest.raises(ValueError, match=r"."):
        read(WHOLE[:cut])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("http,\n\n", "\n\n"),
        ("http,\n\n", "http,,\n\n"),
        ("6 80", "6 80 9"),
        ("6 80", "6"),
        ("6 80", "six 80"),
        ("type,", ""),
        ("# pxname", "pxname"),
        ("inventory,a,3", "other,a,3"),
        ("inventory,a,3", "inventory,a,"),
        ("proc.selvage.inventory:", "proc.selvage.other:"),
        ("Stopping: 0\n\n", "Stopping: 0\n\n\n"),
        ("Version: 3.0", "Version: new"),
        ("Pid: 7", "Pid: x"),
    ],
)
def test_another_text_is_none(old, new):
    assert old in WHOLE
    with pytest.raises(ValueError, match=r"."):
        read(WHOLE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("status", "limit", "expected"),
    [
        ("OPEN", 4096, "open"),
        ("PAUSED", 4096, "disabled"),
        ("STOP", 4096, "shut down"),
        ("OPEN", 0, "given the limit 0"),
    ],
)
def test_what_a_hand_did_to_a_frontend(status, limit, expected):
    text = WHOLE.replace("0,4096,OPEN", f"0,{limit},{status}")
    assert read(text)[1]["inventory"].frontend == expected


def test_who_is_not_there():
    nobody = "Variable not found.\n\nCan't find backend.\n\nNo such proxy.\n\n"
    assert read(nobody + INFO)[:2] == (None, None)


def test_a_variable_of_another_type_says_nothing():
    assert read(WHOLE.replace("type=str", "type=sint"))[0] is None


def test_a_server_in_one_list_only_is_left_out():
    assert read(WHOLE.replace("1 a 10", "1 b 10"))[1]["inventory"].servers == ()
    text = "# name\ninventory\n\n" + STATE + STAT + INFO
    answer = Answer(text)
    assert answer.backends() == ["inventory"]
    assert answer.services(None) == {"inventory": LiveService("inventory", None, (A,))}


@given(st.text(st.sampled_from('",\n\r\v\u2028 a0#:') | st.characters(codec="utf-8"), max_size=60))
def test_whatever_an_instance_says_is_left_out(words):
    """As the csv module, which reads the same format, writes it."""
    file = io.StringIO(newline="")
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["# pxname", "svname", "scur", "slim", "status", "bck", "type", "last_chk", ""])
    rows.writerow(["inventory", "a", "3", "7", "UP", "0", "2", words, ""])
    rows.writerow(["inventory", "b", "0", "", "UP", "0", "2", words, ""])
    assert read(VARIABLE + STATE + file.getvalue() + "\n" + INFO) == read(WHOLE)


def breaker(status, check="L7OK", words="", *, downs=1, opened=1):
    """What is read from a row, whose words HAProxy quotes if it has to."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        ["inventory", "a", status, "5", downs, opened, check, words, ""]
    )
    text = (
        "# pxname,svname,status,lastchg,chkdown,hanafail,check_status,last_chk,\n"
        f"{line.getvalue()}\n\n{INFO}"
    )
    answer = Answer(text)
    found = answer.breakers("inventory")
    answer.process()
    return found["a"]


LATE = "Detected 10 consecutive errors, last one was: Read timeout (http)"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (LATE, "timeout"),
        (LATE.replace("Read timeout", "Read error"), "broken"),
        (LATE.replace("Read timeout (http)", "Wrong http response"), "status"),
        (LATE.replace("Read timeout (http)", "Invalid http response (headers)"), "invalid"),
        (LATE.replace("Read timeout (http)", "Close from server (http)"), "closed"),
        (LATE.replace("Read timeout (http)", "L4 unsuccessful connection"), "connection"),
        (LATE.replace("Read timeout (http)", "something new"), None),
        ("", None),
    ],
)
def test_errors_in_a_row_open_a_breaker(words, fault):
    expected = BreakerState(open=True, returning=False, since_s=5, opened=1, fault=fault)
    assert breaker("DOWN", "HANA", words) == expected
    # A check is under way.
    assert breaker("DOWN", "* HANA", words) == expected


def test_a_breaker_is_about_to_close_when_its_check_succeeds():
    returning = BreakerState(open=True, returning=True, since_s=5, opened=2)
    assert breaker("DOWN 1/2", downs=1, opened=2) == returning
    assert not breaker("UP", downs=1, opened=2).open


def test_who_is_down_by_its_check_has_no_open_breaker():
    # It may have been open before.
    for opened in (0, 1, 9):
        assert not breaker("DOWN", "L4CON", "Connection refused", opened=opened).open
    assert not breaker("DOWN 1/2", downs=1, opened=0).open
    assert not breaker("DOWN 1/2", downs=2, opened=1).open
    assert not breaker("DOWN", "L7OK", downs=0, opened=0).open
    assert not breaker("MAINT", "HANA", LATE).open


@pytest.mark.parametrize("check", ["L7STS", "* L7STS", "L7RSP"])
def test_the_words_of_an_instance_open_no_breaker(check):
    said = breaker("DOWN", check, LATE)
    assert (said.open, said.fault) == (False, None)
    assert breaker("UP", check, f'{LATE}"\ninventory,b,DOWN,5,1,1,HANA,,\n').open is False


@given(st.text(), st.sampled_from(["HANA", "L7STS", "L7OK"]))
def test_any_words_are_read_over(words, check):
    said = breaker("DOWN", check, f'",{words}')
    assert (said.opened, said.since_s, said.fault) == (1, 5, None)
