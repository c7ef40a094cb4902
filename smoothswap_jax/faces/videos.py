"""Frames of a video file: evenly spaced ones, or those with given numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smoothswap_jax.faces.packages import missing_package
from smoothswap_jax.faces.photos import Photo

MAX_FRAMES = 1_000_000
"""A video whose header claims more is refused: which frames are sampled depends on that length."""


class VideoError(ValueError):
    """A video could not be decoded; the text names the file, what was found and what is wanted."""


def sampled_frames(path: str, count: int) -> Iterator[tuple[int, Photo]]:
    """Yields (number, frame `uint8 [h, w, 3]` RGB) of up to `count` evenly spaced frames, starting with the first.

    Raises as `frame_numbers` and `frames_at` do.
    """
    return frames_at(path, frame_numbers(path, count))


def frame_numbers(path: str, count: int) -> list[int]:
    """The numbers of up to `count` evenly spaced frames, k * length // count, with the length from the file's header.

    Raises VideoError if the file is not a video, ImportError without OpenCV.
    """
    with _opened(path) as (_, length):
        return [k * length // count for k in range(count)] if length > count else list(range(length))


def video_length(path: str) -> int:
    """The number of frames in the file's header. Raises as `frame_numbers` does."""
    with _opened(path) as (_, length):
        return length


def frames_at(path: str, numbers: Sequence[int]) -> Iterator[tuple[int, Photo]]:
    """Yields (number, frame `uint8 [h, w, 3]` RGB) of the frames with these numbers, in order.

    All frames are decoded up to the last one wanted: where a seek lands depends on the decoder. If the file ends before
    the length in its header, only the frames up to there come.

    Raises VideoError if the file is not a video or has none of the frames, ImportError without OpenCV.
    """
    cv2 = _cv2()
    wanted = set(numbers)
    decoded = 0
    with _opened(path) as (video, _):
        for index in range(max(wanted) + 1):
            if not video.grab():
                break
            if index in wanted:
                good, frame = video.retrieve()
                if good:
                    decoded += 1
                    yield index, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not decoded:
            raise VideoError(f"{path}: found no frame that can be decoded; wanted a whole video")


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, int]]:
    """The open video and its length in frames."""
    cv2 = _cv2()
    if not Path(path).is_file():
        raise VideoError(f"{path}: found no such file; wanted a video")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    cv2.utils.logging.setLogLevel(level)
    try:
        length = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        if not 0 < length <= MAX_FRAMES:
            raise VideoError(f"{path}: found no video with a length in frames; wanted a file that FFmpeg decodes")
        yield video, length
    finally:
        video.release()


def _cv2() -> Any:
    """OpenCV, or ImportError that says what to install."""
    try:
        import cv2
    except ImportError as error:
        raise missing_package("reading videos", "cv2", "faces") from error
    return cv2
