import errno
import json
import os
import pathlib
import stat

import numpy as np
import pytest

from tfdvae import callbacks, export, files
from tfdvae.export import compaction, layout


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_atomically_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        files.write_atomically(path, lambda name, text=text: pathlib.Path(name).write_text(text))
        assert path.read_text() == text
    assert names(path.parent) == ["a.txt"]


def test_write_atomically_makes_files_with_the_usual_permissions(tmp_path):
    files.write_json(tmp_path / "a.json", {})
    (tmp_path / "b").touch()
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_write_atomically_keeps_the_old_file_on_an_error(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(name):
        with open(name, "w") as file:
            file.write("half of the n")
        raise error

    with pytest.raises(type(error)):
        files.write_atomically(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_write_atomically_replaces_what_an_interrupted_write_left_behind(tmp_path):
    left = []
    path = tmp_path / "a.weights.h5"
    files.write_atomically(path, lambda name: left.append(name) or pathlib.Path(name).touch())
    with open(left[0], "w") as file:
        file.write("cut o")
    files.write_json(path, [1])
    assert json.loads(path.read_text()) == [1]
    assert names(tmp_path) == ["a.weights.h5"]
    assert left[0].endswith(".weights.h5")  # Keras insists on this suffix


def test_write_atomically_writes_through_links_and_refuses_what_is_no_file(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_json(tmp_path / "link", 1)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "1\n"
    for path in (tmp_path, "/dev/full"):
        with pytest.raises(ValueError, match="regular file"):
            files.write_json(path, 1)
    assert not os.path.isfile("/dev/full")


# --- paths that a user gives ---


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory, and a working directory in which no folder called `~` may appear."""
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"
    assert list(working.iterdir()) == []


class Named:
    """An `os.PathLike` that is no `pathlib.Path`."""

    def __init__(self, text):
        self.text = text

    def __fspath__(self):
        return self.text


@pytest.mark.parametrize("kind", [str, pathlib.Path, Named])
def test_user_path(home, kind):
    assert files.user_path(kind("~/a/b")) == home / "a" / "b"
    assert files.user_path(kind("~")) == home
    assert files.user_path(kind("a/~")) == pathlib.Path("a/~")
    assert files.user_path(kind("/a")) == pathlib.Path("/a")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "`workdir` must be a path, as a string or `os.PathLike`. Received: workdir=None"),
        (3, "Received: workdir=3"),
        (b"a", "Received: workdir=b'a'"),
        ("~nobody-has-this-name/a", "`workdir`: Could not determine home directory. Received: workdir='~nob"),
    ],
)
def test_user_path_refuses(value, message):
    with pytest.raises(ValueError, match=message):
        files.user_path(value, "workdir")


@pytest.mark.parametrize("kind", [str, Named])
def test_files_are_written_below_the_home_directory(home, kind):
    files.write_json(kind("~/new/a.json"), 1)
    assert (home / "new" / "a.json").read_text() == "1\n"


@pytest.mark.parametrize("kind", [str, Named])
def test_callbacks_know_the_home_directory(home, kind):
    log = callbacks.MetricsLog(kind("~/metrics.csv"), kind("~/events"))
    assert (log.path, log.tensorboard_dir) == (home / "metrics.csv", home / "events")
    assert callbacks.MetricsLog(kind("~/metrics.csv")).tensorboard_dir is None
    assert callbacks.TrainingCheckpoint(kind("~/checkpoints")).directory == home / "checkpoints"
    grids = callbacks.ImageGrids(kind("~/events"), np.zeros([1, 2, 2, 1]))
    assert grids.tensorboard_dir == str(home / "events")


@pytest.mark.parametrize("kind", [str, Named])
def test_exports_know_the_home_directory(home, kind):
    version = layout.write_version(kind("~/toy"), lambda path: (path / "saved_model.pb").write_bytes(b"?"))
    assert version == home / "toy" / "1"
    assert layout.versions(kind("~/toy")) == [1]
    assert layout.version_directory(kind("~/toy")) == version
    assert layout.generators(kind("~")) == ["toy"]
    with pytest.raises(ValueError, match=f"The generator in {version} cannot be read"):
        export.load_generator(kind("~/toy"))
    with pytest.raises(FileNotFoundError, match=f"{home / 'nothing'}"):
        export.audit(kind("~/nothing"))
    with pytest.raises(FileNotFoundError, match=f"{home / 'nothing'}"):
        compaction.compact(kind("~/nothing"))
