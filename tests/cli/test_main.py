"""The command line as a whole: help, exit codes, and what is said of mistakes."""

import gc
import logging
import os
import signal
import sys
import threading
import time
import types

import pytest

from smoothswap_jax.cli import main as main_lib
from smoothswap_jax.runtime.stopping import Stopped

VERBS = (
    *("train", "swap", "verify", "faces", "serve", "prepare", "import", "evaluate", "compare", "export", "bench"),
    *("demo", "reproduce"),
)


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_answers(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main_lib.main(arguments)
    assert exit_.value.code == 0
    assert "usage: smoothswap" in capsys.readouterr().out


def test_help_lists_every_verb(capsys):
    with pytest.raises(SystemExit):
        main_lib.main(["--help"])
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith("    ") and line[4] != " "] == [*VERBS]


def failing(error):
    """A verb that fails."""

    def run(args):
        raise error

    return types.SimpleNamespace(add_parser=lambda verbs: verbs.add_parser("fail").set_defaults(run=run))


@pytest.mark.parametrize(
    "error, code, said",
    [
        (ValueError("field\n  is wrong"), 1, "smoothswap fail: field is wrong\n"),
        (OSError("no file"), 1, "smoothswap fail: no file\n"),
        (ImportError("no library"), 1, "smoothswap fail: no library\n"),
        (FloatingPointError("step 3"), 1, "smoothswap fail: step 3\n"),
        (MemoryError(), 1, "smoothswap fail: found too little memory; wanted smaller files or more\n"),
        (MemoryError("9 GiB"), 1, "smoothswap fail: found too little memory (9 GiB); wanted smaller files or more\n"),
        (RuntimeError("broken"), 70, "Traceback"),
    ],
)
def test_mistakes_are_one_line_and_crashes_a_traceback(error, code, said, monkeypatch, capsys):
    monkeypatch.setattr(main_lib, "VERBS", (failing(error),))
    assert main_lib.main(["fail"]) == code
    assert capsys.readouterr().err.startswith(said)


def test_a_bucket_that_refuses_is_a_mistake_and_other_errors_of_tensorflow_crashes(monkeypatch, capsys):
    errors = pytest.importorskip("tensorflow").errors
    refused = "HTTP response code 403 when reading gs://bucket/run"
    monkeypatch.setattr(main_lib, "VERBS", (failing(errors.PermissionDeniedError(None, None, refused)),))
    assert main_lib.main(["fail"]) == 1
    assert capsys.readouterr().err == f"smoothswap fail: {refused}\n"
    monkeypatch.setattr(main_lib, "VERBS", (failing(errors.UnavailableError(None, None, "503 at gs://b/run")),))
    assert main_lib.main(["fail"]) == 70  # launchers try it again
    assert capsys.readouterr().err == "smoothswap fail: 503 at gs://b/run\n"
    monkeypatch.setattr(main_lib, "VERBS", (failing(errors.InternalError(None, None, "no kernel")),))
    assert main_lib.main(["fail"]) == 70
    assert "Traceback" in capsys.readouterr().err


def verb(name, run):
    return types.SimpleNamespace(add_parser=lambda verbs: verbs.add_parser(name).set_defaults(run=run))


def interrupted(_):
    signal.raise_signal(signal.SIGINT)  # os.kill may reach another thread, and Python only later


def terminated(_):
    signal.raise_signal(signal.SIGTERM)


def stopped(_):
    raise Stopped("RUN", 29, 800, signal.SIGINT)


