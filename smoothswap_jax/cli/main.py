"""`smoothswap <verb>`: one file a verb, with `add_parser` for its options and `run`, which imports what it needs."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

from smoothswap_jax.cli import (
    bench,
    compare,
    demo,
    evaluate,
    export,
    faces,
    import_network,
    prepare,
    reproduce,
    serve,
    swap,
    train,
    verify,
)
from smoothswap_jax.runtime.program_cache import keep_programs_of_commands
from smoothswap_jax.runtime.stopping import Stopped

DESCRIPTION = "Smooth-Swap face swapping in JAX: train, swap, prepare, import, export, measure."
VERBS = (train, swap, verify, faces, serve, prepare, import_network, evaluate, compare, export, bench, demo, reproduce)
"""In the order of `smoothswap --help`."""

TAKE_OVERRIDES = ("train", "bench")
"""Verbs that take --config.field=value."""

MISTAKE, CRASH = 1, 70
"""Exit codes. After 1, as after argparse's 2, the user has to fix something; after 70 a launcher may try again. A verb
that a signal stops ends with 128 and its number, as in a shell: 130 after Ctrl-C, 143 after SIGTERM."""
GO_ON = ("train", "prepare", "evaluate", "demo", "reproduce")
"""Verbs that go on where they were stopped; others say by `goes_on` of their arguments whether they do."""


REFUSED = ("PermissionDeniedError", "UnauthenticatedError", "NotFoundError", "InvalidArgumentError")
"""Errors of TensorFlow about a bucket that would come again; others may pass, and launchers start again."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class Parser(argparse.ArgumentParser):
    """Takes a function as epilog too, for text that costs imports: it is called when help is printed."""

    epilog: str | Callable[[], str] | None  # type: ignore[assignment]

    def format_help(self) -> str:
        if callable(self.epilog):
            self.epilog = self.epilog()
        return super().format_help()


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; returns the exit code. Mistakes of the user are one line on stderr, without a traceback."""
    parser = make_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.verb not in TAKE_OVERRIDES:
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    _set_up_logging(args.verbose)
    keep_programs_of_commands()
    args.overrides = rest
    try:
        with _signals_raise():
            return args.run(args) or 0
    except Stopped as stop:
        print(f"smoothswap {args.verb}: {stop}", file=sys.stderr)
        code = 128 + stop.signal
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        goes_on = args.verb in GO_ON or getattr(args, "goes_on", False)
        how = "; the same command goes on where it was" if goes_on else ""
        print(f"\nsmoothswap {args.verb}: stopped by {'SIGTERM' if terminated else 'Ctrl-C'}{how}", file=sys.stderr)
        code = 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if args.verbose:
            raise
        print(f"smoothswap {args.verb}: {_in_words(error)}", file=sys.stderr)
        code = MISTAKE
    except MemoryError as error:
        if args.verbose:
            raise
        found = f" ({_in_words(error)})" if str(error) else ""
        print(f"smoothswap {args.verb}: found too little memory{found}; wanted smaller files or more", file=sys.stderr)
        code = MISTAKE
    except Exception as error:
        if args.verbose or not _says_a_bucket(error):
            traceback.print_exc()
        else:
            print(f"smoothswap {args.verb}: {_in_words(error)}", file=sys.stderr)
        code = MISTAKE if _says_a_bucket(error) and type(error).__name__ in REFUSED else CRASH
    if args.verb == "train" and train.with_others(args):
        sys.stderr.flush()
        os._exit(code)  # JAX would wait minutes for the others, who wait for this one
    return code


def _is_told_once(record: logging.LogRecord) -> bool:
    """False for Orbax's pages of tracebacks of errors that it raises too, from each of its threads."""
    trace = record.exc_info[2] if record.exc_info else None
    return trace is None or "/orbax/" not in trace.tb_frame.f_code.co_filename


def _says_a_bucket(error: Exception) -> bool:
    """Whether it is an error of TensorFlow, which are no OSErrors, about a bucket: that nobody may read, say."""
    from smoothswap_jax.runtime.paths import SCHEME

    return type(error).__module__.startswith("tensorflow.") and SCHEME in str(error)


def _in_words(error: Exception) -> str:
    """The error in one line."""
    from smoothswap_jax.runtime.files import os_error_in_words

    return " ".join((os_error_in_words(error) if isinstance(error, OSError) else str(error)).split())


def _set_up_logging(verbose: bool) -> None:
    """Our own notes are shown, those of libraries only if they are errors, or `verbose`. Must be called before
    TensorFlow and JAX are imported: what their C++ parts write to stderr is decided then."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("smoothswap_jax").setLevel(logging.INFO)
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # TensorFlow says that it uses oneDNN whatever the level; it only reads and augments images here, without it.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from absl import logging as absl_logging  # Orbax's; its import sets the level of its logger

    absl_logging.set_verbosity(absl_logging.INFO if verbose else absl_logging.ERROR)
    if not verbose:
        for handler in logging.getLogger().handlers:  # absl's logger ignores filters of its own
            handler.addFilter(_is_told_once)


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """While the block runs, SIGTERM and the end of the terminal raise Terminated as Ctrl-C raises KeyboardInterrupt, so
    that what was begun is put in order; another SIGTERM ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number, _frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.excepthook = lambda _: None  # threads whose work ends under them have errors that mean nothing
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def again(dropped):
        """Python drops what is raised in destructors and callbacks of its garbage collector, and calls this."""
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            return unraisable(dropped)
        number = signal.SIGTERM if isinstance(dropped.exc_value, Terminated) else signal.SIGINT
        signal.signal(number, handle)
        later.append(threading.Timer(0.05, os.kill, (os.getpid(), number)))
        later[-1].start()

    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in stops}
    later: list[threading.Timer] = []
    hook, unraisable = threading.excepthook, sys.unraisablehook
    sys.unraisablehook = again
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as of commands in the background of a script
            signal.signal(number, handle)
    try:
        yield
    finally:
        for timer in later:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        threading.excepthook, sys.unraisablehook = hook, unraisable


def make_parser() -> Parser:
    """The command line; `run` of the result is the verb's function."""
    parser = Parser(prog="smoothswap", description=DESCRIPTION, allow_abbrev=False)
    about = "log more, also what libraries say of themselves, and show tracebacks"
    parser.add_argument("--verbose", action="store_true", help=about)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        verb.add_parser(verbs)
    for own in verbs.choices.values():  # before the verb or behind it
        own.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help=about)
    return parser
