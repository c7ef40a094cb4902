"""Swaps faces in photos: detect, align, embed the source, generate, paste back (geometry: `faces/align.py`).

The generator is a residual network, x_swap = x_tgt + net(x_tgt, z_src), and pasting is residual too: by default only
the change x_swap - x_tgt is resampled to the photo's resolution and added to the photo. Where the network changes
nothing, the photo keeps its grain and detail; a network that returns its target gives back the photo bit for bit. The
price: in photos much finer than the network, fine texture of the target face stays under the new face.
`paste="pixels"` replaces the face's pixels instead: nothing of the target stays, and the face is as soft as the
network's resolution.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from smoothswap_jax.faces.align import Patch, Quad, add_patch, align_face, change_patch, face_patch, ffhq_quad
from smoothswap_jax.faces.detection.base import Detector, Face
from smoothswap_jax.faces.detection.registry import find_faces, find_small_faces
from smoothswap_jax.faces.original import Original
from smoothswap_jax.faces.photos import (
    PathLike,
    Photo,
    PhotoError,
    check_photo,
    load_photo,
    photo_from_pil,
    to_float,
    to_uint8,
)
from smoothswap_jax.faces.tones import in_tone, matched, tint_of
from smoothswap_jax.inference.batching import batch_size, in_steps, tile
from smoothswap_jax.inference.choice import NoFaceError, Which, choose_faces, found_faces
from smoothswap_jax.inference.identities import between, concatenated, mean_identity, towards
from smoothswap_jax.inference.overlap import batches_without_overlap
from smoothswap_jax.provenance.credentials import Model
from smoothswap_jax.provenance.outputs import Provenance
from smoothswap_jax.provenance.watermark import mark_patch
from smoothswap_jax.runtime.folders import PHOTOGRAPHS

PhotoLike = PathLike | Photo | Image.Image
Aligned = UInt8[np.ndarray, "size size 3"]
Identity = Any
"""z, the identity of faces: a pytree whose leaves have the batch as leading axis. Beyond that axis its structure is up
to the embedder; nothing here may depend on it."""
EmbedAligned = Callable[[Float[np.ndarray, "b size size 3"]], Identity]
"""Source faces in [-1, 1] -> z, for any b."""
GenerateAligned = Callable[[Float[np.ndarray, "b size size 3"], Identity], Any]
"""(target faces in [-1, 1], z) -> swaps [b size size 3] in [-1, 1], for any b; the result may be on any device."""
Mask = Callable[[UInt8[np.ndarray, "b size size 3"], UInt8[np.ndarray, "b size size 3"]], Float[np.ndarray, "b n n"]]
"""(aligned target faces, their swaps) -> how much of each place is swapped, 0 where something covers it, to 1."""
Paste = Literal["change", "pixels"]
Color = Literal["keep", "match", "free"]
"""Of new faces: "keep" has the source's tones, and those of the photo where it is grey or sepia; "match" has those of
the target's face, so skin and light stay; "free" gives grey and sepia photos a face in colour."""
MAX_PIXELS = 500_000_000
"""Of a photo to swap. A swap takes about 10 bytes a pixel, and 30 more for each pixel of a face's square."""


class Task(NamedTuple):
    """Faces of a photo that are to change."""

    photo: Photo
    quads: Sequence[Quad]
    z: Identity
    """Of each, [quads ...], or of all of them, [1 ...]."""


class Swapped(NamedTuple):
    """A photo with its faces swapped."""

    photo: Photo
    patches: list[Patch]
    """The changes that made it, in their order."""
    toned: bool
    """Whether a face kept to the tone of a grey or sepia photo."""