@pytest.mark.parametrize(
    "name, run, code, said",
    [
        ("demo", interrupted, 130, "smoothswap demo: stopped by Ctrl-C; the same command goes on where it was"),
        ("evaluate", terminated, 143, "smoothswap evaluate: stopped by SIGTERM; the same command goes on where it was"),
        ("export", interrupted, 130, "smoothswap export: stopped by Ctrl-C"),
        ("demo", stopped, 130, f"smoothswap demo: {Stopped('RUN', 29, 800, signal.SIGINT)}"),
    ],
)
def test_a_verb_that_a_signal_stops_says_so_and_does_not_end_well(name, run, code, said, monkeypatch, capsys):
    monkeypatch.setattr(main_lib, "VERBS", (verb(name, run),))
    handlers = lambda: (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), threading.excepthook)
    before = handlers()
    assert main_lib.main([name]) == code
    assert capsys.readouterr().err.strip() == said
    assert handlers() == before


def test_a_signal_that_comes_in_a_callback_of_the_garbage_collector_is_not_lost(monkeypatch, capsys):
    """Python drops what is raised there."""

    def collecting(phase, _):
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    def run(_):
        gc.callbacks.append(collecting)
        gc.collect()
        time.sleep(20)
        ended.append("by itself")

    sent: list[str] = []
    ended: list[str] = []
    monkeypatch.setattr(main_lib, "VERBS", (verb("train", run),))
    monkeypatch.setattr(main_lib.train, "with_others", lambda _: False)
    hook = sys.unraisablehook
    try:
        assert main_lib.main(["train"]) == 143
    finally:
        gc.callbacks.remove(collecting)
    assert sent and not ended and sys.unraisablehook is hook
    assert "stopped by SIGTERM" in capsys.readouterr().err


def test_libraries_notes_about_themselves_are_shown_only_on_request(monkeypatch, caplog):
    def library(_):
        logging.getLogger("absl").warning("saving took %d seconds", 3)
        logging.getLogger("absl").error("lost")
        found.append(tuple(os.environ.get(name) for name in names))

    names, found = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"), []
    monkeypatch.setattr(main_lib, "VERBS", (verb("train", library),))
    for name in names:
        monkeypatch.setenv(name, "x")  # so that it is put back
    for arguments, shown in ((["train"], ["lost"]), (["--verbose", "train"], ["saving took 3 seconds", "lost"])):
        for name in names:
            monkeypatch.delenv(name, raising=False)
        caplog.clear()
        assert main_lib.main(arguments) == 0
        assert caplog.messages == shown
    assert found == [("3", "0"), (None, None)]


def test_verbose_shows_the_traceback_of_a_mistake(monkeypatch):
    monkeypatch.setattr(main_lib, "VERBS", (failing(ValueError("wrong")),))
    for arguments in (["--verbose", "fail"], ["fail", "--verbose"]):
        with pytest.raises(ValueError, match="wrong"):
            main_lib.main(arguments)


@pytest.mark.parametrize(
    "error, said", [(PermissionError(13, "Permission denied", "/a"), "/a: Permission denied; wanted")]
)
def test_errors_of_the_system_name_the_place_and_a_remedy(error, said, monkeypatch, capsys):
    monkeypatch.setattr(main_lib, "VERBS", (failing(error),))
    assert main_lib.main(["fail"]) == main_lib.MISTAKE
    assert capsys.readouterr().err.startswith(f"smoothswap fail: {said}")


def test_tracebacks_of_orbax_that_end_in_an_error_are_not_logged_too():
    def record(file):
        try:
            exec(compile("raise OSError", file, "exec"), {})
        except OSError:
            kind, error, trace = sys.exc_info()
        return logging.LogRecord("absl", logging.ERROR, "absl.py", 1, "failed", (), (kind, error, trace.tb_next))

    assert not main_lib._is_told_once(record("/lib/orbax/checkpoint/futures.py"))
    assert main_lib._is_told_once(record("/lib/other/futures.py"))
    assert main_lib._is_told_once(logging.LogRecord("absl", logging.ERROR, "absl.py", 1, "failed", (), None))


def test_only_some_take_config_overrides(capsys):
    with pytest.raises(SystemExit):
        main_lib.main(["demo", "--config.batch=3"])
    assert "unrecognised arguments: --config.batch=3" in capsys.readouterr().err
