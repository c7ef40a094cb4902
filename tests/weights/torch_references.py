"""Small PyTorch statements of published architectures, with the names of their checkpoints. They only compare.

Imported by tests that skip without torch. Weights are drawn from tensors' names, as those of the golden files.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.weights.drawn import drawn


def draw(module: nn.Module) -> nn.Module:
    """Weights and batch statistics by name; the module in inference mode."""
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    state = {name: torch.from_numpy(value) for name, value in drawn(shapes).items()}
    module.load_state_dict(state)
    return module.eval()


def outputs(module: nn.Module, *images: np.ndarray) -> np.ndarray:
    """`images` are NHWC, one batch for each argument of the module."""
    with torch.no_grad():
        return module(*(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))) for x in images)).numpy()


def _conv(c: int, d: int, size: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(c, d, size, stride, size // 2, bias=bias)


def _layers(build, stages) -> dict[str, nn.Sequential]:
    """layer1, layer2, ...; build(stage, i) makes the i-th block of a stage."""
    return {f"layer{s + 1}": nn.Sequential(*[build(s, i) for i in range(n)]) for s, n in enumerate(stages)}


class Bottleneck(nn.Module):
    """torchvision v1.5's, or VGGFace2's with the stride in front and squeeze-and-excitation by conv4 and conv5."""

    def __init__(self, c, width, stride, caffe, se):
        super().__init__()
        s1, s2 = (stride, 1) if caffe else (1, stride)
        self.conv1, self.bn1 = _conv(c, width, 1, s1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, s2), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        if se:
            self.conv4, self.conv5 = _conv(4 * width, width // 4, 1, 1, True), _conv(width // 4, 4 * width, 1, 1, True)
        if stride > 1 or c != 4 * width:
            self.downsample = nn.Sequential(_conv(c, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(h)))))
        if hasattr(self, "conv4"):
            h = h * self.conv5(F.relu(self.conv4(h.mean((2, 3), keepdim=True)))).sigmoid()
        return F.relu(h + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    def __init__(self, stages, width, classes=None, caffe=False, se=False):
        super().__init__()
        self.conv1, self.bn1, self.caffe = _conv(3, width, 7, 2), nn.BatchNorm2d(width), caffe

        def block(s, i):
            wide = width * 2**s
            c = 4 * wide if i else (2 * wide if s else width)
            return Bottleneck(c, wide, 2 if s and not i else 1, caffe, se)

        for name, layer in _layers(block, stages).items():
            setattr(self, name, layer)
        self.depth, self.dim = len(stages), 4 * width * 2 ** (len(stages) - 1)
        if classes:
            self.fc = nn.Linear(self.dim, classes)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.max_pool2d(h, 3, 2, 0, ceil_mode=True) if self.caffe else F.max_pool2d(h, 3, 2, 1)
        for i in range(self.depth):
            h = getattr(self, f"layer{i + 1}")(h)
        h = h.mean((2, 3))
        return self.fc(h) if hasattr(self, "fc") else h


class Hopenet(ResNet):
    def __init__(self, stages, width, bins=66):
        super().__init__(stages, width)
        for angle in ("yaw", "pitch", "roll"):
            setattr(self, f"fc_{angle}", nn.Linear(self.dim, bins))
        self.fc_finetune = nn.Linear(self.dim + 3, 3)

    def forward(self, x):
        h = super().forward(x)
        return torch.stack([self.fc_yaw(h), self.fc_pitch(h), self.fc_roll(h)], 1)


def degrees(logits: torch.Tensor) -> torch.Tensor:
    return (F.softmax(logits, -1) * torch.arange(logits.shape[-1])).sum(-1) * 3 - 99


class Deep3D(nn.Module):
    def __init__(self, stages, width, heads=(80, 64, 80, 3, 27, 2, 1)):
        super().__init__()
        self.backbone = ResNet(stages, width)
        self.final_layers = nn.ModuleList([nn.Conv2d(self.backbone.dim, n, 1) for n in heads])

    def forward(self, x):
        h = self.backbone(x)[:, :, None, None]
        return torch.cat([layer(h).flatten(1) for layer in self.final_layers], 1)


class IBlock(nn.Module):
    def __init__(self, c, d, stride):
        super().__init__()
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(c), nn.BatchNorm2d(d), nn.BatchNorm2d(d)
        self.conv1, self.conv2, self.prelu = _conv(c, d), _conv(d, d, 3, stride), nn.PReLU(d)
        if stride > 1:
            self.downsample = nn.Sequential(_conv(c, d, 1, stride), nn.BatchNorm2d(d))

    def forward(self, x):
        h = self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        return self.bn3(h) + (self.downsample(x) if hasattr(self, "downsample") else x)


class IResNet(nn.Module):
    """ArcFace's network for images of `size` pixels."""

    def __init__(self, stages, width, features, size=112):
        super().__init__()
        self.conv1, self.bn1, self.prelu = _conv(3, width), nn.BatchNorm2d(width), nn.PReLU(width)

        def block(s, i):
            d = width * 2**s
            return IBlock(d if i or not s else d // 2, d, 1 if i else 2)

        for name, layer in _layers(block, stages).items():
            setattr(self, name, layer)
        last = width * 2 ** (len(stages) - 1)
        self.bn2, self.depth = nn.BatchNorm2d(last), len(stages)
        self.fc, self.features = nn.Linear(last * (size >> len(stages)) ** 2, features), nn.BatchNorm1d(features)

    def forward(self, x):
        h = self.prelu(self.bn1(self.conv1(x)))
        for i in range(self.depth):
            h = getattr(self, f"layer{i + 1}")(h)
        return self.features(self.fc(self.bn2(h).flatten(1)))


class SphereBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2, self.prelu1, self.prelu2 = _conv(c, c), _conv(c, c), nn.PReLU(c), nn.PReLU(c)

    def forward(self, x):
        return x + self.prelu2(self.conv2(self.prelu1(self.conv1(x))))


class Sphere(nn.Sequential):
    """layer<s>: a convolution with bias and stride 2, a PReLU, then the blocks."""

    def __init__(self, stages, width, features):
        super().__init__()
        for s, n in enumerate(stages):
            d = width * 2**s
            down = [_conv(d // 2 if s else 3, d, 3, 2, True), nn.PReLU(d)]
            self.add_module(f"layer{s + 1}", nn.Sequential(*down, *[SphereBlock(d) for _ in range(n)]))
        self.add_module("flatten", nn.Flatten())
        self.add_module("fc", nn.Linear(d * (112 >> len(stages)) * (96 >> len(stages)), features))


class ConvNorm(nn.Module):
    def __init__(self, c, d, size, stride=1, pad=None):
        super().__init__()
        size = (size, size) if isinstance(size, int) else size
        pad = (size[0] // 2, size[1] // 2) if pad is None else pad
        self.conv, self.bn = nn.Conv2d(c, d, size, stride, pad, bias=False), nn.BatchNorm2d(d, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """The FID network at a fraction of its width: `n` of 32 channels in the stem. Returns pool3 and logits."""

    def __init__(self, n):
        super().__init__()
        self.n = n
        w = lambda channels: channels * n // 32
        self.Conv2d_1a_3x3 = ConvNorm(3, w(32), 3, 2, 0)
        self.Conv2d_2a_3x3 = ConvNorm(w(32), w(32), 3, 1, 0)
        self.Conv2d_2b_3x3 = ConvNorm(w(32), w(64), 3)
        self.Conv2d_3b_1x1 = ConvNorm(w(64), w(80), 1)
        self.Conv2d_4a_3x3 = ConvNorm(w(80), w(192), 3, 1, 0)
        row, column = (1, 7), (7, 1)

        def block(c, **chains):
            """name=[(channels, size, stride), ...]; 'a+b' chains: name_1, name_2, then both of name_<i>a, name_<i>b."""
            made = nn.Module()
            for name, chain in chains.items():
                d = c
                for i, (channels, size, *stride) in enumerate(chain, start=1):
                    label = name if len(chain) == 1 else f"{name}_{i}"
                    if size == "split":
                        made.add_module(f"{label}a", ConvNorm(d, w(channels), (1, 3)))
                        made.add_module(f"{label}b", ConvNorm(d, w(channels), (3, 1)))
                    else:
                        made.add_module(label, ConvNorm(d, w(channels), size, *(stride and (2, 0))))
                    d = w(channels)
            return made

        five = lambda pool: {
            "branch1x1": [(64, 1)], "branch5x5": [(48, 1), (64, 5)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
            "branch_pool": [(pool, 1)],
        }  # fmt: skip
        six = lambda c: {
            "branch1x1": [(192, 1)], "branch7x7": [(c, 1), (c, row), (192, column)],
            "branch7x7dbl": [(c, 1), (c, column), (c, row), (c, column), (192, row)], "branch_pool": [(192, 1)],
        }  # fmt: skip
        seven = {
            "branch1x1": [(320, 1)], "branch3x3": [(384, 1), (384, "split")],
            "branch3x3dbl": [(448, 1), (384, 3), (384, "split")], "branch_pool": [(192, 1)],
        }  # fmt: skip
        self.Mixed_5b = block(w(192), **five(32))
        self.Mixed_5c = block(w(256), **five(64))
        self.Mixed_5d = block(w(288), **five(64))
        self.Mixed_6a = block(w(288), branch3x3=[(384, 3, 2)], branch3x3dbl=[(64, 1), (96, 3), (96, 3, 2)])
        for letter, c in zip("bcde", (128, 160, 160, 192), strict=True):
            self.add_module(f"Mixed_6{letter}", block(w(768), **six(c)))
        self.Mixed_7a = block(
            w(768), branch3x3=[(192, 1), (320, 3, 2)], branch7x7x3=[(192, 1), (192, row), (192, column), (192, 3, 2)]
        )
        self.Mixed_7b, self.Mixed_7c = block(w(1280), **seven), block(w(2048), **seven)
        self.fc = nn.Linear(w(2048), 1008)

    def forward(self, x):
        h = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        h = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(h, 3, 2))), 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            h = self.mixed(getattr(self, f"Mixed_{name}"), h, name == "7c")
        h = h.mean((2, 3))
        return torch.cat([h, self.fc(h)], 1)

    def mixed(self, block, x, last):
        ends, chain = [], None
        for name, layer in block.named_children():
            base = name.split("_")[0]
            if name == "branch_pool":
                pool = F.max_pool2d(x, 3, 1, 1) if last else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
                ends.append(layer(pool))
            elif name.endswith("a"):
                before, ends[-1] = ends[-1], layer(ends[-1])
            elif name.endswith("b"):
                ends.append(layer(before))
            elif base == chain:
                ends[-1] = layer(ends[-1])
            else:
                ends.append(layer(x))
            chain = base
        if not hasattr(block, "branch_pool"):
            ends.append(F.max_pool2d(x, 3, 2))
        return torch.cat(ends, 1)


def _alexnet(a, b, c, d, e):
    return [
        nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU(),
        nn.MaxPool2d(3, 2), nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip


def _vgg16(*widths):
    layers, c = [], 3
    for d, count in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(c, d, 3, padding=1), nn.ReLU()]
            c = d
        layers.append(nn.MaxPool2d(2, 2))
    return layers


class LPIPS(nn.Module):
    """lpips 0.1.4's, `net` 'alex' or 'vgg', with its buffers and its second names of the last layers.

    `trunk` is torchvision's network, without the classifier.
    """

    def __init__(self, net, widths):
        super().__init__()
        layers, ends = {
            "alex": (_alexnet(*widths), (2, 5, 8, 10, 12)),
            "vgg": (_vgg16(*widths), (4, 9, 16, 23, 30)),
        }[net]
        self.scaling_layer, self.net = nn.Module(), nn.Module()
        for name in ("shift", "scale"):
            self.scaling_layer.register_buffer(name, torch.zeros(1, 3, 1, 1))
        for i, (start, end) in enumerate(zip((0, *ends), ends, strict=False), start=1):
            part = nn.Sequential()
            for number in range(start, end):
                part.add_module(str(number), layers[number])
            self.net.add_module(f"slice{i}", part)
        for i, width in enumerate(widths):
            lin = nn.Module()
            lin.model = nn.Sequential(nn.Dropout(), nn.Conv2d(width, 1, 1, bias=False))
            self.add_module(f"lin{i}", lin)
        self.lins = nn.ModuleList([getattr(self, f"lin{i}") for i in range(5)])

    def forward(self, x, y):
        x, y = ((image - self.scaling_layer.shift) / self.scaling_layer.scale for image in (x, y))
        total = 0
        for i in range(5):
            part = getattr(self.net, f"slice{i + 1}")
            x, y = part(x), part(y)
            a, b = (h / (torch.sqrt(torch.sum(h**2, 1, keepdim=True)) + 1e-10) for h in (x, y))
            total = total + self.lins[i].model((a - b) ** 2).mean((2, 3))[:, 0]
        return total


def lpips(net, widths) -> LPIPS:
    """Drawn by names, but with lpips' constants, and last layers that are positive as the published ones are."""
    module = draw(LPIPS(net, widths))
    for name, values in (("shift", (-0.030, -0.088, -0.188)), ("scale", (0.458, 0.448, 0.450))):
        getattr(module.scaling_layer, name).copy_(torch.tensor(values).view(1, 3, 1, 1))
    with torch.no_grad():
        for lin in module.lins:
            lin.model[1].weight.abs_()
    return module
