"""The backup host's settings, and what becomes of a member that does not answer as it should."""

import io
import sys

import pytest

from selvage.backup import frames, run, target
from selvage.backup.store import Store
from selvage.fields import Invalid

DOCUMENT = {
    "fabric": "shop",
    "name": "bk1",
    "folder": "/var/backups/selvage",
    "keep": 2,
    "limit_s": 60,
    "key": "/var/lib/selvage-backup/.ssh/id_ed25519",
    "known_hosts": "/var/lib/selvage-backup/known_hosts",
    "services": {
        "redis": [
            {"name": name, "address": f"198.18.0.{number}", "port": 22}
            for number, name in enumerate(("redis1", "redis2", "bk1"), 51)
        ]
    },
}
ANSWERS = {
    "redis1": frames.end({"role": "primary", "position": 9, "problem": None}),
    "redis2": frames.end({"role": "replica", "position": 8, "problem": None}),
    "bk1": frames.end({"role": "replica", "position": 9, "problem": None}),
}
SAID = {"role": "replica", "position": "8", "version": "8.0.2", "encrypted": False}


def whole(data=b"all of it"):
    return b"".join(frames.pack([data], lambda: SAID))


@pytest.fixture
def fabric(tmp_path, monkeypatch):
    """A backup host, to whose requests the members answer with these bytes."""
    sends = {"redis1": whole(b"of the primary"), "redis2": whole()}

    def words(_, member, request):
        answer = sends[member.name] if request.startswith("send") else ANSWERS[member.name]
        script = "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))"
        return [sys.executable, "-c", script, answer.hex()]

    monkeypatch.setattr(target, "words", words)
    settings = target.parse({**DOCUMENT, "folder": str(tmp_path / "backups")})
    return settings, sends, tmp_path


def taken(fabric, told):
    settings, _, folder = fabric
    return run.run(settings, ["redis"], folder, told.append)


def only(fabric):
    settings, _, _ = fabric
    store = Store(settings.folder / "shop" / "redis")
    return [store.verify(name) for name in store.names()]


def test_a_backup_comes_from_a_replica_that_is_another_host(fabric):
    told = []
    assert taken(fabric, told)
    (made,) = only(fabric)
    assert (made.member, made.size) == ("redis2", 9)
    assert told == [f"redis {made.name} from redis2: 9 bytes"]


def test_the_next_member_is_asked_when_one_fails(fabric):
    fabric[1]["redis2"] = whole()[:-4]
    assert taken(fabric, [])
    assert [made.member for made in only(fabric)] == ["redis1"]


def test_when_all_fail_what_is_there_stays_and_the_reasons_are_told(fabric):
    assert taken(fabric, [])
    before = only(fabric)
    fabric[1].update(redis1=frames.failure("the disk is full"), redis2=b"")
    told = []
    assert not taken(fabric, told)
    assert only(fabric) == before
    assert told == [
        "redis failed: redis2: the connection ended before the backup was whole;"
        " redis1: the disk is full"
    ]


def test_a_folder_that_others_may_enter_is_refused(fabric):
    fabric[0].folder.mkdir(mode=0o755)
    fabric[0].folder.chmod(0o755)
    told = []
    assert not taken(fabric, told)
    assert "others may enter it" in told[0]


def test_a_member_that_takes_too_long_is_ended():
    slow = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        pytest.raises(frames.BrokenError, match=r"^ended after 0.2 s, its time limit$"),
        target.asked(slow, 0.2) as stream,
    ):
        frames.unpack(stream, io.BytesIO().write)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"fabric": ".."}, "fabric: expected a name"),
        ({"fabric": "a/b"}, "fabric: expected a name"),
        ({"folder": "backups"}, "folder: expected an absolute path"),
        ({"keep": 0}, "keep: expected a whole number"),
        ({"services": {"redis": [], "rediss": []}}, "services.rediss: is not a known field"),
    ],
)
def test_settings_that_cannot_be_meant(change, problem):
    with pytest.raises(Invalid, match=problem):
        target.parse({**DOCUMENT, **change})


def test_the_way_to_a_member_asks_for_no_password_and_trusts_nobody_new():
    settings = target.parse(DOCUMENT)
    words = target.words(settings, settings.services["redis"][0], "send redis")
    assert words[-2:] == ["selvage-backup@198.18.0.51", "send redis"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"} <= {*words}