@dataclass(frozen=True)
class Swapper:
    """Swaps faces in photos, given an embedder and a generator for aligned faces of `size` pixels.

    identity: shapes of one z, [1 ...], by which a z that does not fit is refused; None: it is not checked.
    max_pixels: larger photos are refused before they are decoded. min_score: faces that the detector is less sure of
    are passed over. mask: keeps what covers faces; None: they are swapped as a whole. model: the networks' digests, if
    they are trained ones. provenance: how what is written is told as synthetic.
    """

    embed_aligned: EmbedAligned
    generate_aligned: GenerateAligned
    size: int
    detect: Detector = find_faces
    identity: Any = None
    max_pixels: int = MAX_PIXELS
    min_score: float = 0.0
    mask: Mask | None = None
    model: Model | None = None
    provenance: Provenance = field(default_factory=Provenance)

    @classmethod
    def load(
        cls,
        run: PathLike = PHOTOGRAPHS,
        step: int | None = None,
        *,
        faces_at_once: int = 1,
        max_pixels: int = MAX_PIXELS,
        min_score: float = 0.0,
        tiles: bool = False,
        mask: Mask | None = None,
        provenance: Provenance | None = None,
    ) -> Swapper:
        """The swapper of a run directory of stage 2, or of an export: EMA generator and frozen embedder.

        It runs on all devices of this host. A face gives the same result bit for bit, alone or in any batch.

        Args:
          run: directory that `smoothswap train` or `smoothswap export` wrote, or a swapper that comes with the package:
            "photographs", or "default", for rendered people. They log a warning that says what they are for
            ("./default" is a directory).
          step: which checkpoint, the newest by default; an export has one.
          faces_at_once: batch size that each device always computes, padded if there are fewer faces. On accelerators
            more than 1 may be faster for many faces; `python -m smoothswap_jax.bench.generate` measures it.
          max_pixels: of a photo. min_score: of a face, as its detector gives it, 0 to 1. tiles: find small faces in
            large photos, too. mask: see `Mask`. provenance: of files that are written, see `Provenance`.

        Raises `CheckpointError` when there is no such checkpoint or it is not one of a swapper, and `ExportError`
        when the export is damaged; before that, for a provenance with a key of yours, what `Provenance.check` raises.
        """
        from smoothswap_jax.inference.load import load_functions
        from smoothswap_jax.runtime.sharding import make_mesh

        if provenance and (provenance.chain or provenance.key):
            provenance.check()
        found = load_functions(run, step)
        mesh = make_mesh(found=jax.local_devices())
        return cls(
            in_steps(found.embed, found.embedder, mesh, faces_at_once),
            in_steps(found.generate, found.generator, mesh, faces_at_once),
            found.size,
            find_small_faces if tiles else find_faces,
            identity=found.identity,
            max_pixels=max_pixels,
            min_score=min_score,
            mask=mask,
            model=found.model,
            provenance=provenance or Provenance(),
        )

    # --- aligned faces ---------------------------------------------------------------------------------------

    def embed(self, faces: PhotoLike | Sequence[PhotoLike] | UInt8[np.ndarray, "b size size 3"]) -> Identity:
        """The identities of aligned faces `uint8 [b, size, size, 3]`, or of the largest face in each photo.

        A photo is whatever `swap` takes; `faces` may be one or a sequence of them. Returns z, a pytree whose leaves
        have the batch as leading axis: slice, tile or average it by `jax.tree.map`. Raises what `read_face` raises.
        """
        if isinstance(faces, jax.Array):
            faces = np.asarray(faces)
        if isinstance(faces, np.ndarray) and faces.ndim == 4:
            aligned = self._checked(faces, "aligned source faces")
        else:
            aligned = self.read_faces(faces)
        return self.embed_aligned(to_float(aligned))

    def _read_one_of(self, photos: Sequence[PhotoLike], place: int, face: Which) -> Aligned:
        """`read_face`, whose errors say which of several photos it was: arrays have no name."""
        try:
            return self.read_face(photos[place], face=face)
        except (NoFaceError, PhotoError) as error:
            if len(photos) == 1:
                raise
            raise type(error)(f"photo {place} of {len(photos)}, from 0: {error}") from error

    def generate(self, targets: UInt8[np.ndarray, "b size size 3"], z: Identity) -> UInt8[np.ndarray, "b size size 3"]:
        """Swaps aligned target faces to the identities `z` (from `embed`): one per target, or one for all.

        Raises ValueError for faces of another shape or dtype, another number of identities, or NaN from the network.
        """
        return to_uint8(self._generate(to_float(self._checked(targets, "aligned target faces")), z))

    def _generate(self, targets: np.ndarray, z: Identity) -> Float[np.ndarray, "b size size 3"]:
        """Swaps of targets in [-1, 1], checked and clipped to the range an image can show."""
        count, given = len(targets), batch_size(z)
        self._check_identity(z)
        if given not in (1, count):
            raise ValueError(f"z: found {given} identities for {count} target faces; wanted one, or one per face")
        swaps = np.asarray(self.generate_aligned(targets, z if given == count else tile(z, count)))
        if swaps.shape != targets.shape:
            raise ValueError(f"generate_aligned: found shape {list(swaps.shape)}; wanted {list(targets.shape)}")
        swaps = swaps.astype(np.float32)
        if not np.isfinite(swaps).all():
            raise ValueError("generate_aligned: found NaN or infinite values; wanted images in [-1, 1]")
        return np.clip(swaps, -1.0, 1.0)

    def _strengthened(self, faces: np.ndarray, z: Identity, strength: float) -> Identity:
        """Identities a share of the way from those of faces in [-1, 1] to z, row by row."""
        self._check_identity(z)
        return towards(self.embed_aligned(faces), z, strength)

    def _masks(self, before: np.ndarray, after: np.ndarray) -> Sequence[np.ndarray | None]:
        """How much of each face is swapped; raises ValueError where the mask's function gives something else."""
        if self.mask is None:
            return [None] * len(before)
        masks = np.asarray(self.mask(to_uint8(before), to_uint8(after)), np.float32)
        if masks.ndim != 3 or len(masks) != len(before) or masks.shape[1] != masks.shape[2]:
            raise ValueError(f"mask: found shape {list(masks.shape)}; wanted [{len(before)}, n, n]")
        if not np.isfinite(masks).all():
            raise ValueError("mask: found NaN or infinite values; wanted 0 to 1")
        return list(masks)

    def _check_identity(self, z: Identity) -> None:
        """Raises ValueError where z is not what the embedder gives."""
        if self.identity is None:
            return
        found, wanted = (
            jax.tree.map(lambda leaf: (*(["b"] if len(np.shape(leaf)) else []), *np.shape(leaf)[1:]), tree)
            for tree in (z, self.identity)
        )
        if found != wanted:
            raise ValueError(f"z: found {found}; wanted {wanted}, as `embed` gives it")

    def _checked(self, faces: np.ndarray, name: str) -> UInt8[np.ndarray, "b size size 3"]:
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.shape[1:] != (self.size, self.size, 3) or not len(faces):
            raise ValueError(
                f"{name}: found {faces.dtype} {list(faces.shape)}; wanted uint8 [b, {self.size}, {self.size}, 3]"
            )
        return faces

    # --- photos ----------------------------------------------------------------------------------------------

    def swap(
        self,
        source: PhotoLike | Sequence[PhotoLike],
        target: PhotoLike,
        *,
        source_face: Which = "largest",
        target_face: Which = "largest",
        paste: Paste = "change",
        color: Color = "keep",
        strength: float = 1.0,
    ) -> Photo:
        """Puts the identity of the source's face into the target photo.

        Args:
          source, target: a path, a `uint8 [h, w, 3]` RGB array or a Pillow image; as source also a list of several
            photos of one person, whose mean identity is taken.
          source_face: which face gives the identity: 'largest', 'left', an index by size, 0 being the largest, or the
            path of another photo of the person, who is found by SFace.
          target_face: which faces are changed: the same, or 'all'.
          paste: "change" adds the network's change to the photo, "pixels" replaces the face (see the module's
            text).
          color: see `Color`.
          strength: how far each face goes from its own identity, 0, to the source's, 1, along the great circle.

        Returns the target photo, `uint8 [h, w, 3]`, changed only inside the faces' quads.

        Raises:
          PhotoError: a photo cannot be read.
          NoFaceError: source or target has no face.
          ValueError: there is no face of that index, or the network returned another shape or NaN.
        """
        faces = self.read_faces(source, face=source_face)
        return self.swap_onto(faces, target, face=target_face, paste=paste, color=color, strength=strength)

    def read_face(self, photo: PhotoLike, *, face: Which = "largest", role: str = "source") -> Aligned:
        """The aligned face of a photo, `uint8 [size, size, 3]`."""
        pixels, name = _read(photo, role, self.max_pixels)
        (chosen,) = self.choose(pixels, face, name, role)
        return align_face(pixels, ffhq_quad(chosen.points), self.size)

    def read_faces(
        self, photos: PhotoLike | Sequence[PhotoLike], *, face: Which = "largest"
    ) -> UInt8[np.ndarray, "b size size 3"]:
        """The aligned faces of one or several source photos, of each the same one; raises as `read_face` does, naming
        the photo of several."""
        photos = [photos] if isinstance(photos, str | os.PathLike | np.ndarray | Image.Image) else photos
        if not isinstance(photos, Sequence):
            raise ValueError(f"source photos: found {type(photos).__name__}; wanted a photo or a list of photos")
        if not len(photos):
            raise ValueError("source photos: found none; wanted at least one")
        return np.stack([self._read_one_of(photos, place, face) for place in range(len(photos))])

    def swap_onto(
        self,
        source: Aligned | UInt8[np.ndarray, "b size size 3"],
        target: PhotoLike,
        *,
        face: Which = "largest",
        paste: Paste = "change",
        color: Color = "keep",
        strength: float = 1.0,
    ) -> Photo:
        """`swap` for a source face that is already aligned (see `read_face`), or several of one person."""
        sources = self._checked(source[None] if np.ndim(source) == 3 else source, "aligned source faces")
        check_how(paste, color, strength)
        # Before the embedder compiles, which takes seconds: a bad target should fail at once.
        photo, quads = self.locate(target, face)
        (swapped,) = self.swap_tasks([Task(photo, quads, mean_identity(self.embed(sources)))], paste, color, strength)
        return swapped.photo

    def swap_identity(
        self,
        z: Identity,
        target: PhotoLike,
        *,
        face: Which = "largest",
        paste: Paste = "change",
        color: Color = "keep",
        strength: float = 1.0,
    ) -> Photo:
        """`swap` for an identity from `embed`, of batch size 1: embeds a source once for many targets."""
        if (given := batch_size(z)) != 1:
            raise ValueError(f"z: found {given} identities for a photo; wanted one")
        check_how(paste, color, strength)
        photo, quads = self.locate(target, face)
        (swapped,) = self.swap_tasks([Task(photo, quads, z)], paste, color, strength)
        return swapped.photo

    def interpolate(
        self,
        first: Identity,
        last: Identity,
        target: PhotoLike,
        count: int,
        *,
        face: Which = "largest",
        paste: Paste = "change",
        color: Color = "keep",
    ) -> Iterator[Photo]:
        """The target with `count` identities on the way from one to another, both from `embed`, of batch size 1: the
        first photo is the swap with `first`, the last that with `last` (Smooth-Swap, figure 9). They are made one at a
        time. The other options are those of `swap`, as is what is raised, at once."""
        check_how(paste, color)
        return self.interpolate_located(first, last, *self.locate(target, face), count, paste, color)

    def interpolate_located(
        self,
        first: Identity,
        last: Identity,
        photo: Photo,
        quads: list[Quad],
        count: int,
        paste: Paste,
        color: Color,
        code: int | None = None,
    ) -> Iterator[Photo]:
        """`interpolate` for a target of which `locate` has found the faces; code: as of `swap_tasks`."""
        way = between(first, last, count)
        rows = (jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], way) for i in range(count))
        return (self.swap_tasks([Task(photo, quads, z)], paste, color, code=code)[0].photo for z in rows)

    def locate(self, target: PhotoLike | Original, face: Which = "largest") -> tuple[Photo, list[Quad]]:
        """A target's pixels and the squares of its faces that `swap` would change."""
        photo, (quads,) = self.locate_each(target, [face])
        return photo, quads

    def locate_each(self, target: PhotoLike | Original, faces: Sequence[Which]) -> tuple[Photo, list[list[Quad]]]:
        """`locate` for several wishes at once, which may not name one face twice; of several, all but one may find no
        face."""
        photo, name = _read(target, "target", self.max_pixels)
        every, missing = found_faces(self.detect, photo), []
        quads: list[list[Quad]] = []
        taken: dict[int, Which] = {}
        for which in faces:
            try:
                found = self.choose(photo, which, name, "target", every)
            except NoFaceError as error:
                missing.append(error)
                found = []
            for one in found:
                if (twice := taken.setdefault(id(one), which)) is not which:
                    raise ValueError(f"{name}: found one face for {twice} and {which}; wanted different people")
            quads.append([ffhq_quad(one.points) for one in found])
        if len(missing) == len(faces):
            raise NoFaceError("; ".join(dict.fromkeys(map(str, missing))))
        return photo, quads

    def choose(
        self, photo: Photo, which: Which, name: str, role: str, every: Sequence[Face] | None = None
    ) -> list[Face]:
        """The faces of a photo that are meant, see `choose_faces`."""
        return choose_faces(
            photo, which, name, role, detect=self.detect, min_score=self.min_score, max_pixels=self.max_pixels,
            every=every,
        )  # fmt: skip

    def swap_tasks(
        self,
        tasks: Sequence[Task],
        paste: Paste = "change",
        color: Color = "keep",
        strength: float = 1.0,
        code: int | None = None,
    ) -> list[Swapped]:
        """Swaps the faces of several photos, as many at once as do not touch each other; a photo comes out the same
        alone or among others. code: of the watermark that the new faces get (`provenance/watermark.py`), None for none:
        whoever writes swaps into files takes that of the `Trail`."""
        check_how(paste, color, strength)
        batches = [batches_without_overlap(task.quads) for task in tasks]
        tints = [[None if color == "free" else tint_of(task.photo, quad) for quad in task.quads] for task in tasks]
        toned = [any(tint is not None for tint in own) for own in tints]
        swapped = [Swapped(task.photo.copy(), [], own) for task, own in zip(tasks, toned, strict=True)]
        pasted: list[list[tuple[Quad, np.ndarray | None]]] = [[] for _ in tasks]
        rows = [tile(task.z, len(task.quads)) if batch_size(task.z) == 1 else task.z for task in tasks]
        for turn in range(max(map(len, batches), default=0)):
            faces = [(k, i) for k, own in enumerate(batches) if turn < len(own) for i in own[turn]]
            before = to_float(np.stack([align_face(swapped[k].photo, tasks[k].quads[i], self.size) for k, i in faces]))
            z = concatenated([jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], rows[k]) for k, i in faces])
            after = self._generate(before, z if strength == 1 else self._strengthened(before, z, strength))
            if color == "match":
                after = matched(before, after)
            masks = self._masks(before, after)
            for (k, i), old, new, mask in zip(faces, before, after, masks, strict=True):
                photo, patches, _ = swapped[k]
                if paste == "change":
                    patch = change_patch(photo, (new - old) * 127.5, tasks[k].quads[i], mask)
                else:
                    patch = face_patch(photo, to_uint8(new), tasks[k].quads[i], mask)
                tint = tints[k][i]
                patches.append(patch if tint is None else in_tone(photo, patch, tint))
                add_patch(photo, patches[-1])
                pasted[k].append((tasks[k].quads[i], mask))
        if code is not None:
            # At last, since a face may be pasted over the edge of another.
            for made, places in zip(swapped, pasted, strict=True):
                _mark(made, places, code)
        return swapped


