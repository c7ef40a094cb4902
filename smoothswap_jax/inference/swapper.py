"""Swaps a face in a photo: find, align, run the network, put the change back. (Geometry: `data/align.py`.)

The network adds to the target, `x_swap = x_tgt + net(x_tgt, z_src)`, and so does the paste: by default only
the change `x_swap - x_tgt` is brought to the photo's resolution and added to the photo. Where the network
changes nothing the photo keeps its grain and detail, and a network that returns its target returns the photo
bit for bit. The price: in photos much finer than the network, fine texture of the target face stays under the
new face. `paste="pixels"` replaces the face's pixels instead: nothing of the target stays, and the face is as
soft as the network's resolution.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from smoothswap_jax.faces.align import align_face, ffhq_quad, paste_back, paste_change
from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.detection.yunet import detect_faces
from smoothswap_jax.faces.photos import (
    PathLike,
    Photo,
    PhotoError,
    check_output,
    check_photo,
    load_photo,
    photo_from_pil,
    save_photo,
)

PhotoLike = PathLike | Photo | Image.Image
Aligned = UInt8[np.ndarray, "size size 3"]
SwapAligned = Callable[[Float[np.ndarray, "b h w 3"], Float[np.ndarray, "b h w 3"]], Any]
"""(source, target) -> swapped, all `[b, size, size, 3]` in [-1, 1]; the result may lie on any device."""
Paste = Literal["change", "pixels"]


class NoFaceError(ValueError):
    """No face was found; the text names the photo."""


@dataclass(frozen=True)
class Swapper:
    """Swaps faces in photos with `swap_aligned`, a function of aligned faces of `size` pixels."""

    swap_aligned: SwapAligned
    size: int
    detect: Detector = detect_faces

    @classmethod
    def load(cls, run: PathLike, step: int | None = None) -> Swapper:
        """The swapper of a run directory of stage 2, or of an export: averaged generator and frozen embedder.

        Args:
          run: directory that `smoothswap train` or `smoothswap export` wrote.
          step: which checkpoint, the newest by default; an export has one.

        Raises `CheckpointError` when there is no such checkpoint or it is not one of a swapper, and `ExportError`
        when the export is damaged.
        """
        from smoothswap_jax.inference.export.export_folder import is_export, load_export
        from smoothswap_jax.inference.restore import load_trained, swap_function

        if is_export(run):
            found = load_export(run)
            if step not in (None, found.step):
                raise ValueError(f"{os.fspath(run)}: an export of step {found.step}; wanted step {step}")
        else:
            found = load_trained(run, step)
        return cls(swap_function(found), found.size)

    def swap(
        self,
        source: PhotoLike,
        target: PhotoLike,
        *,
        source_face: Literal["largest"] | int = "largest",
        target_face: Literal["largest", "all"] | int = "largest",
        paste: Paste = "change",
    ) -> Photo:
        """Puts the identity of the source's face into the target photo.

        Args:
          source, target: a path, a `uint8 [h, w, 3]` RGB array or a Pillow image.
          source_face: which face gives the identity: the largest, or an index, 0 being the largest.
          target_face: which faces are changed: the largest, all, or one by index.
          paste: "change" adds the network's change to the photo, "pixels" replaces the face (see the module's
            text).

        Returns the target photo, `uint8 [h, w, 3]`, changed only inside the faces' quads.

        Raises:
          PhotoError: a photo cannot be read.
          NoFaceError: source or target has no face.
          ValueError: there is no face of that index, or `swap_aligned` gave another shape or NaN.
        """
        return self.swap_onto(self.read_face(source, face=source_face), target, face=target_face, paste=paste)

    def read_face(
        self, photo: PhotoLike, *, face: Literal["largest"] | int = "largest", role: str = "source"
    ) -> Aligned:
        """The aligned face of a photo, `uint8 [size, size, 3]`; for swapping one source onto many targets."""
        pixels, name = _read(photo, role)
        (chosen,) = _choose(self.detect(pixels), face, name, role)
        return align_face(pixels, ffhq_quad(chosen.points), self.size)

    def swap_onto(
        self,
        source: Aligned,
        target: PhotoLike,
        *,
        face: Literal["largest", "all"] | int = "largest",
        paste: Paste = "change",
    ) -> Photo:
        """`swap` with a source face that is aligned already (`read_face`)."""
        if paste not in ("change", "pixels"):
            raise ValueError(f"paste: found {paste!r}; wanted 'change' or 'pixels'")
        source = check_photo(source, "aligned source face")
        if source.shape != (self.size, self.size, 3):
            raise ValueError(f"aligned source face: found {list(source.shape)}; wanted [{self.size}, {self.size}, 3]")
        photo, name = _read(target, "target")
        # One after the other: where crops overlap, the next face is cut from a photo that holds the last one.
        for chosen in _choose(self.detect(photo), face, name, "target"):
            quad = ffhq_quad(chosen.points)
            before = _to_unit(align_face(photo, quad, self.size))
            after = self._run(_to_unit(source), before)
            if paste == "change":
                photo = paste_change(photo, (after - before) * 127.5, quad)
            else:
                photo = paste_back(photo, np.rint((after + 1) * 127.5).astype(np.uint8), quad)
        return photo

    def _run(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """One aligned pair through the network, checked and clipped to the range a picture can show."""
        result = np.asarray(self.swap_aligned(source[None], target[None]))
        if result.shape != (1, *target.shape):
            raise ValueError(f"swap_aligned: found shape {list(result.shape)}; wanted {[1, *target.shape]}")
        result = result[0].astype(np.float32)
        if not np.isfinite(result).all():
            raise ValueError("swap_aligned: found NaN or infinite values; wanted an image in [-1, 1]")
        return np.clip(result, -1.0, 1.0)


def swap_files(swapper: Swapper, source: PathLike, target: PathLike, output: PathLike, **options: Any) -> None:
    """Swaps between files; `options` are those of `Swapper.swap`. The output's name is checked first.

    Raises what `Swapper.swap` raises, and `PhotoError` for an output that cannot be written or is one of the
    inputs.
    """
    check_output(output)
    for given in (source, target):
        if Path(output).exists() and Path(given).exists() and os.path.samefile(output, given):
            raise PhotoError(f"{os.fspath(output)}: found the output to be an input photo; wanted another name")
    save_photo(output, swapper.swap(source, target, **options))


def _read(photo: PhotoLike, role: str) -> tuple[Photo, str]:
    """The pixels and how to call the photo in an error."""
    if isinstance(photo, np.ndarray):
        return check_photo(photo, f"{role} array"), f"{role} array"
    if isinstance(photo, Image.Image):
        return photo_from_pil(photo, f"{role} image"), f"{role} image"
    return load_photo(photo), os.fspath(photo)


def _choose(faces: list[Face], which: str | int, name: str, role: str) -> list[Face]:
    """The wanted ones of `faces`, which are sorted by area."""
    if not faces:
        raise NoFaceError(f"{name}: found no face; wanted a photo with a face that is seen from the front or the side")
    if which == "largest":
        return faces[:1]
    if which == "all" and role == "target":
        return faces
    if isinstance(which, bool) or not isinstance(which, int):
        wanted = "'largest', 'all' or an index" if role == "target" else "'largest' or an index"
        raise ValueError(f"{role}_face: found {which!r}; wanted {wanted}")
    if not 0 <= which < len(faces):
        raise ValueError(
            f"{role}_face: found {which}; wanted 0 to {len(faces) - 1}, as {name} has {len(faces)} face(s)"
        )
    return [faces[which]]


def _to_unit(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """0-255 to [-1, 1]."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1)
