"""Listening at an address."""

import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.web.limits import Limits

OWN = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine for itself."""


def serve(
    swapper: Swapper,
    host: str,
    port: int,
    names: Sequence[str],
    folder: str | None,
    limits: Limits,
    say: Callable[[str], None],
) -> None:
    """Serves the page until it is interrupted; its files are deleted then.

    Args:
      names: by which browsers may call it, as in the Host header, beside those of this machine and `host`.
      folder: of its files, None for a temporary one.
      say: is told the address.

    Raises OSError where the address cannot be had, and ImportError where the extra `web` is not installed.
    """
    try:
        import uvicorn

        from smoothswap_jax.web.server import make_app
    except ImportError as error:
        raise missing_package("serving the page", error.name or "starlette", "web") from error
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise OSError(f"--host={host} --port={port}: cannot be had ({error.strerror}); wanted another") from error
        port = listening.getsockname()[1]
        made = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="smoothswap-"))
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(0o700)  # names are secrets, which a list of the folder would tell
        own = (*OWN, f"[{host}]" if ":" in host else host)
        called = {*(f"{name}:{port}" for name in own), *names, *(own if port == 80 else ())}
        app = make_app(swapper, made, sorted(called), limits)
        say(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
        )
        server = uvicorn.Server(config)
        # The end of the terminal ends it as Ctrl-C does, which uvicorn knows.
        before = signal.signal(signal.SIGHUP, lambda *_: setattr(server, "should_exit", True))
        try:
            server.run(sockets=[listening])
        finally:
            signal.signal(signal.SIGHUP, before)
            shutil.rmtree(made, ignore_errors=True)
