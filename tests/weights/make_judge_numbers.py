"""`python -m tests.weights.make_judge_numbers` writes tests/golden/judges.npz; PyTorch 2.13 made the stored one."""

import numpy as np

from tests.golden_files import FOLDER
from tests.weights import torch_references as ref
from tests.weights.drawn import JUDGES, Judge, images


def numbers(judge: Judge) -> np.ndarray:
    """What PyTorch computes for a judge; features and logits of Inception side by side."""
    name, *arguments = judge.reference
    return ref.outputs(ref.draw(getattr(ref, name)(*arguments)), images(*judge.size))


if __name__ == "__main__":
    np.savez_compressed(FOLDER / "judges.npz", **{name: numbers(judge) for name, judge in JUDGES.items()})
