"""Identities on the way from one to another, and the strips and animations of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.faces import animation_writing
from smoothswap_jax.faces.photos import load_photo, save_photo
from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference import interpolation, swapper
from smoothswap_jax.inference.interpolation import TILE, interpolate_files
from smoothswap_jax.inference.swapper import Swapper
from tests.inference.pixel_swappers import grain, marked

FACE = (80, 70, 1.5)


def by_vector() -> Swapper:
    """z is of unit norm, and its first number is how bright the swap gets."""

    def embed(faces):
        level = faces.mean(axis=(1, 2, 3)) / 2
        return np.stack([level, np.sqrt(1 - level**2)], axis=1).astype(np.float32)

    return Swapper(embed, lambda target, z: 0 * target + z[:, :1, None, None], 64, marked(FACE))


@pytest.fixture
def files(tmp_path):
    for name, level in (("a", 10), ("b", 240)):
        save_photo(tmp_path / f"{name}.png", np.full((160, 260, 3), level, np.uint8))
    save_photo(tmp_path / "t.png", grain())
    return tmp_path


def test_photos_go_from_the_swap_of_one_to_the_swap_of_the_other(files):
    made = by_vector()
    photo, ends = load_photo(files / "t.png"), [made.embed(files / f"{name}.png") for name in "ab"]
    frames = list(made.interpolate(*ends, photo, 4))
    for frame, z in ((frames[0], ends[0]), (frames[-1], ends[1])):
        np.testing.assert_array_equal(frame, made.swap_identity(z, photo))
    levels = [frame[70, 80].mean() for frame in frames]
    assert levels == sorted(levels) and levels[-1] > levels[0] + 50


def test_a_strip_has_both_sources_at_its_ends(files):
    interpolate_files(by_vector(), [files / "a.png", files / "b.png"], files / "t.png", files / "out.png", 3)
    strip = load_photo(files / "out.png")
    middles = [strip[TILE // 2, -1 - x] for x in range(TILE // 2, strip.shape[1], TILE + 4)][::-1]
    assert strip.shape[0] == TILE and len(middles) == 5
    assert middles[0].max() == 10 and middles[-1].min() == 240
    assert middles[1].mean() < middles[2].mean() < middles[3].mean()


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_goes_there_and_back(suffix, files):
    out = files / f"out{suffix}"
    interpolate_files(by_vector(), [files / "a.png", files / "b.png"], files / "t.png", out, 4)
    with Image.open(out) as moving:
        assert (moving.n_frames, moving.size) == (6, (260, 160))
        levels = []
        for number in range(6):
            moving.seek(number)
            levels.append(int(np.asarray(moving.convert("RGB"))[70, 80].mean()))
    assert levels[0] < levels[1] < levels[2] < levels[3] > levels[4] > levels[5] > levels[0]
    with pytest.raises(FileExistsError):
        interpolate_files(by_vector(), [files / "a.png", files / "b.png"], files / "t.png", out, 4)


def test_a_video_goes_there_and_back(files):
    out = files / "out.mp4"
    interpolate_files(by_vector(), [files / "a.png", files / "b.png"], files / "t.png", out, 4)
    levels = [int(frame.picture[70, 80].mean()) for frame in read_frames(str(out))]
    assert levels[0] < levels[1] < levels[2] < levels[3] > levels[4] > levels[5] > levels[0] and len(levels) == 6


def arguments(
    files: Path, *more: str, sources: str = "ab", target: str = "t.png", output: str = "out.png", count: int = 3
) -> list[str]:
    more = more or (f"--interpolate={count}",)
    return ["swap", *(f"--source={files}/{s}.png" for s in sources), f"--target={files}/{target}",
            f"--output={files}/{output}", *more]  # fmt: skip


def test_the_command_writes_a_strip(files, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", lambda *_, **__: by_vector())
    assert main(arguments(files, "--interpolate=3")) == 0
    assert capsys.readouterr().out.strip() == f"{files}/out.png"
    assert load_photo(files / "out.png").shape == (TILE, 5 * TILE + 4 * 4, 3)


@pytest.mark.parametrize(
    "given, said",
    [
        (dict(sources="a"), "--interpolate: found 1 --source; wanted two"),
        (dict(sources="aba"), "--interpolate: found 3 --source; wanted two"),
        (dict(output="out.avi"), "found suffix '.avi'; wanted a name that ends in one of .png"),
        (dict(output="no/out.mp4"), "found no folder"),
        (dict(target=""), "as --target; wanted one photo"),
        (dict(output="a.png"), "found the output to be an input photo"),
        (dict(sources="ac"), "c.png"),
        (dict(output="out.jpg", count=250), "--interpolate: found 250; wanted at most 249 in .jpg, or a strip in .png"),
    ],
)
def test_what_cannot_be_a_strip_is_refused_before_a_swapper_is_loaded(given, said, files, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", lambda *_, **__: pytest.fail("was loaded"))
    before = sorted(files.iterdir())
    assert main(arguments(files, **given)) == MISTAKE
    assert said in capsys.readouterr().err and sorted(files.iterdir()) == before


def test_two_sources_are_a_way_or_one_person(files, monkeypatch, capsys):
    monkeypatch.setattr(swapper.Swapper, "load", lambda *_, **__: by_vector())
    assert main(arguments(files, "--color=free")) == 0
    ends = [by_vector().swap_identity(by_vector().embed(files / f"{name}.png"), files / "t.png") for name in "ab"]
    levels = [one[70, 80].mean() for one in (ends[0], load_photo(files / "out.png"), ends[1])]
    assert levels[0] + 20 < levels[1] < levels[2] - 20
    assert main(arguments(files, "--interpolate=1")) == MISTAKE
    assert "found 1 identities; wanted 2 to 1,000" in capsys.readouterr().err
    assert main(arguments(files, "--interpolate=3", "--strength=0.5", output="new.png")) == MISTAKE
    assert "--strength: found 0.5 with --interpolate; wanted one of them" in capsys.readouterr().err


def test_what_an_animation_cannot_hold_is_refused_before_it_is_made(files, monkeypatch):
    sources, target = [files / "a.png", files / "b.png"], files / "t.png"
    monkeypatch.setattr(animation_writing, "MOST_IN_MEMORY", 160 * 260 * 5)
    with pytest.raises(
        ValueError, match=r"found 6 frames of 260 x 160 pixels; wanted at most 5 of this size in .gif, or a"
    ):
        interpolate_files(by_vector(), sources, target, files / "out.gif", 6)
    monkeypatch.setattr(animation_writing, "WIDEST_FRAME", {"WEBP": 200, "GIF": 250})
    for suffix, most in ((".webp", 200), (".gif", 250)):
        with pytest.raises(ValueError, match=rf"found 260 x 160 pixels; wanted at most {most} a side in {suffix}"):
            interpolate_files(by_vector(), sources, target, files / f"out{suffix}", 3)
    monkeypatch.setattr(interpolation, "MOST_BLOCKS", 169)  # it is 10 x 17
    with pytest.raises(ValueError, match=r"found 260 x 160 pixels; wanted at most 0.0 million in .mp4"):
        interpolate_files(by_vector(), sources, target, files / "out.mp4", 3)
    assert not list(files.glob("out*"))


def test_frames_are_never_so_short_that_viewers_slow_them_down(files):
    out = files / "out.gif"
    interpolate_files(by_vector(), [files / "a.png", files / "b.png"], files / "t.png", out, 130)
    with Image.open(out) as moving:
        assert moving.info["duration"] == 20


def test_a_grey_target_is_told_of(files):
    grey = np.repeat(grain()[:, :, :1], 3, axis=2)
    save_photo(files / "t.png", grey)
    sources = [files / "a.png", files / "b.png"]
    assert "grey or sepia" in interpolate_files(by_vector(), sources, files / "t.png", files / "o.png", 2)[0]
    assert not interpolate_files(by_vector(), sources, files / "t.png", files / "p.png", 2, color="free")


def test_of_pictures_that_move_the_first_is_taken_and_that_is_said(files):
    for name in ("a", "t"):
        with Image.open(files / f"{name}.png") as image:
            image.save(
                files / f"{name}.webp",
                save_all=True,
                append_images=[image.point(lambda level: 255 - level)],
                lossless=True,
            )
    sources = [files / "a.webp", files / "b.png"]
    notes = interpolate_files(by_vector(), sources, files / "t.webp", files / "out.png", 2)
    assert notes == tuple(f"{files}/{name}.webp has several pictures; the first was taken" for name in "at")
