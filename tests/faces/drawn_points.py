"""Five points of a face, a picture without repetition, and turns, for the tests of alignment and detection."""

import numpy as np

POINTS = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 62.0], [43.0, 72.0], [57.0, 72.0]])


def turned(points: np.ndarray, degrees: float, about: tuple[float, float]) -> np.ndarray:
    """Points turned clockwise as seen on the screen."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - about) @ matrix.T + about


def waves(height: int, width: int, period: float = 40.0) -> np.ndarray:
    """A smooth picture with no two places alike."""
    y, x = np.mgrid[0:height, 0:width] * (2 * np.pi / period)
    channels = [np.sin(x) + np.cos(y), np.sin(x * 0.7 + y * 0.5), np.cos(x * 0.3 - y * 0.9)]
    return np.stack([127.5 + 55 * channel for channel in channels], axis=2).round().astype(np.uint8)


def side(quad: np.ndarray) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))
