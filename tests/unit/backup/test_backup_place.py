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
