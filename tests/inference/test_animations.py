"""Pictures that move, through the swapper: every frame, with toy networks and painted faces."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.cli.main import MISTAKE, main
from smoothswap_jax.faces import animation_writing
from smoothswap_jax.faces.animation_writing import Shown, animation_bytes
from smoothswap_jax.faces.animations import animation_facts, animation_values
from smoothswap_jax.faces.photos import TooLarge, load_photo, save_photo
from smoothswap_jax.faces.video_frames import VideoError
from smoothswap_jax.faces.video_survey import survey
from smoothswap_jax.faces.videos import decoded_frames, read_frames
from smoothswap_jax.inference import albums, animations, video
from smoothswap_jax.inference.albums import swap_folder
from smoothswap_jax.inference.animations import swap_animation
from smoothswap_jax.inference.choice import NoFaceError
from smoothswap_jax.inference.files import swap_files
from smoothswap_jax.inference.video import swap_video
from tests.faces.make_videos import cut
from tests.inference.painted_videos import (
    COUNT,
    CYAN,
    HEIGHT,
    MAGENTA,
    SWAPPER,
    WIDTH,
    changed_people,
    film,
    frames,
    painted,
    paths,
)

av = pytest.importorskip("av")
pytestmark = pytest.mark.usefixtures("known_people")

CLOCK = [(100, 30, 500, 40, 70, 20)[k % 6] for k in range(COUNT)]


def drawn(count: int = COUNT) -> list[np.ndarray]:
    """Frames of which none is the same as the one before."""
    pictures = frames(count)
    for k, picture in enumerate(pictures):
        picture[-1, -1] = picture[-1, 8 * (k % 2)]
    return pictures


def moving(path, pictures=None, clock=CLOCK, plays: int = 3):
    """A file whose frames are these, in the colours that its format has for them."""
    form = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}[path.suffix]
    shown = [Shown(one, Fraction(t)) for one, t in zip(drawn() if pictures is None else pictures, clock, strict=True)]
    path.write_bytes(animation_bytes(shown, plays, form))
    return path


def values(path) -> list[np.ndarray]:
    return [one.values for one in animation_values(str(path))]


def clock_of(path) -> list[int]:
    return [int(one.milliseconds) for one in animation_values(str(path))]


def far_from_faces(k: int) -> np.ndarray:
    far = np.ones((HEIGHT, WIDTH), bool)
    for x, y in paths(k).values():
        far[max(0, round(y) - 50) : round(y) + 50, max(0, round(x) - 45) : round(x) + 45] = False
    return far


@pytest.mark.parametrize(
    "name, output",
    [("a.gif", "b.gif"), ("a.gif", "b.webp"), ("a.webp", "b.webp"), ("a.png", "b.apng"), ("a.png", "b.png")],
)
def test_frames_times_and_loop_are_kept_and_only_faces_change(tmp_path, source, name, output):
    target = moving(tmp_path / name)
    report = swap_animation(SWAPPER, source, target, tmp_path / output, target_face="all")
    assert (report.frames, report.swapped, report.notes) == (COUNT, COUNT, ())
    made = tmp_path / output
    before, after = values(target), values(made)
    assert clock_of(made) == CLOCK and animation_facts(str(made)).plays == 3
    kept = []
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        for x, y in paths(k).values():
            assert new[round(y) - 8, round(x) + 8, 0] > int(old[round(y) - 8, round(x) + 8, 0]) + 10
        far = far_from_faces(k)
        kept.append((old == new).all(2)[far].mean() if far.any() else 1)
    # A whole palette of noise is in the first frame, of which the rarest give way to new colours.
    assert min(kept) == 1 if output != "b.gif" else np.mean(kept) > 0.9
    assert list(tmp_path.glob(".*")) == []


def test_colours_outside_of_faces_are_the_same_where_the_palette_has_room(tmp_path, source):
    quiet = [np.where((one == MAGENTA).all(2, keepdims=True) | (one == CYAN).all(2, keepdims=True), one, one // 16 * 16)
             for one in drawn()]  # fmt: skip
    target = moving(tmp_path / "a.gif", quiet)
    assert 40 < len(np.unique(values(target)[0].reshape(-1, 4), axis=0)) < 160
    swap_animation(SWAPPER, source, target, tmp_path / "b.gif", target_face="all")
    for k, (old, new) in enumerate(zip(values(target), values(tmp_path / "b.gif"), strict=True)):
        np.testing.assert_array_equal(old[far_from_faces(k)], new[far_from_faces(k)])


@pytest.mark.parametrize("which, name", [("largest", "magenta"), (1, "cyan")])
def test_a_person_is_followed_as_in_a_video(tmp_path, source, which, name):
    target = moving(tmp_path / "a.webp")
    report = swap_animation(SWAPPER, source, target, tmp_path / "b.webp", target_face=which)
    assert report.people == 2
    for k, signs in enumerate(changed_people(frames(), tmp_path / "b.webp")):
        there = any((colour == MAGENTA) == (name == "magenta") for colour in paths(k))
        assert signs == ({f"+{name}"} if there else set()), k


def test_each_person_gets_the_source_that_is_mapped_to_it(tmp_path, source, monkeypatch, capsys):
    target = moving(tmp_path / "a.gif")
    save_photo(tmp_path / "cyan.png", painted({CYAN: (80, 45)}))
    save_photo(tmp_path / "magenta.png", painted({MAGENTA: (80, 45)}))
    monkeypatch.setattr(video, "person_in", lambda which, *_: np.eye(128)[0 if "magenta" in str(which) else 1])
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: SWAPPER)
    wishes = [f"--map={source}={tmp_path}/cyan.png", f"--map={tmp_path}/dark.png={tmp_path}/magenta.png"]
    assert main(["swap", *wishes, f"--target={target}", f"--output={tmp_path}/b.gif"]) == 0
    assert f"{COUNT} frames, {COUNT} with new faces" in capsys.readouterr().err
    for k, signs in enumerate(changed_people([one[:, :, :3] for one in values(target)], tmp_path / "b.gif")):
        assert signs == {"-magenta"} | ({"+cyan"} if CYAN in paths(k) else set()), k


@pytest.mark.parametrize("output", ["b.gif", "b.webp", "b.png"])
def test_what_is_transparent_stays_so(tmp_path, source, output):
    target = tmp_path / "a.gif"
    pictures = []
    for picture in drawn(8):
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        alpha[:20], alpha[40:44, 42:50] = 0, 0  # above, and a hole in the face
        pictures.append(np.concatenate([picture, alpha], axis=2))
    moving(target, pictures, CLOCK[:8])
    swap_animation(SWAPPER, source, target, tmp_path / output)
    for old, new, given in zip(values(target), values(tmp_path / output), pictures, strict=True):
        np.testing.assert_array_equal(new[:, :, 3], given[:, :, 3])
        assert ((old != new).any(2) & (given[:, :, 3] > 0)).any()
        if output == "b.png":  # which keeps the colours under it
            np.testing.assert_array_equal(new[given[:, :, 3] == 0], old[given[:, :, 3] == 0])


def test_what_a_gif_cannot_hold_is_said(tmp_path, source):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:5] = 90
    pictures = [np.concatenate([one, alpha], axis=2) for one in drawn(4)]
    target = moving(tmp_path / "a.webp", pictures, [33] * 4)
    said = swap_animation(SWAPPER, source, target, tmp_path / "b.gif").notes
    for words in ("seen through by half", "times become hundredths of a second", "256 colours a frame remain"):
        assert sum(words in note for note in said) == 1
    assert swap_animation(SWAPPER, source, target, tmp_path / "b.webp").notes == ()


@pytest.mark.parametrize("output, codec", [("b.mp4", "h264"), ("b.mkv", "h264"), ("b.webm", "vp9")])
def test_a_gif_becomes_a_video(tmp_path, source, output, codec):
    clock = [10, *CLOCK[1:]]
    target = moving(tmp_path / "a.gif", clock=clock)
    report = swap_video(SWAPPER, source, target, tmp_path / output, target_face="all")
    assert report.frames == COUNT and any("--pixel-format=yuv444p" in note for note in report.notes)
    found = list(read_frames(str(tmp_path / output)))
    wanted = np.cumsum([0, 100, *clock[1:-1]])  # 10 ms are shown as 100, as by browsers
    assert [round(float(one.time) * 1000) for one in found] == wanted.tolist()
    with av.open(str(tmp_path / output)) as made:
        context = made.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt, int(context.color_range)) == (codec, "yuv420p", 1)
    for k, (one, old) in enumerate(zip(found, values(target), strict=True)):
        if far_from_faces(k).any():
            far = far_from_faces(k)
            assert np.abs(one.picture.astype(int) - old[:, :, :3])[far].mean() < 12  # colours at half the size


def test_a_transparent_gif_becomes_a_video_on_white(tmp_path, source):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:8] = 0
    target = moving(tmp_path / "a.gif", [np.concatenate([one, alpha], axis=2) for one in drawn(4)], CLOCK[:4])
    report = swap_video(SWAPPER, source, target, tmp_path / "b.mp4")
    assert any("transparent parts become white" in note for note in report.notes)
    assert next(iter(read_frames(str(tmp_path / "b.mp4")))).picture[:6].mean() > 250


def test_a_gif_of_one_picture_and_one_that_is_cut_off(tmp_path, source):
    one = moving(tmp_path / "one.gif", frames(1), [100], 1)
    report = swap_animation(SWAPPER, source, one, tmp_path / "b.gif")
    assert report.frames == 1 and len(values(tmp_path / "b.gif")) == 1
    assert (values(one)[0] != values(tmp_path / "b.gif")[0]).any()

    whole = moving(tmp_path / "a.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[: round(0.6 * len(whole))])
    report = swap_animation(SWAPPER, source, tmp_path / "cut.gif", tmp_path / "c.gif")
    assert 5 < report.frames < COUNT and len(values(tmp_path / "c.gif")) == report.frames
    assert f"ended at frame {report.frames} of {report.frames + 1}" in report.notes
    (tmp_path / "cut.gif").write_bytes(whole[:900])
    with pytest.raises(VideoError, match=r"cut.gif: found no whole picture in the animation; wanted a whole file"):
        swap_animation(SWAPPER, source, tmp_path / "cut.gif", tmp_path / "d.gif")
    with pytest.raises(NoFaceError, match=r"none.gif: found no face in 3 frames"):
        moving(tmp_path / "none.gif", [painted({})] * 3, [50] * 3)
        swap_animation(SWAPPER, source, tmp_path / "none.gif", tmp_path / "d.gif")
    assert not (tmp_path / "d.gif").exists() and not list(tmp_path.glob(".*"))


def test_what_is_refused_is_refused_before_anything_is_looked_at(tmp_path, source, monkeypatch):
    monkeypatch.setattr(animations, "look_at", lambda *_, **__: pytest.fail("was looked at"))
    target = moving(tmp_path / "a.gif")
    (tmp_path / "there.gif").write_bytes(b"")
    monkeypatch.setattr(animation_writing, "MOST_IN_MEMORY", WIDTH * HEIGHT * 20)
    for given, output, error, said in (
        (
            target,
            "b.gif",
            VideoError,
            r"a.gif: found 30 frames of 160 x 96 pixels; wanted at most 20 of this size in .gif",
        ),
        (target, "b.tif", VideoError, r"b.tif: found the suffix '.tif' for a picture that moves; wanted .gif, .webp"),
        (source, "b.gif", VideoError, r"bright.png: found no picture that moves"),
        (target, "there.gif", FileExistsError, r"there.gif: exists already"),
        (tmp_path / "no.gif", "b.gif", VideoError, r"no.gif: found no such file; wanted a picture that moves"),
    ):
        with pytest.raises(error, match=said):
            swap_animation(SWAPPER, source, given, tmp_path / output)
    monkeypatch.setattr(animation_writing, "WIDEST_FRAME", {"WEBP": 100})
    with pytest.raises(VideoError, match=r"found 160 x 96 pixels; wanted at most 100 a side in .webp"):
        swap_animation(SWAPPER, source, target, tmp_path / "b.webp")


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("output", ["b.gif", "b.webp", "b.apng", "b.png", "b.mp4", "strip", "folder"])
def test_frames_larger_than_photos_may_be_are_refused_before_any_is_decoded(
    tmp_path, source, monkeypatch, capsys, name, output
):
    monkeypatch.setattr("smoothswap_jax.faces.animations._decoded", lambda *_: pytest.fail("was decoded"))
    (tmp_path / "in").mkdir()
    target = moving(tmp_path / "in" / name, [np.tile(one, (1, 2, 1)) for one in drawn(3)], CLOCK[:3])
    words = f"{name}: found 320x96 pixels; wanted at most 30,719 in all, a higher limit (--max-megapixels)"
    few = replace(SWAPPER, max_pixels=2 * WIDTH * HEIGHT - 1)
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", None)
    given = ["swap", f"--source={source}", "--max-megapixels=0.030719"]
    if output == "folder":
        monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: few)
        assert main([*given, f"--target={tmp_path}/in", f"--output={tmp_path}/out"]) == 1
        assert words in capsys.readouterr().err
        return
    if output == "strip":
        given += [f"--source={source}", "--interpolate=3"]
    assert main([*given, f"--target={target}", f"--output={tmp_path}/{output.replace('strip', 'b.tif')}"]) == MISTAKE
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    swap = {"b.mp4": swap_video, "b.png": swap_files}.get(output, swap_animation)
    if output != "strip":
        with pytest.raises(TooLarge, match=re.escape(words)):
            swap(few, source, target, tmp_path / output)


def test_what_a_format_cannot_count_is_said(tmp_path, source):
    target = moving(tmp_path / "a.png", drawn(3), [50, 2 * 10**7, 50], 70_000)
    for output, most in (("b.gif", "65,536"), ("b.webp", "65,535"), ("b.apng", None)):
        notes = swap_animation(SWAPPER, source, target, tmp_path / output).notes
        said = [f"it is shown {most} times and not 70,000: {'GIF' if output == 'b.gif' else 'WEBP'} counts no further"]
        assert [note for note in notes if "it is shown" in note] == (said if most else [])
        assert any("no picture is shown for more than 16,777 s" in note for note in notes) == (output == "b.webp")


def test_an_encoder_that_fails_is_told_with_the_output(tmp_path, source, monkeypatch):
    target = moving(tmp_path / "a.gif", drawn(3), CLOCK[:3])
    monkeypatch.setattr(animation_writing, "_gif", lambda *_: 1 / 0)
    with pytest.raises(VideoError, match=r"b.gif: found 3 frames that cannot be written as GIF \(division by zero\)"):
        swap_animation(SWAPPER, source, target, tmp_path / "b.gif")


def test_sixteen_bits_that_become_eight_are_said(tmp_path, source, monkeypatch):
    target = moving(tmp_path / "a.png", drawn(3), CLOCK[:3])
    monkeypatch.setattr(animations, "animation_facts", lambda path: animation_facts(path)._replace(deep=True))
    assert swap_animation(SWAPPER, source, target, tmp_path / "b.png").notes == ("more than 8 bits a channel become 8",)


def test_the_command_tells_by_the_output_what_is_wished(tmp_path, source, monkeypatch, capsys):
    target = moving(tmp_path / "a.gif")
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: SWAPPER)
    given = ["swap", f"--source={source}", f"--target={target}"]
    for output in ("b.gif", "b.webp", "b.apng", "b.mp4"):
        assert main([*given, f"--output={tmp_path}/{output}"]) == 0
        assert capsys.readouterr().out.strip() == f"{tmp_path}/{output}"
        assert len(list(read_frames(f"{tmp_path}/{output}"))) == COUNT
    assert main([*given, f"--output={tmp_path}/b.png"]) == 0
    assert "it has 30 pictures; the first was taken" in capsys.readouterr().err
    assert load_photo(tmp_path / "b.png").shape == (HEIGHT, WIDTH, 3)
    assert main([*given, f"--output={tmp_path}/c.gif", "--preview=1"]) == MISTAKE
    assert "a.gif, which is no video; wanted one" in capsys.readouterr().err
    assert main([*given, f"--output={tmp_path}/c.mp4", "--preview=1s"]) == 0
    assert 5 < len(list(decoded_frames(f"{tmp_path}/c.mp4"))) < COUNT


def test_a_folder_with_pictures_that_move(tmp_path, source, monkeypatch, capsys):
    album = tmp_path / "album"
    album.mkdir()
    for name in ("a.gif", "b.webp", "c.png"):
        moving(album / name, drawn(6), CLOCK[:6])
    Image.fromarray(frames(1)[0]).save(
        album / "d.avif", save_all=True, append_images=[Image.fromarray(one) for one in frames(6)[1:]], quality=95
    )
    moving(album / "e.gif", [painted({})] * 3, [50] * 3)
    save_photo(album / "f.png", painted({MAGENTA: (80, 45)}))
    monkeypatch.setattr("smoothswap_jax.inference.swapper.Swapper.load", lambda *_, **__: SWAPPER)
    assert main(["swap", f"--source={source}", f"--target={album}", f"--output={tmp_path}/new"]) == 1
    said = capsys.readouterr()
    names = ["a.gif", "b.webp", "c.png", "d.avif.webp", "f.png"]
    assert said.out.split() == [f"{tmp_path}/new/{name}" for name in names]
    assert "e.gif: found no face in 3 frames" in said.err
    for name in names[:4]:
        assert len(values(tmp_path / "new" / name)) == 6


def test_in_a_folder_each_stays_what_its_content_is(tmp_path, source):
    album = tmp_path / "album"
    album.mkdir()
    moving(tmp_path / "a.gif", drawn(3), CLOCK[:3]).rename(album / "a.jpg")
    moving(tmp_path / "b.webp", drawn(3), CLOCK[:3]).rename(album / "b.gif")
    moving(tmp_path / "c.png", drawn(3), CLOCK[:3]).rename(album / "c.APNG")
    moving(tmp_path / "d.png", drawn(3), CLOCK[:3]).rename(album / "d.webp")
    moving(album / "still.gif", frames(1), [100], 1)
    (album / "x.gif").write_bytes(moving(tmp_path / "x.gif").read_bytes()[:900])
    (album / "y.webp").write_bytes(moving(tmp_path / "y.webp").read_bytes()[:900])
    (album / "z.png").write_bytes(moving(tmp_path / "z.png").read_bytes()[:900])
    found = list(swap_folder(SWAPPER, [source, source], album, tmp_path / "new"))
    made = {one.output.name: animation_facts(str(one.output)) for one in found if not one.fault}
    assert {name: (facts.form, facts.frames) for name, facts in made.items()} == {
        "a.jpg.gif": ("GIF", 3), "b.gif.webp": ("WEBP", 3), "c.APNG": ("PNG", 3), "d.webp.png": ("PNG", 3),
        "still.gif": ("GIF", 1),
    }  # fmt: skip
    for one in found[-3:]:
        assert one.target.name in one.fault and "wanted a whole" in one.fault


def test_what_is_to_be_said_of_the_sources_of_a_folder_is_said_once(tmp_path, source):
    album = tmp_path / "album"
    album.mkdir()
    moving(album / "b.gif", drawn(3), CLOCK[:3])
    moving(album / "c.gif", drawn(3), CLOCK[:3])
    (album / "a.png").write_bytes(b"none")
    save_photo(album / "d.png", painted({MAGENTA: (80, 45)}))
    found = list(swap_folder(SWAPPER, [source, source], album, tmp_path / "new"))
    assert [[note for note in one.notes if "the mean of 2 sources" in note] != [] for one in found] == [0, 1, 0, 0]


def test_a_note_on_a_target_is_said_also_where_one_on_the_sources_has_the_same_words(tmp_path, source, monkeypatch):
    album = tmp_path / "album"
    album.mkdir()
    whole = moving(tmp_path / "a.gif").read_bytes()
    (album / "a.gif").write_bytes(whole[: round(0.6 * len(whole))])
    cut(film(tmp_path / "b.mkv"), album / "b.mkv", 0.7)
    pages = [Image.fromarray(one) for one in frames(2)]
    pages[0].save(album / "c.tif", save_all=True, append_images=pages[1:])
    words = [survey(str(album / name)).faults[0] for name in ("a.gif", "b.mkv")]
    words.append("it has 2 pictures; the first was taken")
    for module in (albums, animations, video):
        monkeypatch.setattr(module, "notes_on", lambda _: tuple(words))
    found = list(swap_folder(SWAPPER, source, album, tmp_path / "new"))
    assert [[one.notes.count(word) for word in words] for one in found] == [[2, 1, 1], [0, 1, 0], [0, 0, 1]]
