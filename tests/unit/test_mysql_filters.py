"""Role mysql: input that does not fit is named, and what the servers' answers ask for."""

from __future__ import annotations

import pytest
import yaml
from ansible_modules import ROOT
from plugin_utils import mysql_accounts

import mysql

MEMBERS = [
    {"name": "db1", "address": "198.18.0.1", "id": 1},
    {"name": "db2", "address": "198.18.0.2", "id": 2},
]
ROW = {
    "Master_Host": "198.18.0.1",
    "Master_Port": 3306,
    "Slave_IO_Running": "Yes",
    "Slave_SQL_Running": "Yes",
    "Last_IO_Errno": 0,
    "Last_SQL_Errno": 0,
    "Last_IO_Error": "",
    "Last_SQL_Error": "",
    "Seconds_Behind_Master": 0,
    "Gtid_IO_Pos": "0-1-5",
}


def answer(number, said):
    return {"item": MEMBERS[number - 1], "said": said}


def said(number, *, read_only="ON", cluster="one", state="0-1-5", rows=()):
    return {
        "problem": None,
        "data": True,
        "seeding": False,
        "cluster": cluster,
        "databases": ["mysql", "shop"],
        "replication": list(rows),
        "variables": {
            "version": "11.8.6-MariaDB-log",
            "server_id": str(number),
            "read_only": read_only,
            "gtid_binlog_state": state,
            "gtid_slave_pos": "",
        },
    }


BARE = {"problem": None, "data": False, "seeding": False}
STOPPED = {"problem": "connection refused", "data": True, "seeding": False}
PRIMARY = answer(1, said(1, read_only="OFF"))


def test_what_fits_has_no_problem():
    assert mysql.mysql_problems(MEMBERS, "db1", ["db1", "db1"]) == []


@pytest.mark.parametrize(
    ("members", "first", "words"),
    [
        ([MEMBERS[0], {**MEMBERS[1], "id": 1}], "db1", "id 1 is there twice"),
        ([MEMBERS[0], {**MEMBERS[1], "id": 0}], "db1", "mysql_members, db2: id 0"),
        ([MEMBERS[0], {**MEMBERS[1], "name": "DB1"}], "db1", "name db1 is there twice"),
        ([{**MEMBERS[0], "address": "db1"}], "db1", "mysql_members, db1"),
        (MEMBERS, "db3", "mysql_first_primary: db3 is not among"),
    ],
)
def test_what_does_not_fit_is_named(members, first, words):
    (problem,) = mysql.mysql_problems(members, first, [])
    assert words in problem


A, B, C, D = (f"{letter * 16}-a-secret" for letter in "abcd")
OWN = {"mysql_backup_passwords": [A], "mysql_monitor_passwords": [B, C]}


def user(*passwords, name="shop", **more):
    return {"name": name, "passwords": [*passwords], **more}


def test_two_passwords_while_they_rotate_and_one_for_an_account_from_several_places():
    assert mysql_accounts.password_problems(OWN, [user(D, D[::-1]), user(D, host="app1")]) == []


@pytest.mark.parametrize(
    ("own", "users", "problem"),
    [
        ({"x": [A, B, C]}, [], "x: expected a list of one password, or of the new one and the"),
        ({"x": []}, [], "x: expected a list of one password"),
        ({"x": A}, [], "x: expected a list of one password"),
        ({"x": [A, A]}, [], "x: the new one and the former one are the same"),
        ({"x": [A, "short"]}, [], "x[1]: 16 to 32 letters"),
        ({"x": ['with "quotes" in it']}, [], "x[0]: 16 to 32 letters"),
        ({"x": [A], "y": [B, A]}, [], "y[1]: is the same as x[0]: give each account its own"),
        ({"x": [A]}, [user(A)], "mysql_users[0].passwords[0]: is the same as x[0]"),
        ({}, [user(A), user(A, name="b")], "mysql_users[1].passwords[0]: is the same as mysql_us"),
        ({}, [{"name": "shop", "password": A}], "mysql_users[0].passwords: expected a list"),
        ({}, [user(A, name="backup")], "mysql_users: backup is an account of the role's own"),
    ],
)
def test_passwords_that_cannot_be_meant_are_named_and_not_shown(own, users, problem):
    (line,) = mysql_accounts.password_problems(own, users)
    assert line.startswith(problem)
    assert not any(word in line for word in (A, B, C, "short", "quotes"))


def test_each_account_that_logs_in_has_its_passwords():
    passwords = {"replication": [A], "backup": [B], "monitor": [C, D]}
    found = mysql_accounts.own_accounts(MEMBERS, passwords)
    assert [(one["name"], one["host"], one["passwords"]) for one in found] == [
        ("replication", "198.18.0.1", [A]),
        ("replication", "198.18.0.2", [A]),
        ("backup", "localhost", [B]),
        ("monitor", "localhost", [C, D]),
    ]
    applications = mysql_accounts.application_accounts([user(A, tls=False), user(B, host="app1")])
    assert [one["host"] for one in applications] == ["%", "app1"]
    assert applications[0] == {"name": "shop", "host": "%", "passwords": [A]}


