"""What a restore does in the folder of a MySQL server that is stopped."""

import subprocess
from pathlib import Path

import pytest

from selvage.backup import place_mysql, replay
from selvage.backup.place import RefusedError


@pytest.fixture
def data(tmp_path):
    """A server's folder on a disk of its own, and what was prepared beside its data."""
    folder = tmp_path / "mysql"
    for name in ("shop/orders.ibd", "ibdata1", "lost+found/1", "selvage-seeding"):
        write(folder / name, "of the day")
    prepared(folder)
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def prepared(folder):
    for name in ("shop/orders.ibd", "ibdata1", "binlog.000001"):
        write(folder / "#restore" / "data" / name, "of the backup")


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def restored(text, more):
    names = ("shop/orders.ibd", "ibdata1")
    aside = {f"#before-restore/data/{name}": "of the day" for name in names}
    aside |= {"#before-restore/moved": "", "lost+found/1": "of the day"}
    return {**aside, **{name: text for name in (*names, "binlog.000001") if text}, **more}


def test_what_was_there_is_kept_and_the_backup_takes_its_place(data):
    place_mysql.swap(data, fill=True)
    assert files(data) == restored("of the backup", {})


def test_a_replica_keeps_the_mark_that_it_waits_for_data(data):
    place_mysql.swap(data, fill=False)
    assert files(data) == restored("", {"selvage-seeding": "of the day"})


def test_without_the_mark_a_server_may_run(data):
    (data / "selvage-seeding").unlink()
    before = files(data)
    with pytest.raises(RefusedError, match="a server may run with these data"):
        place_mysql.swap(data, fill=True)
    assert files(data) == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(1, 6))
def test_after_an_interruption_what_was_there_before_the_first_run_is_kept(data, monkeypatch, step):
    left, real = [step], Path.rename

    def rename(self, target):
        left[0] -= 1
        if not left[0]:
            raise Killed
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(Killed):
        place_mysql.swap(data, fill=True)
    assert (data / "selvage-seeding").exists()
    # As the next run does.
    prepared(data)
    place_mysql.swap(data, fill=True)
    assert files(data) == restored("of the backup", {})


def test_the_next_restore_keeps_what_this_one_has_restored(data):
    place_mysql.swap(data, fill=True)
    place_mysql.finish(data)
    write(data / "ibdata1", "of the next day")
    (data / "selvage-seeding").touch()
    place_mysql.swap(data, fill=False)
    assert (data / "#before-restore/data/ibdata1").read_text() == "of the next day"
    assert not (data / "#before-restore/restored").exists()


def test_a_link_in_the_folder_is_kept_as_one_and_not_followed(data, tmp_path):
    write(tmp_path / "victim" / "file", "as it was")
    (data / "shop" / "link").symlink_to(tmp_path / "victim")
    (data / "link").symlink_to(tmp_path / "victim")
    place_mysql.swap(data, fill=True)
    (data / "selvage-seeding").touch()
    (data / "planted").symlink_to(tmp_path / "victim")
    prepared(data)
    place_mysql.swap(data, fill=True)
    assert (tmp_path / "victim" / "file").read_text() == "as it was"


def test_a_disk_without_room_is_left_as_it_is(data, monkeypatch, tmp_path):
    archive = tmp_path / "archive"
    archive.write_bytes(b"x" * 1_000)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: type("", (), {"stdout": " 11.8.6-"}))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 1_100}))
    with pytest.raises(RefusedError, match="has 1100 bytes free, and the backup needs 1200"):
        place_mysql.prepare(archive, data, tmp_path, "11.8", replay.Goal((), "", ""))
