"""Swaps the videos of a folder and says what became of each, a JSON line each; a process of its own, as FFmpeg might
end it:

    python -m tests.inference.swap_hostile_videos PHOTO FOLDER OUT
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from smoothswap_jax.faces.videos import read_frames
from smoothswap_jax.inference.albums import swap_folder
from tests import mutations
from tests.inference.pixel_swappers import brighten, marked, pixel_swapper


def face(photo: np.ndarray):
    """A face where all pictures have it, in those large enough."""
    return marked((60, 40, 1.0))(photo) if min(photo.shape[:2]) >= 90 else []


def main() -> None:
    who, folder, out = map(Path, sys.argv[1:])
    swapper = pixel_swapper(brighten, 32, face)
    print(json.dumps({"memory": mutations.peak()}), flush=True)
    began = time.process_time()
    for one in swap_folder(swapper, who, folder, out, target_face="all"):
        told = {
            "target": str(one.target), "output": str(one.output), "fault": one.fault, "notes": one.notes,
            "seconds": time.process_time() - began, "memory": mutations.peak(),
            "frames": 0 if one.fault else sum(1 for _ in read_frames(str(one.output))),
        }  # fmt: skip
        print(json.dumps(told), flush=True)
        began = time.process_time()


if __name__ == "__main__":
    main()
