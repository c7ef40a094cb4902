"""The swapper's three networks and its training step in plain PyTorch, of the same shapes as ours, to compare speeds.

NCHW; of progressive pyramids output_skip and input_skip (summed). FIR filters are depthwise convolutions, which are
faster than the `upfirdn2d_native` of published code, which treats every channel as an image. Weights are random: their
values do not change the time.
"""

import contextlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def fir(x: torch.Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> torch.Tensor:
    """`upfirdn2d` with [1, 3, 3, 1]: zeros between the pixels, padding, the filter times `gain`, decimation."""
    b, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(b, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1))
    x = F.pad(x.reshape(b, c, h * up, w * up), (*pad, *pad))
    taps = (torch.outer(TAPS, TAPS) * gain).to(x)
    return F.conv2d(x, taps.expand(c, 1, 4, 4), stride=down, groups=c)


def upsample(x):
    return fir(x, 2, 1, (2, 1), 4.0)


def downsample(x):
    return fir(x, 1, 2, (1, 1), 1.0)


def _norm(c: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, min(c // 4, 32)), c, eps=1e-6)


class ResidualBlock(nn.Module):
    """score_sde's `ResnetBlockBigGANpp`, as `models.ncsnpp.ResnetBlockBigGANpp`."""

    def __init__(self, c, d, emb, resample=None):
        super().__init__()
        self.resample = {None: nn.Identity(), "up": upsample, "down": downsample}[resample]
        self.norm0, self.conv0 = _norm(c), nn.Conv2d(c, d, 3, padding=1)
        self.embed, self.norm1 = nn.Linear(emb, d), _norm(d)
        self.conv1 = nn.Conv2d(d, d, 3, padding=1)
        self.shortcut = nn.Conv2d(c, d, 1) if c != d or resample else nn.Identity()

    def forward(self, x, emb):
        h = self.conv0(self.resample(F.silu(self.norm0(x))))
        h = F.silu(self.norm1(h + self.embed(F.silu(emb))[:, :, None, None]))
        return (self.shortcut(self.resample(x)) + self.conv1(h)) / math.sqrt(2)


class Attention(nn.Module):
    """score_sde's `AttnBlockpp`, as `models.ncsnpp.AttnBlockpp`."""

    def __init__(self, c):
        super().__init__()
        self.norm = _norm(c)
        self.query, self.key, self.value, self.out = (nn.Linear(c, c) for _ in range(4))

    def forward(self, x):
        h = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.query(h), self.key(h), self.value(h)
        weights = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1)
        return (x + self.out(weights @ v).transpose(1, 2).reshape(x.shape)) / math.sqrt(2)


PYRAMIDS = {"progressive": ("none", "output_skip"), "progressive_input": ("none", "input_skip"), "combine": ("sum",)}
"""What the generator has of the options of NCSN++."""


class Generator(nn.Module):
    """NCSN++, as `models.ncsnpp.NCSNpp`. Raises ValueError for options that are not in PYRAMIDS."""

    def __init__(
        self, size, dim, nf, ch_mult, num_res_blocks, attn_resolutions,
        progressive="none", progressive_input="none", combine="sum",
    ):  # fmt: skip
        super().__init__()
        given = {"progressive": progressive, "progressive_input": progressive_input, "combine": combine}
        if wrong := [f"{name}={value}" for name, value in given.items() if value not in PYRAMIDS[name]]:
            raise ValueError(f"{', '.join(wrong)}: not in PyTorch; wanted {PYRAMIDS}")
        self.output_skip, self.input_skip = progressive == "output_skip", progressive_input == "input_skip"
        emb, self.dim = 4 * nf, dim
        self.embed0, self.embed1 = nn.Linear(dim, emb), nn.Linear(emb, emb)
        self.stem = nn.Conv2d(3, nf, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        block = lambda c, d, how=None: ResidualBlock(c, d, emb, how)
        self.combine, self.heads = nn.ModuleList(), nn.ModuleList()
        c, skips = nf, [nf]
        for level, mult in enumerate(ch_mult):
            for _ in range(num_res_blocks):
                self.down.append(nn.ModuleList([block(c, nf * mult)]))
                c = nf * mult
                if size in attn_resolutions:
                    self.down[-1].append(Attention(c))
                skips.append(c)
            if level < len(ch_mult) - 1:
                self.down.append(nn.ModuleList([block(c, c, "down")]))
                if self.input_skip:
                    self.combine.append(nn.Conv2d(3, c, 1))
                skips.append(c)
                size //= 2
        self.middle = nn.ModuleList([block(c, c), Attention(c), block(c, c)])
        for level, mult in reversed(list(enumerate(ch_mult))):
            for _ in range(num_res_blocks + 1):
                self.up.append(nn.ModuleList([block(c + skips.pop(), nf * mult)]))
                c = nf * mult
            if size in attn_resolutions:
                self.up[-1].append(Attention(c))
            if self.output_skip or not level:
                self.heads.append(nn.Sequential(_norm(c), nn.SiLU(), nn.Conv2d(c, 3, 3, padding=1)))
            if level:
                self.up.append(nn.ModuleList([block(c, c, "up")]))
                size *= 2

    def forward(self, x, z):
        emb = self.embed1(F.silu(self.embed0(z * math.sqrt(self.dim))))

        def run(h, parts):
            h = parts[0](h, emb)
            return parts[1](h) if len(parts) > 1 else h

        h, pyramid, combine = self.stem(x), x, iter(self.combine)
        skips = [h]
        for parts in self.down:
            h = run(h, parts)
            if self.input_skip and not isinstance(parts[0].resample, nn.Identity):
                pyramid = downsample(pyramid)
                h = h + next(combine)(pyramid)
            skips.append(h)
        h = self.middle[2](self.middle[1](self.middle[0](h, emb)), emb)
        image, heads = None, iter(self.heads)
        for parts in self.up:
            if not isinstance(parts[0].resample, nn.Identity):
                image = self._image(image, h, heads)
                h = run(h, parts)
            else:
                h = run(torch.cat([h, skips.pop()], dim=1), parts)
        return x + self._image(image, h, heads, last=True)

    def _image(self, image, h, heads, last=False):
        """The output pyramid at a level: without one, the last level's image alone."""
        if not (self.output_skip or last):
            return None
        more = next(heads)(h).float()
        return more if image is None else upsample(image) + more


class EqualConv(nn.Module):
    """Equalised learning rate, with StyleGAN2's blur before stride 2; as `models.layers.EqualConv`."""

    def __init__(self, c, d, size=3, down=False, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d, c, size, size))
        self.bias = nn.Parameter(torch.zeros(d)) if bias else None
        self.scale, self.down, self.size = 1 / math.sqrt(c * size * size), down, size

    def forward(self, x):
        w = self.weight * self.scale
        if not self.down:
            return F.conv2d(x, w, self.bias, padding=self.size // 2)
        if self.size == 1:  # reads only the pixels that decimation keeps
            return F.conv2d(downsample(x), w, self.bias)
        p = len(TAPS) - 2 + self.size - 1
        return F.conv2d(fir(x, 1, 1, ((p + 1) // 2, p // 2), 1.0), w, self.bias, stride=2)


class EqualLinear(nn.Module):
    """As `models.layers.EqualDense`."""

    def __init__(self, c, d):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(d, c)), nn.Parameter(torch.zeros(d))

    def forward(self, x):
        return F.linear(x, self.weight / math.sqrt(x.shape[1]), self.bias)


def _activate(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class DiscriminatorBlock(nn.Module):
    """As `models.stylegan2.DiscriminatorBlock`."""

    def __init__(self, c, d):
        super().__init__()
        self.conv1, self.conv2 = EqualConv(c, c), EqualConv(c, d, down=True)
        self.skip = EqualConv(c, d, 1, down=True, bias=False)

    def forward(self, x):
        return (_activate(self.conv2(_activate(self.conv1(x)))) + self.skip(x)) / math.sqrt(2)


class Discriminator(nn.Module):
    """StyleGAN2's residual discriminator, as `models.stylegan2.Discriminator`."""

    def __init__(self, size, channel_base, channel_max, mbstd_group):
        super().__init__()
        width = lambda size: min(channel_base // size, channel_max)
        self.group, self.from_rgb, self.blocks = mbstd_group, EqualConv(3, width(size), 1), nn.Sequential()
        while size > 4:
            self.blocks.append(DiscriminatorBlock(width(size), width(size // 2)))
            size //= 2
        self.final_conv = EqualConv(width(4) + 1, width(4))
        self.final_dense, self.logit = EqualLinear(16 * width(4), width(4)), EqualLinear(width(4), 1)

    def forward(self, x):
        h = self.blocks(_activate(self.from_rgb(x)))
        b, c, height, width = h.shape
        y = h.reshape(min(b, self.group), -1, c, height, width)
        y = (y.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3)).repeat(len(y))
        h = torch.cat([h, y[:, None, None, None].expand(b, 1, height, width)], dim=1)
        h = _activate(self.final_conv(h)).flatten(1)
        return self.logit(_activate(self.final_dense(h)))


class Bottleneck(nn.Module):
    """As `models.embedder.Bottleneck`."""

    def __init__(self, c, width, stride, norm):
        super().__init__()
        conv = lambda c, d, size, stride=1: nn.Sequential(nn.Conv2d(c, d, size, stride, size // 2, bias=False), norm(d))
        self.conv1, self.conv2, self.conv3 = conv(c, width, 1), conv(width, width, 3, stride), conv(width, 4 * width, 1)
        self.downsample = conv(c, 4 * width, 1, stride) if stride > 1 or c != 4 * width else nn.Identity()

    def forward(self, x):
        h = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(h + self.downsample(x))


class Embedder(nn.Module):
    """As `models.embedder.IdentityEmbedder` with batch norm. Raises ValueError for a stem that is not in STEMS."""

    STEMS: dict[str, tuple[int, nn.Module]] = {"small2": (3, nn.Identity()), "imagenet": (7, nn.MaxPool2d(3, 2, 1))}  # noqa: RUF012

    def __init__(self, stage_sizes, width, hidden, dim, stem="small2"):
        super().__init__()
        if stem not in self.STEMS:
            raise ValueError(f"stem {stem}: not in PyTorch; wanted one of {[*self.STEMS]}")
        side, self.pool = self.STEMS[stem]
        self.stem = nn.Sequential(nn.Conv2d(3, width, side, 2, side // 2, bias=False), nn.BatchNorm2d(width))
        self.blocks, c = nn.Sequential(), width
        for stage, count in enumerate(stage_sizes):
            for i in range(count):
                stride = 2 if stage and not i else 1
                self.blocks.append(Bottleneck(c, width * 2**stage, stride, nn.BatchNorm2d))
                c = 4 * width * 2**stage
        self.dense0, self.norm0 = nn.Linear(c, hidden), nn.BatchNorm1d(hidden)
        self.dense1, self.norm1 = nn.Linear(hidden, dim), nn.BatchNorm1d(dim)

    def forward(self, x):
        h = self.blocks(self.pool(F.relu(self.stem(x)))).mean((2, 3))
        h = F.leaky_relu(self.norm0(self.dense0(h)), 0.2)
        return F.normalize(self.norm1(self.dense1(h)), dim=1)


class TorchStep:
    """Networks and optimisers of a swapper config; a call is one training step on random images.

    dtype: of autocast, parameters stay float32; None: float32 throughout. compiled: by `torch.compile`, each network;
    R1's pass through the discriminator stays eager, as PyTorch compiles no second derivatives.
    """

    def __init__(
        self,
        config: dict,
        embedder: dict,
        batch: int,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        channels_last: bool = False,
        compiled: bool = False,
    ):
        torch.manual_seed(0)
        size, generator, discriminator = config["data"]["size"], config["generator"], config["discriminator"]
        self.objective, dim = config["objective"], embedder["dim"]
        self.device, self.dtype = device, dtype
        names = ("nf", "ch_mult", "num_res_blocks", "attn_resolutions", *PYRAMIDS)
        fields = {key: generator[key] for key in names}
        memory = torch.channels_last if channels_last else torch.contiguous_format
        place = lambda one: one.to(device, memory_format=memory)
        self.generator = place(Generator(size, dim, **fields))
        self.average = place(Generator(size, dim, **fields)).requires_grad_(False)
        fields = {key: discriminator[key] for key in ("channel_base", "channel_max", "mbstd_group")}
        self.discriminator = place(Discriminator(size, **fields))
        fields = {key: embedder[key] for key in ("stage_sizes", "width", "hidden", "dim", "stem")}
        self.embedder = place(Embedder(**fields)).eval().requires_grad_(False)
        adam = lambda network, rate: torch.optim.Adam(network.parameters(), rate, (0.0, 0.99))
        self.optimizers = adam(self.generator, 1e-3), adam(self.discriminator, 4e-3)
        self.source, self.target = (place(torch.rand(batch, 3, size, size) * 2 - 1) for _ in range(2))
        compile_: Any = torch.compile if compiled else lambda network: network
        self.run = {name: compile_(getattr(self, name)) for name in ("generator", "discriminator", "embedder")}

    def _precision(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device, self.dtype) if self.dtype else contextlib.nullcontext()

    def generate(self) -> torch.Tensor:
        """The generator's forward pass, with what its backward pass needs."""
        with self._precision():
            return self.run["generator"](self.target, torch.zeros(len(self.target), self.generator.dim).to(self.target))

    def __call__(self, with_r1: bool = True) -> None:
        """As `training.swapper_step`: one forward pass of the generator serves both updates."""
        generate, discriminate, embed = (self.run[name] for name in ("generator", "discriminator", "embedder"))
        o, (optimizer, d_optimizer) = self.objective, self.optimizers
        with self._precision():
            with torch.no_grad():
                z = embed(self.source).float()
            swap = generate(self.target, z)
            penalty: Any = 0.0
            if with_r1:
                real = self.target.clone().requires_grad_(True)
                real_logits = self.discriminator(real)
                (gradient,) = torch.autograd.grad(real_logits.float().sum(), real, create_graph=True)
                r1 = gradient.float().square().sum((1, 2, 3)).mean()
                penalty = 0.5 * o["r1_gamma"] * o["r1_interval"] * r1
            else:
                real_logits = discriminate(self.target)
            adversarial = F.softplus(discriminate(swap.detach()).float()) + F.softplus(-real_logits.float())
        _update(d_optimizer, adversarial.mean() + penalty)
        self.discriminator.requires_grad_(False)
        with self._precision():
            identity = 1 - (embed(swap).float() * z).sum(1)
            change = (swap - self.target).square().mean((1, 2, 3))
            adversarial = F.softplus(-discriminate(swap).float())[:, 0]
            loss = (o["identity"] * identity + o["change"] * change + o["adversarial"] * adversarial).mean()
        _update(optimizer, loss)
        self.discriminator.requires_grad_(True)
        torch._foreach_lerp_(
            list(self.average.parameters()), list(self.generator.parameters()), 1 - o["ema_decay"]
        )  # fmt: skip


def _update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
