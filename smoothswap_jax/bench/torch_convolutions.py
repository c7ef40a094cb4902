"""Convolutions and their derivatives in PyTorch, on NHWC images and HWIO weights, to compare ours with."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F


def image_tensor(x: np.ndarray) -> torch.Tensor:
    """NHWC to NCHW."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def weight_tensor(w: np.ndarray) -> torch.Tensor:
    """HWIO to OIHW."""
    return torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))


def derivatives(x: np.ndarray, w: np.ndarray, g: np.ndarray, stride: int, padding: int) -> dict[str, Callable]:
    """y = conv(x, w) and the gradients of <y, g> by x and by w, as functions without arguments."""
    tx, tw, tg = image_tensor(x), weight_tensor(w), image_tensor(g)

    def backward(by_input: bool, by_weight: bool):
        return torch.ops.aten.convolution_backward(
            *(tg, tx, tw, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [by_input, by_weight, False])
        )

    return {
        "forward": lambda: F.conv2d(tx, tw, None, stride, padding),
        "input gradient": lambda: backward(True, False),
        "weight gradient": lambda: backward(False, True),
    }


def penalty_gradient(w: np.ndarray, g: np.ndarray) -> Callable[[], torch.Tensor]:
    """The gradient by w (OIHW) of R1's |d<conv(x, w), g> / dx|^2, for a convolution of stride 2 without padding."""
    tw, tg = weight_tensor(w).requires_grad_(True), image_tensor(g)

    def gradient() -> torch.Tensor:
        penalty = F.conv_transpose2d(tg, tw, stride=2).square().sum()
        return torch.autograd.grad(penalty, tw)[0]

    return gradient
