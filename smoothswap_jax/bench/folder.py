"""The photos that an experiment is given."""

from pathlib import Path

from smoothswap_jax.faces.listing import PHOTO_SUFFIXES


def photos_below(folder: Path, option: str = "--photos") -> list[Path]:
    """All photos below a folder, by their names, sorted. Ends the program in words where there are none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not files:
        raise SystemExit(f"{option}={folder}: found no photos; wanted a folder with some")
    return files
