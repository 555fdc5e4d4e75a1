"""The folder of backups: a backup is there whole, or not at all, and a damaged one is refused."""

import io

import pytest

from selvage.backup import frames, manifest
from selvage.backup.store import Store
from selvage.fields import Invalid

NAMES = ["20261120T031700Z", "20261121T031700Z", "20261122T031700Z"]


def complete(name):
    about = {"fabric": "shop", "service": "redis", "name": name, "member": "redis2"}
    said = {"role": "replica", "position": "7", "version": "", "encrypted": False}
    return lambda details: manifest.complete(about, {**said, **details})


def keep(store, name, data=b"all of it"):
    stream = io.BytesIO(b"".join(frames.pack([data], dict)))
    return store.keep(name, stream, complete(name))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_backup_is_kept_for_root_alone(store):
    made = keep(store, NAMES[0])
    assert store.names() == [NAMES[0]] and store.verify(NAMES[0]) == made
    assert store.path(NAMES[0]).read_bytes() == b"all of it"
    assert (store.folder / NAMES[0]).stat().st_mode & 0o777 == 0o700


def test_what_did_not_come_whole_leaves_nothing(store):
    stream = b"".join(frames.pack([b"all of it"], dict))
    for cut in (stream[:-1], frames.end({}), stream[:14] + frames.failure("the disk is full")):
        with pytest.raises(frames.BrokenError):
            store.keep(NAMES[0], io.BytesIO(cut), complete(NAMES[0]))
        assert [*store.folder.iterdir()] == []


def test_a_manifest_that_nobody_would_read_is_not_written(store):
    stream = b"".join(frames.pack([b"data"], lambda: {"role": "boss"}))
    with pytest.raises(Invalid, match="role"):
        store.keep(NAMES[0], io.BytesIO(stream), complete(NAMES[0]))
    assert [*store.folder.iterdir()] == []


def test_what_an_interrupted_run_left_is_no_backup_and_goes(store):
    (store.folder / ".partial").mkdir()
    (store.folder / ".partial" / "data").write_bytes(b"half")
    assert store.names() == []
    keep(store, NAMES[0])
    assert [path.name for path in store.folder.iterdir()] == NAMES[:1]


def test_the_oldest_go(store):
    for name in NAMES:
        keep(store, name)
    assert store.rotate(2) == NAMES[:1]
    assert store.names() == NAMES[1:]


def test_a_damaged_backup_is_refused(store):
    keep(store, NAMES[0])
    path = store.path(NAMES[0])
    path.write_bytes(b"all of iT")
    with pytest.raises(Invalid, match=f"^{path}: is damaged, its SHA-256 differs"):
        store.verify(NAMES[0])
    path.unlink()
    with pytest.raises(Invalid, match="No such file"):
        store.verify(NAMES[0])


def test_a_damaged_manifest_is_refused(store):
    keep(store, NAMES[0])
    path = store.folder / NAMES[0] / "manifest.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(Invalid, match=f"^{path}: is damaged"):
        store.verify(NAMES[0])
