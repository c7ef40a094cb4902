"""Faces followed through a video that is known."""

import numpy as np
import pytest

from smoothswap_jax.faces.align import ffhq_quad
from smoothswap_jax.faces.tracking import (
    CUT,
    Sightings,
    difference,
    find_people,
    find_tracks,
    one_euro,
    thumbnail,
    without_lag,
)

POINTS = np.array([[-10.0, 0.0], [10.0, 0.0], [0.0, 12.0], [-7.0, 22.0], [7.0, 22.0]])
FRAMES = 100
TIMES = np.arange(FRAMES) / 25


def sightings(*faces) -> Sightings:
    """Of faces (path, frames, vector): path(t) is x, y, size."""
    rows = []
    for path, frames, vector in faces:
        for frame in frames:
            x, y, size = path(TIMES[frame])
            box = np.array([x - 15 * size, y - 12 * size, x + 15 * size, y + 32 * size])
            rows.append((frame, box, POINTS * size + (x, y), 0.9, vector))
    rows.sort(key=lambda row: row[0])
    return Sightings(*(np.array(column) for column in zip(*rows, strict=True)))


def still(x: float, y: float = 100.0, size: float = 2.0):
    return lambda t: (x, y, size)


A, B, NOBODY = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([np.nan, np.nan])
NO_CUT = np.zeros(FRAMES)


def test_two_near_equal_faces_keep_their_tracks_whatever_their_order():
    """Their sizes change places again and again, and so does their order in each frame."""
    wobble = lambda x, phase: lambda t: (x + 3 * np.sin(t), 100, 2 + 0.05 * np.sin(9 * t + phase))
    found = sightings((wobble(100, 0), range(FRAMES), A), (wobble(300, 3), range(FRAMES), B))
    shuffled = np.concatenate([np.random.default_rng(k).permutation([2 * k, 2 * k + 1]) for k in range(FRAMES)])
    found = Sightings(*(values[shuffled] for values in vars(found).values()))
    tracks = find_tracks(found, TIMES, NO_CUT)
    assert [(track.first, track.last) for track in tracks] == [(0, 99), (0, 99)]
    for track in tracks:
        assert np.ptp(found.box[track.rows][:, 0]) < 20


def test_a_face_that_is_missed_moves_on_one_that_is_hidden_is_not_there_and_one_that_is_gone_comes_back_as_another():
    path = lambda t: (100 + 40 * t, 100, 2)
    frames = [k for k in range(FRAMES) if not 20 <= k < 26 and not 50 <= k < 80]
    tracks = find_tracks(sightings((path, frames, A)), TIMES, NO_CUT)
    assert [(track.first, track.last) for track in tracks] == [(0, 49), (80, 99)]
    truth = np.stack([ffhq_quad(POINTS * 2 + path(t)[:2]) for t in TIMES[:50]])
    bridged = find_tracks(sightings((path, [k for k in frames if k != 10], A)), TIMES, NO_CUT)[0].quads
    for quads in (tracks[0].quads, bridged):
        assert np.isnan(quads[20:26]).all() and np.isfinite(np.delete(quads, range(20, 26), 0)).all()
        assert np.nanmax(np.abs(quads - truth)[5:45]) < 0.5


@pytest.mark.parametrize("rate", [0.5, 1, 2, 5])
def test_faces_of_slow_videos_are_tracked_and_one_that_is_missed_is_there(rate):
    times = np.arange(12) / rate
    frames = [k for k in range(12) if k != 5]
    found = sightings((still(100), frames, A))
    (track,) = find_tracks(found, times, np.zeros(12))
    assert (track.first, track.last) == (0, 11) and np.isfinite(track.quads).all()
    (alone,) = find_tracks(sightings((still(100), (3,), A)), times, np.zeros(12))
    assert (alone.first, alone.last) == (3, 3)


def test_a_frame_that_is_shown_for_long_parts_no_track():
    times = TIMES.copy()
    times[50:] += 5
    (track,) = find_tracks(sightings((still(100), range(FRAMES), A)), times, NO_CUT)
    assert len(track.rows) == FRAMES and np.isfinite(track.quads).all()


