"""Where things lie, for tests at any depth."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
SHARED = ROOT.parent / "shared"
"""Photographs and reference numbers that are no part of it; tests that need them skip where it is missing."""
