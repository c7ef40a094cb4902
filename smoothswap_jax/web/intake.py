"""What is sent to the page: told by its content, checked against the limits, and its faces found."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smoothswap_jax.faces.animation_writing import MOST_IN_MEMORY, SUFFIXES
from smoothswap_jax.faces.animations import animation_facts, is_animation
from smoothswap_jax.faces.detection.base import Face
from smoothswap_jax.faces.kinds import PHOTO, VIDEO, kind_of
from smoothswap_jax.faces.metadata import Metadata, save_options
from smoothswap_jax.faces.photos import (
    MAX_PIXELS,
    Photo,
    PhotoError,
    TooLarge,
    check_size,
    load_photo,
    scaled_down,
)
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.video_survey import Survey, survey
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference.choice import found_faces
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.web.limits import Refused
from smoothswap_jax.web.store import Item, Store

SHOWN, FACE = 1200, 112
"""Longest sides of previews and of crops of faces, pixels."""
_OF_PHOTOS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}
"""Of the formats that a result is written in; others become PNG."""
MEDIA = {
    **{".gif": "image/gif", ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff"},
    **{".mp4": "video/mp4", ".mkv": "video/x-matroska"},
}


def take_in(store: Store, name: str, path: Path, swapper: Swapper) -> Item:
    """Makes an item of a file that was sent. Raises Refused for what is neither a photo nor a video, or too large."""
    kind = kind_of(path)
    if is_animation(str(path)):
        return _animation(store, name, path, swapper)
    if kind == PHOTO:
        return _photo(store, name, path, swapper)
    if kind == VIDEO:
        return _video(store, name, path, swapper)
    raise Refused(415, "found neither a photo nor a video; wanted JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, or a video")


def _photo(store: Store, name: str, path: Path, swapper: Swapper) -> Item:
    try:
        photo = load_photo(path, max_pixels=_most_pixels(store))
        with Image.open(path) as image:
            suffix = _OF_PHOTOS.get(image.format or "", ".png")
    except PhotoError as error:
        raise _refused(error, path, "the photo") from error
    except OSError:  # a format that Pillow reads only through a plug-in
        suffix = ".png"
    return _known(store, name, path, swapper, photo, {"kind": "photo", "suffix": suffix})


def _animation(store: Store, name: str, path: Path, swapper: Swapper) -> Item:
    """Of a file of a format that moves; one that holds a single picture is a photo to its user."""
    try:
        check_size(path, min(_most_pixels(store), MAX_PIXELS))
        told = animation_facts(str(path))
        if told.frames * told.width * told.height > MOST_IN_MEMORY:
            raise Refused(
                413,
                f"found {told.frames} frames of {told.width}x{told.height} pixels; wanted at most "
                f"{MOST_IN_MEMORY // 10**6} million pixels in all",
            )
        held = survey(str(path))
        if held.frames > 1:
            _check_seconds(store, held)
        first = next(iter(read_frames(str(path), [0])))
    except (PhotoError, VideoError) as error:
        raise _refused(error, path, "the picture") from error
    moves = {"kind": "animation", "frames": held.frames, "seconds": round(held.seconds, 2)}
    facts = moves if held.frames > 1 else {"kind": "photo"}
    return _known(store, name, path, swapper, first.picture, facts | {"suffix": SUFFIXES[told.form]})


def _video(store: Store, name: str, path: Path, swapper: Swapper) -> Item:
    try:
        held = survey(str(path))
        _check_seconds(store, held)
        first = next(iter(read_frames(str(path), [0])))
    except VideoError as error:
        raise _refused(error, path, "the video") from error
    except StopIteration as error:
        raise Refused(415, "found no whole first frame in the video; wanted a whole one") from error
    facts = {"kind": "video", "frames": held.frames, "seconds": round(held.seconds, 2)}
    return _known(store, name, path, swapper, first.picture, facts)


def _refused(error: Exception, path: Path, what: str) -> Refused:
    return Refused(413 if isinstance(error, TooLarge) else 415, in_words(error, {path: what}))


def _most_pixels(store: Store) -> int:
    return round(store.limits.megapixels * 1e6)


def _check_seconds(store: Store, held: Survey) -> None:
    if held.seconds > store.limits.seconds:
        raise Refused(413, f"found a video of {held.seconds:.0f} s; wanted at most {store.limits.seconds:g}")


def _known(store: Store, name: str, path: Path, swapper: Swapper, photo: Photo, facts: dict[str, Any]) -> Item:
    """The item of a photo or of the first frame of what moves, with a preview and its faces."""
    faces = found_faces(swapper.detect, photo)
    preview = add_picture(store, photo, SHOWN)
    crops = [add_picture(store, _crop(photo, face), FACE) for face in faces]
    height, width = photo.shape[:2]
    told = [
        {
            "number": k,
            "picture": crop.name,
            "box": [round(float(v), 1) for v in face.box],
            "score": round(face.score, 3),
        }
        for k, (face, crop) in enumerate(zip(faces, crops, strict=True))
    ]
    facts |= {"id": name, "width": width, "height": height, "preview": preview.name, "faces": told}
    parts = [preview.name, *(crop.name for crop in crops)]
    return store.add(Item(name, path, "application/octet-stream", facts, parts))


def add_picture(store: Store, photo: Photo, side: int) -> Item:
    """A small JPEG of a photo that was sent, for the browser."""
    name, path = store.new_path(".jpg")
    path.write_bytes(small_jpeg(photo, side, Metadata()))
    return store.add(Item(name, path, "image/jpeg"))


def small_jpeg(photo: Photo, side: int, metadata: Metadata) -> bytes:
    """The file of a photo whose long side is at most `side` pixels."""
    data = io.BytesIO()
    Image.fromarray(scaled_down(photo, side)[0]).save(data, "JPEG", quality=90, **save_options(metadata, "JPEG"))
    return data.getvalue()


def _crop(photo: Photo, face: Face) -> Photo:
    """A face with what is around it, as a face can be found in it again."""
    middle = (face.box[:2] + face.box[2:]) / 2
    half = 0.9 * float(np.max(face.box[2:] - face.box[:2]))
    low = np.maximum(np.floor(middle - half), 0).astype(int)
    high = np.ceil(middle + half).astype(int)
    return photo[low[1] : high[1], low[0] : high[0]]


def in_words(error: Exception, names: dict[Path, str]) -> str:
    """The text of an error without the paths of this machine and the command's options."""
    text = str(error)
    for path, name in names.items():
        text = text.replace(str(path), name).replace(path.name, name)
    return re.sub(r" \(--[^()]*\)", "", text)
