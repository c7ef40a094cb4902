"""A swap of every kind that is written, by toys."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from smoothswap_jax.faces.photos import save_photo
from smoothswap_jax.inference.albums import swap_folder
from smoothswap_jax.inference.animations import swap_animation
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.interpolation import interpolate_files
from smoothswap_jax.inference.swapper import Swapper
from smoothswap_jax.inference.video import swap_video
from smoothswap_jax.provenance.credentials import Model
from smoothswap_jax.provenance.outputs import Provenance
from tests.faces import make_photos as made
from tests.faces.make_videos import write_animation
from tests.inference import painted_videos as videos
from tests.inference.pixel_swappers import grain, marked, toy

MODEL = Model("a" * 64, "b" * 64, 800)


def told(swapper: Swapper, provenance: Provenance | None = None) -> Swapper:
    return dataclasses.replace(swapper, model=MODEL, provenance=provenance or Provenance())


def inputs(folder: Path) -> Path:
    """Sources and targets of every kind."""
    for number in (1, 2):
        save_photo(folder / f"source{number}.png", grain(seed=number))
    save_photo(folder / "bright.png", videos.painted({videos.MAGENTA: (80, 45)}, grey=200))
    save_photo(folder / "photo.png", grain())
    for name in ("16-bit.png", "16-bit.tif", "turned-6.jpg", "alpha.webp", "cmyk.tif"):
        (folder / name).write_bytes(made.KINDS[name](made.picture(160, 260)))
    write_animation(folder / "dance.gif", [videos.painted(videos.paths(k)) for k in range(3)])
    videos.film(folder / "film.mp4")
    videos.lossless(folder / "silent.mkv")
    album = folder / "album"
    album.mkdir()
    save_photo(album / "one.png", videos.painted({videos.MAGENTA: (80, 45)}))
    return folder


def by_vector() -> Swapper:
    """z is of unit norm, as identities between two want it."""

    def embed(faces):
        level = faces.mean(axis=(1, 2, 3)) / 2
        return np.stack([level, np.sqrt(1 - level**2)], axis=1).astype(np.float32)

    return Swapper(embed, lambda target, z: 0 * target + z[:, :1, None, None], 64, marked((80, 70, 1.5)))


def _photo(name: str) -> Callable:
    return lambda folder, out, how: swap_files(
        told(toy(), how), [folder / "source1.png", folder / "source2.png"], folder / name, out
    )


def _strip(folder: Path, out: Path, how: Provenance | None):
    ends = [folder / "source1.png", folder / "source2.png"]
    return interpolate_files(told(by_vector(), how), ends, folder / "photo.png", out, 3)


def _animation(folder: Path, out: Path, how: Provenance | None):
    return swap_animation(told(videos.SWAPPER, how), folder / "bright.png", folder / "dance.gif", out).notes


def _video(name: str) -> Callable:
    return lambda folder, out, how: (
        swap_video(told(videos.SWAPPER, how), folder / "bright.png", folder / name, out).notes
    )


def _album(folder: Path, out: Path, how: Provenance | None):
    swapper = told(videos.SWAPPER, how)
    (one,) = swap_folder(swapper, folder / "bright.png", folder / "album", out.parent / f"{out.stem}.folder")
    assert not one.fault
    one.output.rename(out)
    return one.notes


WAYS: dict[str, Callable] = {
    **dict.fromkeys(("photo.png", "photo.jpg", "photo.webp", "photo.tif"), _photo("photo.png")),
    "deep.png": _photo("16-bit.png"),
    "deep.tif": _photo("16-bit.tif"),
    "turned.jpg": _photo("turned-6.jpg"),
    "alpha.webp": _photo("alpha.webp"),
    "inks.tif": _photo("cmyk.tif"),
    **dict.fromkeys(("strip.png", "strip.jpg", "way.gif", "way.webp", "way.mp4"), _strip),
    **dict.fromkeys(("dance.gif", "dance.webp", "dance.apng"), _animation),
    **dict.fromkeys(("film.mp4", "film.mov", "film.mkv"), _video("film.mp4")),
    "film.webm": _video("silent.mkv"),
    "album.png": _album,
}
"""By the name of the output: (folder of `inputs`, output, provenance) -> notes. All that `smoothswap swap`, `serve` and
the Python API write."""
SOURCES = {name: 1 if name.startswith(("dance", "film", "album")) else 2 for name in WAYS}
