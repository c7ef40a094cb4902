"""The contact sheet: complete, self-contained, escaped, never half-written; and the pictures made for it."""

import base64
import dataclasses
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smoothswap_jax.faces.align import ffhq_quad, photo_to_crop
from smoothswap_jax.faces.photos import PhotoError
from smoothswap_jax.prepare.preview import EYE_LINE, MOUTH_LINE, Preview, Sheet, mean_face, thumbnail, write_preview
from tests.html_page import Page

EMPTY = Preview("Empty", facts={}, counts={}, gates=[], mean_faces=[], kept=[], rejected=[])
JPEG = thumbnail(np.full((8, 8, 3), 90, np.uint8))
PNG = mean_face([np.full((4, 4, 3), 200, np.uint8)])


def page(folder: Path, preview: Preview) -> tuple[str, Page]:
    write_preview(folder / "preview.html", preview)
    html = (folder / "preview.html").read_text("utf-8")
    return html, Page(html)


def full() -> Preview:
    return Preview(
        "Prepared faces",
        facts={"detector": "YuNet", "size": 256, "max yaw": 62.0, "blur": 1 / 3},
        counts={"train": {"people": 60, "faces": 12371}, "test": {"faces": 41}},
        gates=[("no face", "no face found", 7), ("too small", "too few pixels", 0), ("duplicate", "seen before", 1500)],
        mean_faces=[(PNG, "mean of train")],
        kept=[Sheet("Train crops", "Drawn at random.", [(JPEG, "anna / 1.jpg"), (PNG, "bert / 2.png")])],
        rejected=[Sheet("No face", "None was found.", [(JPEG, "anna/9.jpg: no face")])],
    )


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_says_everything_in_order(tmp_path: Path) -> None:
    _, found = page(tmp_path, full())
    text = found.rows()
    wanted = [
        *("Prepared faces | Look at these faces", "split | people | faces | train | 60 | 12,371 | test | – | 41"),
        "no face | no face found | 7 | too small | too few pixels | 0 | duplicate | seen before | 1,500 | all | 1,507",
        *("Guide lines", "Mean faces | mean of train"),
        "Train crops | Drawn at random. | anna / 1.jpg | bert / 2.png",
        "No face | None was found. | anna/9.jpg: no face",
        "detector | YuNet | size | 256 | max yaw | 62 | blur | 0.333333",
    ]
    places = [text.find(part) for part in wanted]
    assert -1 not in places and places == sorted(places), dict(zip(wanted, places, strict=True))
    for word in ("eyes lie on one line", "same height", "mouth are inside", "upside down", "mean face", "another name"):
        assert word in text


def test_the_pictures_are_embedded_byte_for_byte(tmp_path: Path) -> None:
    _, found = page(tmp_path, full())
    kinds = ["png", "jpeg", "png", "jpeg"]  # the mean, two kept, one rejected
    images = found.all("img")
    assert [image["src"].split(";")[0] for image in images] == [f"data:image/{kind}" for kind in kinds]
    data = [base64.b64decode(image["src"].split("base64,")[1]) for image in images]
    assert data == [PNG, JPEG, PNG, JPEG]
    assert [image["alt"] for image in images][1:3] == ["anna / 1.jpg", "bert / 2.png"]
    assert [caption["title"] for caption in found.all("figcaption")] == [image["alt"] for image in images]


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    html, found = page(tmp_path, full())
    assert html.startswith("<!doctype html>")
    assert not re.search(r"https?://|url\(|@import", html)
    assert all(attrs["src"].startswith("data:image/") for _, attrs in found.tags if "src" in attrs)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert not [key for _, attrs in found.tags for key in attrs if key.startswith("on") or key in ("href", "srcset")]
    policy = next(meta["content"] for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "img-src data:;" in policy


def test_the_page_fits_phones_and_dark_rooms(tmp_path: Path) -> None:
    html, found = page(tmp_path, full())
    metas = {meta["name"]: meta["content"] for meta in found.all("meta") if "name" in meta}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark" and "prefers-color-scheme: dark" in html


def test_guide_lines_lie_over_crops_only_and_have_a_switch(tmp_path: Path) -> None:
    html, found = page(tmp_path, full())
    classes = [div.get("class") for div in found.all("div")]
    assert classes.count("crop") == 3 and classes.count("photo") == 1
    [switch] = found.all("input")
    assert switch["type"] == "checkbox" and found.all("label")[0]["for"] == switch["id"] == "guides"
    assert f"#guides:checked ~ section .crop::before {{ top: {100 * EYE_LINE:.2f}%; }}" in html
    assert f"#guides:checked ~ section .crop::after {{ top: {100 * MOUTH_LINE:.2f}%; }}" in html


def heights(eyes_to_mouth: float) -> tuple[float, float]:
    """Heights of eyes and mouth in the crop of an upright face, 0-1; the argument in eye distances."""
    d = 50 * eyes_to_mouth
    points = np.array([[-25, 0], [25, 0], [0, 0.6 * d], [-20, d], [20, d]])
    matrix = photo_to_crop(ffhq_quad(points), 1)
    found = points @ matrix[1, :2] + matrix[1, 2] + 0.5
    return float(found[:2].mean()), float(found[3:].mean())


def test_guide_lines_lie_where_the_alignment_puts_eyes_and_mouth() -> None:
    # Beyond 10/9 eye distances the way to the mouth sets the scale: one case on each side.
    np.testing.assert_allclose(np.mean([heights(1.0), heights(1.4)], axis=0), (EYE_LINE, MOUTH_LINE), atol=1e-9)
    for ratio in (0.95, 1.0, 1.1, 1.2, 1.8):
        eyes, mouth = heights(ratio)
        assert abs(eyes - EYE_LINE) < 0.003 and abs(mouth - MOUTH_LINE) < 0.025, ratio


def test_videos_used_in_part_are_counted_apart(tmp_path: Path) -> None:
    _, found = page(tmp_path, dataclasses.replace(full(), used_in_part=1234))
    assert "Videos used in part, because they are cut off or damaged: 1,234." in found.rows()
    assert "all | 1,507" in found.rows()


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    evil = "\"><img src=x onerror='alert(1)'></style><script>&amp;"
    sheet = Sheet(evil, evil, [(JPEG, evil)])
    preview = Preview(evil, {evil: evil}, {evil: {evil: 1}}, [(evil, evil, 1)], [(PNG, evil)], [sheet], [sheet])
    html, found = page(tmp_path, preview)
    assert "<script" not in html and len(found.all("img")) == 3
    assert not [attrs for _, attrs in found.tags if "onerror" in attrs]
    assert {caption["title"] for caption in found.all("figcaption")} == {evil}
    assert found.rows().count(evil) == 2 + 2 + 2 + 1 + 2 * 3 + 2  # title and heading, counts, gate, captions, facts


def test_names_that_are_not_unicode_show_their_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xe9t\xe9 \xc3\xa9.jpg")
    sheet = Sheet(name, name, [(JPEG, name)])
    preview = Preview(name, {name: name}, {name: {name: 1}}, [(name, name, 1)], [(PNG, name)], [sheet], [sheet])
    _, found = page(tmp_path, preview)
    assert {caption["title"] for caption in found.all("figcaption")} == {"\\udce9t\\udce9 é.jpg"}


def test_empty_sections_say_so(tmp_path: Path) -> None:
    _, found = page(tmp_path, EMPTY)
    for sentence in ("Nothing was counted.", "Nothing was left out.", "No face was kept.", "None to show."):
        assert sentence in found.words
    assert "used in part" not in found.rows()
    assert not found.all("table") and not found.all("img") and "How this was made" not in found.words
    _, found = page(tmp_path, Preview("e", {}, {"train": {}}, [], [], [Sheet("Train", "", [])], [Sheet("Odd", "", [])]))
    assert "Train | No pictures." in found.rows() and "Odd | No pictures." in found.rows()


def test_the_error_names_an_image_that_is_not_one(tmp_path: Path) -> None:
    for data in (b"", b"GIF89a.."):
        with pytest.raises(ValueError, match=r"Train, picture 'a/b\.gif'.*wanted JPEG or PNG"):
            write_preview(
                tmp_path / "p.html", Preview("t", {}, {}, [], [], [Sheet("Train", "", [(data, "a/b.gif")])], [])
            )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch) -> None:
    before, _ = page(tmp_path, EMPTY)

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_preview(tmp_path / "preview.html", full())
    assert [path.name for path in tmp_path.iterdir()] == ["preview.html"]
    assert (tmp_path / "preview.html").read_text("utf-8") == before