def test_everybody_of_many_scenes_is_a_person_of_his_own():
    """A film of many scenes, in each of which somebody else is seen."""
    rng = np.random.default_rng(0)
    who = rng.normal(size=(600, 128))
    who /= np.linalg.norm(who, axis=1, keepdims=True)
    frame = np.arange(6000)
    count = len(frame)
    found = Sightings(
        frame, np.tile([0.0, 0, 60, 60], (count, 1)), np.tile(POINTS * 2 + 100, (count, 1, 1)), np.ones(count),
        who[frame // 10].astype(np.float32),
    )  # fmt: skip
    changes = np.where(frame % 10 == 0, 99.0, 0.0)
    people = find_people(find_tracks(found, frame / 25, changes), found, alike=0.5)
    assert len(people) == 600


def test_no_track_goes_over_a_cut_and_flashes_are_no_tracks():
    cuts = NO_CUT.copy()
    cuts[40] = 99
    found = sightings((still(100), range(FRAMES), A), (still(300), (60, 61), B))
    tracks = find_tracks(found, TIMES, cuts)
    assert [(track.first, track.last) for track in tracks] == [(0, 39), (40, 99)]
    short = find_tracks(sightings((still(100), (0, 1), A)), TIMES[:2], NO_CUT[:2])
    assert len(short) == 1  # a whole video of two frames


def test_a_track_is_parted_where_somebody_else_is_in_the_same_place():
    """After a cut between scenes that look alike: who it is is asked every ten frames."""
    asked = lambda vector, frames: [(still(100), (k,), vector if k % 10 == 0 else NOBODY) for k in frames]
    changes = np.full(FRAMES, 2.0)
    changes[44] = 9.0
    tracks = find_tracks(sightings(*asked(A, range(44)), *asked(B, range(44, FRAMES))), TIMES, changes)
    assert [(track.first, track.last) for track in tracks] == [(0, 43), (44, 99)]


def test_people_are_told_by_identity_over_cuts_and_by_being_seen_at_once():
    cuts = NO_CUT.copy()
    cuts[50] = 99
    found = sightings(
        (still(100), range(50), A), (still(300, size=3), range(50), B),
        (still(300), range(50, 100), A), (still(100, size=3), range(50, 100), B),
        (still(500, size=1), range(100), A), (still(600, size=1), range(70, 80), NOBODY),
    )  # fmt: skip
    people = find_people(find_tracks(found, TIMES, cuts), found, alike=0.4)
    of = [[(track.first, round(float(track.quads[0, :, 0].mean()))) for track in person.tracks] for person in people]
    assert of[0] == [(0, 300), (50, 100)]  # B, the larger
    assert of[1] == [(0, 100), (50, 300)]
    assert of[2] == [(0, 500), (50, 500)]  # like A, but seen beside A
    assert of[3] == [(70, 600)]
    assert people[0].area > people[1].area and people[3].middle == pytest.approx(600)
    assert np.isnan(people[3].vector).all()


def test_smoothing_stills_what_trembles_and_does_not_lag():
    rng = np.random.default_rng(0)
    times = np.arange(200) / 25
    quiet = np.zeros((200, 2)) + rng.normal(0, 0.01, (200, 2))
    assert np.diff(without_lag(quiet, times), axis=0).std() < 0.35 * np.diff(quiet, axis=0).std()
    moving = np.stack([np.sin(2 * times), times], 1)
    errors = lambda smooth: np.abs(smooth - moving)[10:-10].max()
    assert 4 * errors(without_lag(moving, times)) < errors(one_euro(moving, times)) < 0.1
    uneven = np.cumsum(rng.uniform(0.02, 0.06, 200))
    line = np.stack([uneven, -2 * uneven], 1)
    assert np.abs(without_lag(line, uneven) - line)[20:-20].max() < 0.02


def test_a_cut_is_another_picture_and_not_a_move():
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (9, 16, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    other = np.kron(rng.integers(0, 256, (9, 16, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    assert difference(thumbnail(scene), thumbnail(other)) > 2 * CUT
    assert difference(thumbnail(scene), thumbnail(np.roll(scene, 8, axis=1))) < CUT
    assert difference(thumbnail(scene), thumbnail((scene * 0.9).astype(np.uint8))) < 0.6 * CUT
