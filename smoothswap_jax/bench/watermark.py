"""What becomes of the invisible watermark of swapped faces, and whether faces without one read as if they had it.

    python -m smoothswap_jax.bench.watermark --photos=DIR [--count=N] [--checkpoint=default] [--seed=0]
    python -m smoothswap_jax.bench.watermark --clean=DIR [--count=500]
    python -m smoothswap_jax.bench.watermark --photos=DIR --sides=48,64,80,96,128
    python -m smoothswap_jax.bench.watermark --photos=DIR --moved=2
    python -m smoothswap_jax.bench.watermark --photos=DIR --others [--rivagan=DIR]

--photos: their largest faces are swapped and marked with 32 random bits, then attacked, found anew by the detector, and
read. The columns are the share of chips that read otherwise, that of bits after the code, that of faces on which a mark
counts as found (chance at most 1e-6), and the chance of the least sure of these. PSNR is over the face's FFHQ square,
over the pixels that changed, and over the photo. H.264 is of five frames of the photo, of which the third is read; "all
at once" is half size, a crop and JPEG 75.

--clean: photos without a mark, as they are; the least chance of all.

--sides: photos are made smaller, so that squares have so many pixels a side, before they are marked.

--moved: instead, photos are marked as they are, without a swap, and read after no attack, JPEG 95, JPEG 75 or at half
size in turn: at the square that the detector finds then, and so many times at the marked one moved by up to 6% of its
scale, 3 degrees and 3% of its side each way. How many are missed.

--others: instead, blind-watermark (if it is installed) and rivaGAN (--rivagan: the folder `imwatermark` of the package
invisible-watermark, whose ONNX graphs are run), which mark whole pictures, also where no face is. They have no code and
no chance: bit errors are of the 32 bits.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from smoothswap_jax.bench.folder import photos_below
from smoothswap_jax.bench.table import table
from smoothswap_jax.faces.align import Quad, add_patch, ffhq_quad
from smoothswap_jax.faces.detection.registry import find_faces
from smoothswap_jax.faces.movie import mp4_bytes
from smoothswap_jax.faces.photos import Photo, PhotoError, load_photo
from smoothswap_jax.faces.videos import frames_at
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.swapper import Swapper, Task
from smoothswap_jax.provenance.mark_reading import CERTAIN
from smoothswap_jax.provenance.watermark import BITS, KNOWN, chips_of, mark_patch, read_face

Attack = Callable[[Photo], Photo]


# --- attacks --------------------------------------------------------------------------------------------------------


def jpeg(quality: int) -> Attack:
    def attack(photo: Photo) -> Photo:
        held = io.BytesIO()
        Image.fromarray(photo).save(held, "JPEG", quality=quality)
        return np.asarray(Image.open(held).convert("RGB"))

    return attack


def half(photo: Photo) -> Photo:
    height, width = photo.shape[:2]
    return np.asarray(Image.fromarray(photo).resize((width // 2, height // 2), Image.Resampling.LANCZOS))


def cropped(photo: Photo) -> Photo:
    """Without a tenth of width and height."""
    top, left = (round(0.05 * side) for side in photo.shape[:2])
    return photo[top : photo.shape[0] - top, left : photo.shape[1] - left]


def saved_as_png(photo: Photo) -> Photo:
    held = io.BytesIO()
    Image.fromarray(photo).save(held, "PNG")
    return np.asarray(Image.open(held))


def h264(quality: int) -> Attack:
    def attack(photo: Photo) -> Photo:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "video.mp4")
            path.write_bytes(mp4_bytes([photo] * 5, 1 / 25, quality=str(quality)))
            ((_, picture),) = frames_at(str(path), [2])
        return picture

    return attack


ATTACKS: dict[str, Attack] = {
    "none": lambda photo: photo,
    "PNG": saved_as_png,
    **{f"JPEG {quality}": jpeg(quality) for quality in (95, 75, 50)},
    "half size": half,
    "crop of 10%": cropped,
    **{f"H.264 {quality}": h264(quality) for quality in (18, 23, 28)},
    "all at once": lambda photo: jpeg(75)(cropped(half(photo))),
}
MOVED = ("none", "JPEG 95", "JPEG 75", "half size")
SIZED = ("none", "JPEG 75", "H.264 23", "all at once")


# --- measuring ------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="DIR")
    parser.add_argument("--clean", type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, metavar="N", help="photos, evenly spaced (default: all)")
    parser.add_argument("--checkpoint", default="default", metavar="DIR")
    parser.add_argument("--sides", type=lambda text: [int(one) for one in text.split(",")], metavar="N,N")
    parser.add_argument("--moved", type=int, metavar="TIMES")
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--rivagan", type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, help="of the bits, and of whose face is swapped in")
    args = parser.parse_args(argv)
    if args.clean:
        print(table(on_clean(_some(photos_below(args.clean, "--clean"), args.count))))
    if not args.photos:
        return
    if args.moved is not None:
        print(table(when_moved(_some(photos_below(args.photos), args.count), args.moved, args.seed)))
        return
    photos = list(swapped(_some(photos_below(args.photos), args.count), args.checkpoint, args.seed))
    if args.others:
        print(table(of_others([photo for photo, _ in photos], args.rivagan, args.seed)))
        return
    if args.sides:
        for side in args.sides:
            sized = [of_side(photo, quad, side) for photo, quad in photos]
            print(table({f"{side} px": of_ours(sized, {name: ATTACKS[name] for name in SIZED}, args.seed)}))
        return
    print(table(of_ours(photos, ATTACKS, args.seed)))


def _some(files: Sequence[Path], count: int | None) -> list[Path]:
    if count is None or count >= len(files):
        return list(files)
    return [files[k * len(files) // count] for k in range(count)]


def swapped(files: Sequence[Path], checkpoint: str, seed: int) -> Iterator[tuple[Photo, Quad]]:
    """Photos whose largest faces are those of another of them, without a mark; files without a face are passed over."""
    swapper = Swapper.load(checkpoint)
    order = np.random.default_rng(seed).permutation(len(files))
    for k, path in enumerate(files):
        try:
            photo, quads = swapper.locate(path)
            z = swapper.embed(files[order[k]])
        except (NoFaceError, PhotoError) as error:
            print(error, file=sys.stderr)
            continue
        (made,) = swapper.swap_tasks([Task(photo, quads, z)])
        yield made.photo, quads[0]


def of_side(photo: Photo, quad: Quad, side: int) -> tuple[Photo, Quad]:
    """A photo made smaller, so that the quad has sides of so many pixels."""
    factor = side / np.hypot(*(quad[3] - quad[0]))
    width, height = (round(factor * length) for length in photo.shape[1::-1])
    small = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))
    return small, (quad + 0.5) * (width / photo.shape[1], height / photo.shape[0]) - 0.5


def of_ours(photos: Sequence[tuple[Photo, Quad]], attacks: Mapping[str, Attack], seed: int) -> dict[str, Any]:
    """What the marks of swapped faces read after each attack."""
    codes = [int(code) for code in np.random.default_rng(seed).integers(0, 1 << BITS, len(photos))]
    losses: list[tuple[float, float, float]] = []
    writing: list[float] = []
    reading: list[float] = []
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in attacks}
    for (photo, quad), code in zip(photos, codes, strict=True):
        start = time.process_time()
        patch = mark_patch(photo, quad, code)
        writing.append(time.process_time() - start)
        marked = photo.copy()
        if patch is not None:
            add_patch(marked, patch)
        losses.append(_psnr(photo, marked, quad))
        for name, attack in attacks.items():
            picture = attack(marked)
            faces = find_faces(picture)
            if not faces:
                found[name].append((0.5, 0.5, 0.0, 1.0))
                continue
            start = time.process_time()
            read = read_face(picture, ffhq_quad(faces[0].points))
            reading.append(time.process_time() - start)
            chips = float((read.chips[KNOWN:] != (chips_of(code)[KNOWN:] > 0)).mean())
            bits = (read.code ^ code).bit_count() / BITS
            found[name].append((chips, bits, float(read.chance <= CERTAIN), read.chance))
    means = {name: (*np.mean(rows, axis=0)[:3], max(row[3] for row in rows)) for name, rows in found.items()}
    rows = {
        name: f"{chips:8.2%} {bits:8.2%} {sure:8.1%}   {chance:.0e}"
        for name, (chips, bits, sure, chance) in means.items()
    }
    square, changed, whole = np.array(losses).T
    return {
        "faces": len(photos), "": "   chips     bits    found   least sure", **rows,
        "PSNR of the square, dB": f"{np.mean(square):.1f}, least {square.min():.1f}",
        "of changed pixels, dB": f"{np.mean(changed):.1f}, least {changed.min():.1f}",
        "of the photo, dB": f"{np.mean(whole):.1f}, least {whole.min():.1f}",
        "ms of a core to mark a face": 1000 * median(writing), "to read a face": 1000 * median(reading or [0.0]),
    }  # fmt: skip


def _psnr(before: Photo, after: Photo, quad: Quad) -> tuple[float, float, float]:
    """Of the quad, of the pixels that changed, and of the photo, in dB."""
    squares = (before.astype(np.float64) - after) ** 2
    areas = np.hypot(*(quad[3] - quad[0])) ** 2, max((squares > 0).any(2).sum(), 1), np.prod(before.shape[:2])
    square, changed, whole = (10 * np.log10(255**2 * 3 * area / max(squares.sum(), 1.0)) for area in areas)
    return float(square), float(changed), float(whole)


def when_moved(files: Sequence[Path], times: int, seed: int) -> dict[str, Any]:
    """How many marks are missed at squares beside them."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[bool, float]]] = {"as the detector sees it": [], "moved": []}
    seconds: list[float] = []

    def read(kind: str, photo: Photo, quad: Quad, code: int) -> None:
        start = time.process_time()
        seen = read_face(photo, quad)
        seconds.append(time.process_time() - start)
        found[kind].append((seen.code == code and seen.chance <= CERTAIN, seen.chance))

    for k, path in enumerate(files):
        photo = load_photo(path)
        faces = find_faces(photo)
        quad = ffhq_quad(faces[0].points) if faces else None
        code = int(rng.integers(0, 1 << BITS))
        patch = None if quad is None else mark_patch(photo, quad, code)
        if quad is None or patch is None:
            print(f"{path}: no face, or too small a one", file=sys.stderr)
            continue
        marked = photo.copy()
        add_patch(marked, patch)
        for turn in range(times + 1):
            name = MOVED[(k + turn) % len(MOVED)]
            picture = ATTACKS[name](marked)
            if turn < times:
                scale = (picture.shape[1] / photo.shape[1], picture.shape[0] / photo.shape[0])
                read("moved", picture, (moved(quad, rng) + 0.5) * scale - 0.5, code)
            elif again := find_faces(picture):
                read("as the detector sees it", picture, ffhq_quad(again[0].points), code)
    rows = {
        kind: f"{sum(not good for good, _ in read)} of {len(read)} missed; the least sure one's chance "
        f"{max((chance for good, chance in read if good), default=1.0):.0e}"
        for kind, read in found.items()
    }
    return {"photos": len(files), **rows, "ms of a core to read a face": 1000 * median(seconds)}