def check_how(paste: str, color: str = "keep", strength: float = 1.0) -> None:
    """Raises ValueError for a way of pasting, a wish for colours or a strength that `Swapper.swap` does not take."""
    for name, value, known in (("paste", paste, get_args(Paste)), ("color", color, get_args(Color))):
        if value not in known:
            raise ValueError(f"{name}: found {value!r}; wanted one of {', '.join(known)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: found {strength:g}; wanted 0, the face's own identity, to 1, the source's")


def _mark(made: Swapped, places: Sequence[tuple[Quad, np.ndarray | None]], code: int) -> None:
    """Adds a watermark to each of the new faces, given by its square and mask."""
    for quad, mask in places:
        patch = mark_patch(made.photo, quad, code, mask)
        if patch is not None:
            made.patches.append(patch)
            add_patch(made.photo, patch)


def _read(photo: PhotoLike | Original, role: str, max_pixels: int) -> tuple[Photo, str]:
    """The pixels, and the photo's name for error messages."""
    if isinstance(photo, Original):
        return photo.photo, photo.name
    if isinstance(photo, np.ndarray):
        return check_photo(photo, f"{role} array"), f"{role} array"
    if isinstance(photo, Image.Image):
        return photo_from_pil(photo, f"{role} image"), f"{role} image"
    return load_photo(photo, max_pixels=max_pixels), os.fspath(photo)
