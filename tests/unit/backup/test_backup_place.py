"""What a restore finds in a member's folder."""

import pytest

from selvage.backup import place


def test_the_latest_epoch_of_a_member(tmp_path):
    folder = tmp_path / "version-2"
    assert place.zookeeper_epoch(tmp_path) == "0"
    folder.mkdir()
    assert place.zookeeper_epoch(tmp_path) == "0"
    (folder / "acceptedEpoch").write_text("12\n")
    (folder / "currentEpoch").write_text("11")
    assert place.zookeeper_epoch(tmp_path) == "12"
    (folder / "currentEpoch").write_text("")
    with pytest.raises(place.RefusedError, match="currentEpoch: is damaged"):
        place.zookeeper_epoch(tmp_path)


class Killed(BaseException):
    """In the middle of a deletion."""


def test_what_is_restored_is_no_half_restore_because_an_old_one_is_half_deleted(
    tmp_path, monkeypatch
):
    log, archive = tmp_path / "appendonlydir", tmp_path / "archive"
    archive.write_bytes(b"REDIS0011")
    aside = tmp_path / "appendonlydir.before-restore"
    for folder in (log, aside):
        folder.mkdir()
    place.finish([log])
    (log / "what").write_text("of the next day")

    def half(folder, **_):
        if (folder / "restored").exists():
            (folder / "restored").unlink()
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("shutil.rmtree", half)
        place.redis(archive, tmp_path)
    (tmp_path / "restore").rename(tmp_path / "of the run that was killed")
    place.redis(archive, tmp_path)
    assert (aside / "what").read_text() == "of the next day"