def moved(quad: Quad, rng: np.random.Generator) -> Quad:
    """A square beside another, at random."""
    scale, turn, middle = 1 + rng.uniform(-0.06, 0.06), np.radians(rng.uniform(-3, 3)), quad.mean(0)
    rotation = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (quad - middle) @ rotation + middle + rng.uniform(-0.03, 0.03, 2) * np.hypot(*(quad[3] - quad[0]))


def on_clean(files: Sequence[Path]) -> dict[str, Any]:
    """What photos without a mark read."""
    chances: list[float] = []
    for path in files:
        photo = load_photo(path)
        chances += [read_face(photo, ffhq_quad(face.points)).chance for face in find_faces(photo)]
    counts = {f"chance <= {limit:g}": sum(one <= limit for one in chances) for limit in (0.1, 1e-2, 1e-3, CERTAIN)}
    return {"photos": len(files), "faces": len(chances), "least chance": min(chances), **counts}


# --- others ---------------------------------------------------------------------------------------------------------

Marker = tuple[Callable[[Photo, np.ndarray], Photo], Callable[[Photo], np.ndarray]]
"""(photo, 32 bits) -> marked photo; photo -> bits."""


def of_others(photos: Sequence[Photo], rivagan: Path | None, seed: int) -> dict[str, Any]:
    """Bit errors after each attack of methods that mark whole pictures; "fails" where one cannot read."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, (write, read) in _others(rivagan):
        losses, writing, errors = [], [], {attack: [] for attack in ATTACKS}  # type: ignore[var-annotated]
        for photo in photos:
            bits = rng.integers(0, 2, BITS)
            start = time.process_time()
            marked = write(photo, bits)
            writing.append(time.process_time() - start)
            losses.append(10 * np.log10(255**2 / np.square(photo.astype(float) - marked).mean()))
            for attack, change in ATTACKS.items():
                errors[attack].append(float((read(change(marked)) != bits).mean()))
        found[name] = {attack: f"{np.mean(own):8.2%} of bits" for attack, own in errors.items()} | {
            "PSNR of the photo, dB": f"{np.mean(losses):.1f}, least {min(losses):.1f}",
            "ms of a core to mark": 1000 * median(writing),
        }
    return found


def _others(rivagan: Path | None) -> Iterator[tuple[str, Marker]]:
    if rivagan:
        yield "rivaGAN", _rivagan(rivagan)
    try:
        yield "blind-watermark", _blind_watermark()
    except ImportError:
        print("blind-watermark is not installed: left out", file=sys.stderr)


def _rivagan(folder: Path) -> Marker:
    """Its two graphs, with pixels as invisible-watermark 0.2.0 gives them (`rivaGan.py`), which needs PyTorch."""
    import onnxruntime

    encoder, decoder = (
        onnxruntime.InferenceSession(folder / f"rivagan_{part}.onnx", providers=["CPUExecutionProvider"])
        for part in ("encoder", "decoder")
    )
    as_input = lambda photo: (photo[:, :, ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None, :, None]

    def write(photo: Photo, bits: np.ndarray) -> Photo:
        (made,) = encoder.run(None, {"frame": as_input(photo), "data": bits[None].astype(np.float32)})
        return ((np.clip(made[0, :, 0], -1, 1).transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)[:, :, ::-1]

    return write, lambda photo: decoder.run(None, {"frame": as_input(photo)})[0][0] > 0.52


def _blind_watermark() -> Marker:
    """With its defaults. A picture of another size reads as noise unless the first is known, so it is resized to it."""
    from blind_watermark import WaterMark, bw_notes

    bw_notes.close()
    shapes: list[tuple[int, int]] = []

    def write(photo: Photo, bits: np.ndarray) -> Photo:
        mark = WaterMark(password_wm=1, password_img=1)
        mark.read_img(img=photo[:, :, ::-1].copy())
        mark.read_wm(bits.astype(bool), mode="bit")
        shapes[:] = [photo.shape[1::-1]]
        return np.rint(np.clip(mark.embed(), 0, 255)).astype(np.uint8)[:, :, ::-1]

    def read(photo: Photo) -> np.ndarray:
        seen = np.asarray(Image.fromarray(photo).resize(shapes[0], Image.Resampling.BICUBIC))
        mark = WaterMark(password_wm=1, password_img=1)
        return mark.extract(embed_img=seen[:, :, ::-1].copy(), wm_shape=BITS, mode="bit") > 0.5

    return write, read


if __name__ == "__main__":
    main()
