"""Where results go: places are looked at before the work, and nothing is replaced unasked."""

import errno
import os

import pytest

from smoothswap_jax.runtime import files


def test_a_new_place_may_lie_in_folders_that_are_still_to_be_made(tmp_path):
    files.check_new_file(tmp_path / "deep" / "er" / "a.png")
    files.check_new_folder(tmp_path / "deep" / "er")
    files.check_place("gs://bucket/anything")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_replaced_only_if_asked(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(FileExistsError, match=r"a.png: exists already; wanted another name, or --overwrite"):
        files.check_new_file(tmp_path / "a.png")
    files.check_new_file(tmp_path / "a.png", overwrite=True)
    with pytest.raises(IsADirectoryError, match="is a folder; wanted the name of a file"):
        files.check_new_file(tmp_path, overwrite=True)


def test_a_folder_of_another_kind_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="exists already; choose a new folder, or give --overwrite"):
        files.check_new_folder(tmp_path, marks=("mark",))
    with pytest.raises(FileExistsError, match="only a folder of the same kind, and this has no mark"):
        files.check_new_folder(tmp_path, overwrite=True, marks=("mark",))
    with pytest.raises(FileExistsError, match="is a file"):
        files.check_new_folder(tmp_path / "thesis.tex", overwrite=True)


def test_a_place_below_a_file_is_no_place(tmp_path):
    (tmp_path / "file").touch()
    for check in (files.check_new_file, files.check_new_folder, files.check_place):
        with pytest.raises(NotADirectoryError, match=r"file is a file; wanted a folder"):
            check(tmp_path / "file" / "a")


@pytest.mark.parametrize("text", ["s3://bucket/out", "gs:/bucket/out", "GS://bucket/out", "https://host/out"])
def test_an_address_is_no_place(text):
    with pytest.raises(OSError, match="looks like an address; wanted a place on the disk"):
        files.check_new_file(text)


def test_a_place_that_cannot_be_written_to_is_named_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"/proc/x/y: /proc cannot be written to \(.*\); choose another place"):
        files.check_place("/proc/x/y")  # refused to root too
    with pytest.raises(OSError, match=r"has .* free, and 1e\+06 TB are needed; make room first"):
        files.check_place(tmp_path / "x", needed=10**18)

    def read_only(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", read_only)
    with pytest.raises(OSError, match="Read-only file system"):
        files.check_new_file(tmp_path / "a")


def test_the_old_folder_stays_until_the_new_one_is_whole(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "mark").write_text("old")
    (tmp_path / "link").symlink_to(old)
    with pytest.raises(ZeroDivisionError), files.new_folder(old, True, ("mark",)) as made:
        (made / "mark").write_text("half")
        raise ZeroDivisionError
    assert (old / "mark").read_text() == "old"
    with files.new_folder(tmp_path / "link", True, ("mark",)) as made:
        (made / "mark").write_text("new")
        assert (old / "mark").read_text() == "old"
    assert (old / "mark").read_text() == "new" and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b: No space left on device; make room, or"),
        (PermissionError(errno.EACCES, "Permission denied", b"/a"), "/a: Permission denied; wanted a place that this"),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "f/a"),
            "f/a: Not a directory; part of the path is a file",
        ),
        (IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "d"), "d: Is a directory; wanted a file"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (FileExistsError("words of ours"), "words of ours"),
    ],
)
def test_errors_of_the_system_say_what_to_do(error, words):
    assert files.os_error_in_words(error).startswith(words)


def test_an_old_folder_is_put_back_when_the_new_one_does_not_take_its_place(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mark").write_text("old")
    replace, done = os.replace, []

    def interrupted(*places):
        replace(*places)
        done.append(places)
        if len(done) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), files.new_folder(tmp_path / "out", True, ("mark",)) as folder:
        (folder / "mark").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "mark").read_text() == "old"
