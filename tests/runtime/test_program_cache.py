"""What one process compiles, the next finds, where the user keeps caches, unless the user says otherwise."""

import json
import logging
import os
import subprocess
import sys
import warnings

import jax
import pytest

from smoothswap_jax.cli import main as cli
from smoothswap_jax.runtime import program_cache
from smoothswap_jax.runtime.program_cache import ENABLED, FOLDER, SMALL_TOO, keep_programs, replace_unreadable, trim
from tests.places import ROOT

ONE_PROGRAM = """
import json, sys
from collections import Counter
from smoothswap_jax.runtime.program_cache import keep_programs_of_commands
keep_programs_of_commands()
assert "jax" not in sys.modules
import jax
events = Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rpartition("/")[2]]))
double = jax.jit(lambda x: 2 * x + 1)
assert double(1.0) == 3
print(json.dumps([jax.config.jax_compilation_cache_dir, events["cache_hits"], events["cache_misses"]]))
"""


@pytest.fixture
def unset(monkeypatch, tmp_path):
    """A user who has set nothing, neither by the environment nor in JAX, and whose caches lie in tmp_path/cache."""
    names = {name: name.lower() for name in (FOLDER, *SMALL_TOO)}
    for name in (*names, ENABLED):
        monkeypatch.setenv(name, "")  # so that it is put back even where a test sets it
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = {name: jax.config.values[name] for name in names.values()}
    jax.config.update(names[FOLDER], None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    yield tmp_path / "cache" / "smoothswap-jax" / "xla"
    for name, value in before.items():
        jax.config.update(name, value)


def folder_and_least():
    return jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs


def one_program(**environment):
    """(folder, programs found in the cache, programs compiled) of a process."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROGRAM], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout.splitlines()[-1])), done.stderr


def test_the_second_process_compiles_nothing(unset):
    (folder, found, compiled), _ = one_program()
    assert folder == str(unset) and (found, compiled > 0) == (0, True)
    assert len(list(unset.iterdir())) == compiled and unset.stat().st_mode & 0o777 == 0o700
    assert one_program()[0] == (str(unset), compiled, 0)


def test_what_the_user_has_set_is_kept_to(unset, tmp_path):
    (folder, _, _), _ = one_program(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert folder == str(tmp_path / "own") and not unset.exists()
    (folder, *counts), _ = one_program(JAX_COMPILATION_CACHE_DIR="")
    assert not folder and counts == [0, 0]
    (folder, *counts), said = one_program(JAX_ENABLE_COMPILATION_CACHE="0")
    assert folder is None and counts == [0, 0] and not unset.exists() and not said
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    keep_programs()
    keep_programs(tmp_path / "other")
    assert folder_and_least() == (str(tmp_path / "mine"), 1.0) and not unset.exists()


def test_a_run_may_say_another_folder_than_the_command_or_none(unset, tmp_path):
    keep_programs("")
    assert folder_and_least() == (None, 1.0)
    keep_programs()
    assert folder_and_least() == (str(unset), 0.0)
    keep_programs("")
    assert jax.config.jax_compilation_cache_dir is None
    keep_programs()
    keep_programs(tmp_path / "of the run")
    assert folder_and_least() == (str(tmp_path / "of the run"), 0.0)


@pytest.mark.parametrize("kind", ["a file", "another user's"])
def test_a_folder_that_cannot_be_used_is_told_and_does_no_harm(kind, unset, monkeypatch, caplog, tmp_path):
    if kind == "a file":
        (tmp_path / "cache").write_text("")
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with caplog.at_level(logging.INFO):
        keep_programs()
        program_cache.keep_programs_of_commands()
    assert jax.config.jax_compilation_cache_dir is None and FOLDER not in os.environ
    (said, _) = caplog.messages
    assert said.startswith(f"compiled programs are not kept in {unset}: ") and "JAX_COMPILATION_CACHE_DIR=" in said


def test_programs_that_were_cut_off_are_replaced(unset):
    (_, _, compiled), _ = one_program()
    kept = {path: path.read_bytes() for path in unset.iterdir()}
    for number, (path, data) in enumerate(kept.items()):
        path.write_bytes((data[: len(data) // 2], b"", data[:-1], b"none")[number % 4])
    (_, found, again), said = one_program()
    assert (found, again) == (0, compiled) and {path.name for path in kept} == {path.name for path in unset.iterdir()}
    assert "Error reading" not in said  # by JAX; our own notes are shown by commands
    (_, found, again), said = one_program()
    assert (found, again, said) == (compiled, 0, "")


def test_other_warnings_are_shown_as_ever(tmp_path, caplog):
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: shown.append(str(message))
        replace_unreadable(tmp_path)
        for name in ("jit_f-12-cache", "jit_f-34-cache", "jit_fg-12-cache", "jit_f-12-other"):
            (tmp_path / name).write_text("x")
        with caplog.at_level(logging.INFO):
            warnings.warn("another", stacklevel=1)
            warnings.warn("Error reading persistent compilation cache entry for 'jit_f': no\nzlib", stacklevel=1)
    assert shown == ["another"] and "'jit_f': no zlib; it is compiled anew" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jit_f-12-other", "jit_fg-12-cache"]


def test_without_a_home_folder_programs_are_not_kept(no_home, unset, monkeypatch, caplog):
    monkeypatch.delenv("XDG_CACHE_HOME")
    with caplog.at_level(logging.INFO):
        keep_programs()
        keep_programs("~/programs")
        program_cache.keep_programs_of_commands()
    assert jax.config.jax_compilation_cache_dir is None and FOLDER not in os.environ
    assert [said.partition(";")[0] for said in caplog.messages] == [
        f"compiled programs are not kept: {path}: found no home folder of this user"
        for path in ("~/.cache/smoothswap-jax", "~/programs", "~/.cache/smoothswap-jax")
    ]
    assert "wanted the environment variable JAX_COMPILATION_CACHE_DIR=FOLDER" in caplog.text


def test_those_used_least_recently_make_room(tmp_path):
    for k, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1e9 + (10 if name == "a" else k), 1e9 + k))  # a was read again
    trim(tmp_path, 400)
    assert len(list(tmp_path.iterdir())) == 4
    trim(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]


def test_every_verb_keeps_programs(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(cli, "keep_programs_of_commands", lambda: calls.append(1))
    assert cli.main(["verify", str(tmp_path / "none.png")]) != 0
    assert calls == [1]