def test_missing_jinja2_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'pip install "smoothswap-jax\[faces\]"'):
        write_preview(tmp_path / "preview.html", EMPTY)


# --- its pictures -----------------------------------------------------------------------------------------


def decoded(data: bytes) -> tuple[str | None, np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        return image.format, np.asarray(image)


def test_mean_face_is_the_mean() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (7, 6, 6, 3), dtype=np.uint8)
    form, mean = decoded(mean_face(iter(crops)))
    assert form == "PNG"
    np.testing.assert_array_equal(mean, np.rint(crops.mean(0)).astype(np.uint8))
    # 300 white crops would overflow 16 bits.
    assert (decoded(mean_face(np.full((2, 2, 3), 255, np.uint8) for _ in range(300)))[1] == 255).all()


def test_mean_face_refuses_what_has_no_mean() -> None:
    small, large, flat = (np.zeros(shape, np.uint8) for shape in ((4, 4, 3), (1, 1, 3), (4, 5, 3)))
    with pytest.raises(ValueError, match="at least one"):
        mean_face([])
    with pytest.raises(ValueError, match=r"crop 1: found \[1, 1, 3\]; wanted \[4, 4, 3\]"):  # numpy would broadcast
        mean_face([small, large])
    with pytest.raises(ValueError, match=r"crop 0: found \[4, 5, 3\]; wanted \[4, 4, 3\]"):
        mean_face([flat])
    with pytest.raises(PhotoError, match="crop 0: found float64"):
        mean_face([np.zeros((4, 4, 3))])


def test_thumbnail_keeps_the_aspect_and_never_enlarges() -> None:
    sizes = {(400, 300): (128, 96), (30, 300): (13, 128), (1, 4000): (1, 128), (50, 60): (50, 60)}
    for found, wanted in sizes.items():
        form, small = decoded(thumbnail(np.zeros((*found, 3), np.uint8)))
        assert (form, small.shape) == ("JPEG", (*wanted, 3)), found
    assert decoded(thumbnail(np.zeros((64, 32, 3), np.uint8), side=16))[1].shape == (16, 8, 3)


def test_thumbnail_has_the_colours_and_no_aliasing() -> None:
    colours = np.zeros((256, 256, 3), np.uint8)
    colours[:, :128], colours[:, 128:] = (200, 60, 40), (30, 90, 220)
    small = decoded(thumbnail(colours))[1].astype(int)
    assert abs(small[:, :48] - (200, 60, 40)).max() <= 4 and abs(small[:, 80:] - (30, 90, 220)).max() <= 4
    # One white column in three: a thumbnail of picked pixels has stripes, an antialiased one is even grey.
    stripes = np.zeros((384, 384, 3), np.uint8)
    stripes[:, ::3] = 255
    inner = decoded(thumbnail(stripes))[1][:, 8:-8]
    assert abs(inner.astype(int) - 85).max() <= 4
