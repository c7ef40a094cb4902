"""The page's server: a handful of routes on an address of this machine.

It answers only to its own name and only to its own page: a request whose Host is another's (DNS rebinding), or whose
Origin is another page (a site that a user has open beside it), is refused. The page is three fixed files; everything
else is looked up by random names in a dictionary, never by paths. There are no addresses to fetch from.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.web.intake import take_in
from smoothswap_jax.web.jobs import WENT_WRONG, Job, Workshop
from smoothswap_jax.web.limits import Limits, Refused
from smoothswap_jax.web.store import Store

PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src "
    "'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST_JSON = 10_000
"""Bytes of a request that is no file."""
MOST_RANGES = 1
"""Parts of a file in one request; browsers ask for one."""


def make_app(swapper: Swapper, folder: Path, hosts: Sequence[str], limits: Limits | None = None) -> "OwnPageOnly":
    """The application, whose files lie in `folder`, which is deleted at its end.

    hosts: names by which browsers may call it, as in the Host header, with the port where that is not the usual one.
    """
    limits = limits or Limits()
    store = Store(folder, limits)
    workshop = Workshop(store, swapper)

    async def receive_file(request: Request) -> Response:
        store.check_room()
        name, path = store.new_path()
        try:
            await _saved(request, path, round(limits.megabytes * 1e6))
            item = await asyncio.to_thread(take_in, store, name, path, swapper)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return JSONResponse(dict(item.facts))

    async def send_file(request: Request) -> Response:
        if request.headers.get("range", "").count(",") >= MOST_RANGES:
            raise Refused(416, "found several ranges; wanted one")
        item = store.get(request.path_params["name"])
        shown = item.media.startswith(("image/", "video/")) and "download" not in request.query_params
        name = item.facts.get("name", "file")
        disposition = "inline" if shown else "attachment"
        return FileResponse(item.path, media_type=item.media, filename=name, content_disposition_type=disposition)

    async def delete_file(request: Request) -> Response:
        await asyncio.to_thread(store.remove, store.get(request.path_params["name"]).name)
        return JSONResponse({})

    async def begin(request: Request) -> Response:
        return JSONResponse(workshop.add(_wished(await _json(request), store)).told())

    async def job(request: Request) -> Response:
        return JSONResponse(workshop.get(request.path_params["name"]).told())

    async def cancel(request: Request) -> Response:
        return JSONResponse(workshop.cancel(request.path_params["name"]).told())

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        workshop.start()
        try:
            yield
        finally:
            workshop.close()
            store.close()

    routes = [Route(path, _page(*PAGE[path]), methods=["GET"]) for path in PAGE]
    routes += [
        Route("/files", receive_file, methods=["POST"]),
        Route("/files/{name}", send_file, methods=["GET"]),
        Route("/files/{name}", delete_file, methods=["DELETE"]),
        Route("/jobs", begin, methods=["POST"]),
        Route("/jobs/{name}", job, methods=["GET"]),
        Route("/jobs/{name}", cancel, methods=["DELETE"]),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={Refused: _refusal, HTTPException: _no_route, Exception: _fault},
    )
    app.router.redirect_slashes = False
    return OwnPageOnly(app, hosts, workshop)


class OwnPageOnly:
    """Refuses requests that are not to this server or not from its page, and gives all answers its headers."""

    def __init__(self, app: Callable[..., Awaitable[None]], hosts: Sequence[str], workshop: Workshop):
        self.app, self.hosts, self.workshop = app, frozenset(host.lower() for host in hosts), workshop

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        request = Request(scope)
        host, origin = request.headers.get("host", "").lower(), request.headers.get("origin")
        if host not in self.hosts:
            answer = _text(421, "found another host's name; wanted the address that `smoothswap serve` printed")
        elif origin is not None and _place(origin) not in self.hosts:
            answer = _text(403, "found a request of another page; wanted one of this page")
        else:
            await self.app(scope, receive, with_headers)
            return
        await answer(scope, receive, with_headers)


def _place(origin: str) -> str:
    """The host of an Origin header, '' where it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _page(name: str, media: str) -> Callable[[Request], Awaitable[Response]]:
    content = Path(__file__).with_name(name).read_bytes()

    async def page(_: Request) -> Response:
        return Response(content, media_type=media)

    return page


def _text(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _text(error.status, str(error))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        wanted = " or ".join(sorted(error.headers["Allow"].split(", "))) if error.headers else "another method"
        text = f"found {request.method} {request.url.path}; wanted {wanted}"
    else:
        text = f"found no {request.url.path} here; wanted one of the page's own addresses"
    return JSONResponse({"error": text}, status_code=error.status_code, headers=error.headers)


async def _fault(_: Request, error: Exception) -> Response:
    return _text(500, WENT_WRONG)


async def _saved(request: Request, path: Path, most: int) -> None:
    """Writes the body of a request to a file; Refused for one that is larger than `most` bytes, whatever it says."""
    too_large = Refused(413, f"found a file of more than {most / 1e6:g} MB; wanted a smaller one")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise too_large
    size = 0
    try:
        with path.open("wb") as file:
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                await asyncio.to_thread(file.write, part)
    except ClientDisconnect as error:
        raise Refused(400, "found the end of the connection; wanted a whole file") from error
    except OSError as error:
        raise Refused(507, f"the file cannot be kept ({error.strerror}); try again later") from error
    if not size:
        raise Refused(400, "found an empty file; wanted a photo or a video")


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_JSON:
            raise Refused(413, f"found a request of more than {MOST_JSON} bytes; wanted a shorter one")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "found a request that is no JSON; wanted an object") from error
    if not isinstance(found, dict):
        raise Refused(400, f"found a request that is a {type(found).__name__}; wanted an object")
    return found


def _wished(wish: dict[str, Any], store: Store) -> Job:
    """The job that a browser asks for; Refused for one that cannot be."""
    names, face, strength = wish.get("sources"), wish.get("face", "largest"), wish.get("strength", 1.0)
    if not isinstance(names, list) or not 1 <= len(names) <= store.limits.sources:
        raise Refused(400, f"sources: found {_short(names)}; wanted 1 to {store.limits.sources} photos")
    if not all(isinstance(name, str) for name in (*names, wish.get("target"))):
        raise Refused(400, "sources and target: found other things than names; wanted what was sent before")
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 1:
        raise Refused(400, f"strength: found {_short(strength)}; wanted 0 to 1")
    sources, target = [store.get(name) for name in names], store.get(wish["target"])
    known = all("faces" in item.facts for item in (target, *sources))
    if not known or any(item.facts["kind"] == "video" for item in sources):
        raise Refused(400, "sources and target: found another file; wanted photos as sources, and a photo or a video")
    return Job(sources, target, _face(face, target, store), float(strength))


def _face(face: Any, target: Any, store: Store) -> Any:
    """Which face: a word, or the number of one that was found. In what moves that is its first frame's, and the
    person is meant."""
    faces = target.facts["faces"]
    if face in ("largest", "all", "left"):
        return face
    if isinstance(face, bool) or not isinstance(face, int) or not 0 <= face < len(faces):
        raise Refused(400, f"face: found {_short(face)}; wanted largest, left, all, or 0 to {len(faces) - 1}")
    return face if target.facts["kind"] == "photo" else str(store.get(faces[face]["picture"]).path)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