def test_two_first_primaries_are_refused():
    """Each would begin a cluster of its own."""
    (problem,) = mysql.mysql_problems(MEMBERS, "db1", ["db1", "db2"])
    assert "mysql_first_primary: db1 and db2, by host" in problem


def test_answers_are_those_of_the_runs_own_hosts():
    hostvars = {"db1": {"__mysql_own": {"said": BARE}}, "db2": {}}
    assert mysql.mysql_answers(MEMBERS, ["db1"], hostvars) == [answer(1, BARE)]


def test_a_new_cluster_begins_where_the_inventory_says():
    found = mysql.mysql_cluster([answer(1, BARE), answer(2, BARE)], "db2")
    assert (found["primary"], found["new"], found["refusals"]) == ("db2", True, [])
    assert found["needs"] == {"db1": {"action": "seed", "reason": "db1 has no data"}}


def test_the_later_answer_counts():
    """What the primary wrote between two questions is no errant transaction of its replica's."""
    replica = answer(2, said(2, state="0-1-6", rows=[ROW]))
    once = mysql.mysql_cluster([PRIMARY, replica], "db1")
    assert "0-1-6" in once["needs"]["db2"]["reason"]
    again = answer(1, said(1, read_only="OFF", state="0-1-7"))
    twice = mysql.mysql_cluster([PRIMARY, replica, again], "db1")
    assert twice["needs"]["db2"]["action"] == "keep"


def test_a_host_out_of_reach_may_be_the_primary():
    away = {"item": MEMBERS[0], "unreachable": True, "msg": "no route"}
    found = mysql.mysql_cluster([away, answer(2, BARE)], "db2")
    assert (found["primary"], found["new"]) == (None, False)
    assert "no route" in found["refusals"][0]


def test_who_is_silent_is_told_apart_from_who_is_refused():
    """It may only have to be started."""
    found = mysql.mysql_cluster([PRIMARY, answer(2, STOPPED)], "db1")
    assert (found["silent"], found["refusals"]) == (["db2"], [])
    assert "connection refused" in found["needs"]["db2"]["reason"]
    found = mysql.mysql_cluster([answer(1, STOPPED), answer(2, said(2, rows=[ROW]))], "db1")
    assert (found["silent"], found["waiting"], found["primary"]) == (["db1"], True, None)
    assert "connection refused" in found["refusals"][0]


def test_other_peoples_data_are_refused_before_anything_starts():
    found = mysql.mysql_cluster([answer(1, STOPPED), answer(2, said(2, cluster=None))], "db1")
    assert found["waiting"]
    assert found["needs"]["db2"]["action"] == "refuse"
    assert "which no cluster of Selvage wrote" in found["needs"]["db2"]["reason"]


def test_steps_come_with_what_they_need_and_in_words():
    looks = [PRIMARY, answer(2, said(2, rows=[ROW]))]
    found = mysql.mysql_switchover(looks, "db2")
    assert (found["giver"], found["target"], found["refused"]) == ("db1", "db2", [])
    catch_up = found["steps"][1]
    assert (catch_up["words"], catch_up["position"]) == ("db2 applies all that db1 has", "0-1-5")
    assert found["steps"][found["no_return"]]["words"] == "db2 writes"
    assert mysql.mysql_switchover(looks, "db3")["refused"] == ["db3 is no member of the cluster"]


def test_after_a_break_the_servers_say_who_is_primary():
    def plan(first, second):
        return mysql.mysql_switchover([answer(1, first), answer(2, second)], "db2", "db1")

    stopped, following = said(1), said(2, rows=[ROW])
    back = plan(stopped, following)
    assert (back["target"], [step["do"] for step in back["steps"]]) == (
        "db1",
        ["writable", "follow"],
    )
    done = plan(stopped, said(2, read_only="OFF"))
    assert (done["target"], [step["do"] for step in done["steps"]]) == ("db2", ["follow"])
    itself = plan(said(1, read_only="OFF"), following)
    assert (itself["target"], itself["steps"]) == ("db1", [])
    # It may hang, and have been told to write.
    unknown = plan(stopped, STOPPED)
    assert "db2, which may be the primary, does not answer" in unknown["refused"][0]


def test_a_failover_goes_by_the_lost_primarys_host():
    row = {**ROW, "Slave_IO_Running": "Connecting", "Seconds_Behind_Master": None}
    looks = [answer(1, STOPPED), answer(2, said(2, rows=[row]))]
    assert mysql.mysql_lost(looks) == "db1"
    assert mysql.mysql_lost([PRIMARY]) == ""
    assert mysql.mysql_failover(looks, "", "stopped", False)["target"] == "db2"
    assert "force=true" in mysql.mysql_failover(looks, "", "unreachable", "false")["refused"][0]
    assert mysql.mysql_failover(looks, "", "unreachable", "true")["target"] == "db2"
    assert "still runs" in mysql.mysql_failover(looks, "", "runs", True)["refused"][0]


