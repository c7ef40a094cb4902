"""`smoothswap <verb>`: one file a verb, with `add_parser` for its options and `run`, which imports what it needs."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable

from smoothswap_jax.cli import bench, compare, demo, evaluate, export, import_network, prepare, swap, train

DESCRIPTION = "Smooth-Swap face swapping in JAX: train, swap, prepare, import, export, measure."
VERBS = (train, swap, prepare, import_network, evaluate, compare, export, bench, demo)
"""In the order of `smoothswap --help`."""

TAKE_OVERRIDES = ("train", "bench")
"""Verbs that take --config.field=value."""

MISTAKE, CRASH = 1, 70
"""Exit codes. After 1, as after argparse's 2, the user has to fix something; after 70 a launcher may try again."""


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
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("smoothswap_jax").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports each file it touches
    if not args.verbose:
        for handler in logging.getLogger().handlers:  # absl's logger ignores filters of its own
            handler.addFilter(_is_told_once)
    args.overrides = rest
    try:
        return args.run(args) or 0
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if args.verbose:
            raise
        print(f"smoothswap {args.verb}: {_in_words(error)}", file=sys.stderr)
        code = MISTAKE
    except Exception:
        traceback.print_exc()
        code = CRASH
    if args.verb == "train" and train.with_others(args):
        sys.stderr.flush()
        os._exit(code)  # JAX would wait minutes for the others, who wait for this one
    return code


def _is_told_once(record: logging.LogRecord) -> bool:
    """False for Orbax's pages of tracebacks of errors that it raises too, from each of its threads."""
    trace = record.exc_info[2] if record.exc_info else None
    return trace is None or "/orbax/" not in trace.tb_frame.f_code.co_filename


def _in_words(error: Exception) -> str:
    """The error in one line."""
    from smoothswap_jax.runtime.files import os_error_in_words

    return " ".join((os_error_in_words(error) if isinstance(error, OSError) else str(error)).split())


def make_parser() -> Parser:
    """The command line; `run` of the result is the verb's function."""
    parser = Parser(prog="smoothswap", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--verbose", action="store_true", help="log more, and show tracebacks")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        verb.add_parser(verbs)
    return parser