def test_two_writers_are_refused_whoever_has_to_be_started():
    third = {"item": {"name": "db3", "address": "198.18.0.3", "id": 3}, "said": STOPPED}
    looks = [PRIMARY, answer(2, said(2, read_only="OFF")), third]
    found = mysql.mysql_cluster(looks, "db1")
    (refusal,) = found["refusals"]
    assert not found["waiting"]
    assert "db1 and db2 are writable at the same time" in refusal


def test_a_replica_replicates_when_both_of_its_threads_run():
    assert mysql.mysql_replicates(said(2, rows=[ROW]))
    assert not mysql.mysql_replicates(said(2, rows=[{**ROW, "Slave_SQL_Running": "No"}]))
    assert not mysql.mysql_replicates(said(1))
    assert not mysql.mysql_replicates(STOPPED)


def facts(*, rc=0, seeding=False, started=False, settings=False):
    return {
        "__mysql_seeding": {"stat": {"exists": seeding}},
        "__mysql_start": {"changed": started},
        "__mysql_settings": {"changed": settings},
        "__mysql_unit": {"changed": False},
        "__mysql_current": {"rc": rc},
    }


def test_who_is_silent_keeps_the_primary_from_its_restart():
    away = {"item": MEMBERS[0], "unreachable": True, "msg": "no route"}
    looks = [away, answer(2, STOPPED), answer(2, BARE), PRIMARY]
    assert mysql.mysql_silent(looks) == ["db1: no route", "db2: connection refused"]


def test_replicas_restart_before_their_primary():
    hostvars = {"db1": facts(rc=1), "db2": facts(rc=1)}
    assert mysql.mysql_restarts(MEMBERS, "db1", ["db1", "db2"], hostvars) == ["db2", "db1"]
    assert mysql.mysql_restarts(MEMBERS, "db2", ["db1", "db2"], hostvars) == ["db1", "db2"]


@pytest.mark.parametrize(
    ("found", "restarts"),
    [
        (facts(), []),
        (facts(settings=True), ["db1"]),
        (facts(rc=1, started=True), []),
        (facts(rc=1, seeding=True), []),
        ({**facts(settings=True), "__mysql_current": {"skipped": True}}, []),
    ],
)
def test_what_runs_as_configured_or_is_started_or_seeded_anyway_is_not_restarted(found, restarts):
    assert mysql.mysql_restarts(MEMBERS, None, ["db1"], {"db1": found}) == restarts


def test_a_host_out_of_reach_is_not_restarted():
    assert mysql.mysql_restarts(MEMBERS, "db1", ["db1"], {"db1": facts(rc=1)}) == ["db1"]


@pytest.mark.parametrize(
    ("answered", "settled"),
    [
        (said(1), True),
        (STOPPED, False),
        (said(2, rows=[ROW]), True),
        (said(2, rows=[{**ROW, "Slave_IO_Running": "Connecting"}]), False),
        (said(2, rows=[{**ROW, "Slave_SQL_Running": "No", "Last_SQL_Errno": 1062}]), True),
        (said(2, rows=[{**ROW, "Slave_IO_Running": "No", "Last_IO_Errno": 1045}]), True),
    ],
)
def test_the_next_server_waits_until_this_one_replicates_or_says_why_not(answered, settled):
    assert mysql.mysql_settled(answered) is settled


def test_a_seeded_server_begins_where_the_backup_stands():
    assert mysql.mysql_seeded_state(said(1, state="0-1-5,0-2-9"), "0-1-12") == "0-2-9,0-1-12"


def test_every_password_of_the_role_is_kept_out_of_logs():
    text = (ROOT / "roles" / "mysql" / "meta" / "argument_specs.yml").read_text()
    options = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    options |= options["mysql_users"]["options"]
    named = {name: option for name, option in options.items() if "password" in name}
    assert len(named) == 4
    assert all(option["no_log"] is True for option in named.values())


def test_data_of_the_other_flavour_are_named_whether_their_server_runs_or_not():
    looks = [answer(1, {**STOPPED, "flavour": "mysql"}), answer(2, {**BARE, "flavour": None})]
    assert mysql.mysql_strangers(looks, "mysql") == []
    (line,) = mysql.mysql_strangers(looks, "mariadb")
    assert line.startswith("db1 has data of MySQL, and mysql_flavour is mariadb: set it to mysql,")
    assert mysql.mysql_strangers([{"item": MEMBERS[0], "msg": "out of reach"}], "mysql") == []
