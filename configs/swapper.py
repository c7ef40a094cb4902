"""Stage 2: the face swapper, trained with a frozen identity embedder of stage 1.

tiny32: synthetic people at 32 px, as in the demo
    smoothswap train --config=swapper:tiny32 --workdir=runs/swapper --config.embedder.checkpoint=runs/embedder
    2 CPU cores, 8 minutes. 2026-11-29: error to the true swap 0.45 of the error of the unchanged target, at 32 px.
small64: synthetic people at 64 px; the packaged swapper was trained so in two rounds (its model card)
    smoothswap train --config=swapper:small64 --workdir=runs/s64 --config.embedder.checkpoint=runs/e64
    2 shared CPU cores, some hours. 2026-11-29: error to the true swap 0.47 of the error of the unchanged target, heads
    .87 of the way to the source's shape; docs/results.md.
paper256: the paper's networks, on faces that `smoothswap prepare --out=DIR` wrote
    smoothswap train --config=swapper:paper256 --workdir=runs/swapper --config.embedder.checkpoint=runs/embedder \
        --config.data.dir=DIR
    For a GPU host or a TPU slice; estimates of time and memory are in docs/scaling.md. Not trained yet.
ncsnpp256: the same with score_sde's FFHQ-256 network (65.7M parameters) as the generator
    smoothswap train --config=swapper:ncsnpp256 --workdir=runs/swapper --config.embedder.checkpoint=runs/embedder \
        --config.data.dir=DIR
    As paper256. Not trained yet.

The defaults are those of paper256; a variant below lists every value in which it differs from them. Values that the
paper does not state are our own (docs/design.md). Fields that are not here are in smoothswap_jax/config/common.py.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from smoothswap_jax.config.common import (
    common_fields,
    optimizer_fields,
    people_fields,
    transform_fields,
    transform_mildly,
    with_variant,
)


def get_config(variant: str = "tiny32") -> ConfigDict:
    return with_variant(defaults(), VARIANTS, variant)


def defaults() -> ConfigDict:
    c = common_fields()
    c.stage = "swapper"
    c.steps = 800_000
    c.batch = 8  # pairs a step, over all devices
    c.self_pair_fraction = 0.125  # of the pairs that have source == target, at least one; 0: none

    c.embedder = ConfigDict()
    c.embedder.checkpoint = placeholder(str)  # run directory of stage 1, or an export, or "default"
    c.embedder.imported = placeholder(str)  # instead of it, a folder of `smoothswap import`: a network of identity
    # Of a second embedder: the identity loss is the mean over both, and the first one's z goes to the generator.
    c.embedder.also = placeholder(str)

    c.init = ConfigDict()  # what to start from: folders of `smoothswap import` or `export`, or "default"
    c.init.generator = placeholder(str)
    c.init.discriminator = placeholder(str)
    c.init.new_identity = False  # for weights of another embedder: the layers that read its identities start anew

    c.generator = ConfigDict()  # fields of models.ncsnpp.NCSNpp; score_sde's names
    c.generator.nf = 64  # channels at full resolution
    c.generator.ch_mult = (1, 2, 4, 4)  # channels of each resolution, over nf
    c.generator.num_res_blocks = 2  # of each resolution
    c.generator.attn_resolutions = (32,)  # resolutions with self-attention, in pixels
    c.generator.fir = True  # resample through the FIR filter, as StyleGAN2 does
    c.generator.fir_kernel = (1, 3, 3, 1)
    c.generator.skip_rescale = True  # residual sums over sqrt(2)
    c.generator.progressive = "none"  # output pyramid: none, output_skip, residual
    c.generator.progressive_input = "none"  # input pyramid: none, input_skip, residual
    c.generator.combine = "sum"  # how the input pyramid joins: sum or cat
    c.generator.injection = "add"  # how the identity enters each block: add, adagn, adalin, map2d, stylemap
    c.generator.init_scale = 0.0  # of the initial weights of the last layer of each block, and of the output
    c.generator.dropout = 0.0
    # What the backward pass recomputes of the residual blocks, for less memory and more time: off, dots_saveable (all
    # but convolutions and matrix products) or nothing_saveable (everything).
    c.generator.remat = "off"
    c.generator.dtype = "float32"  # of convolutions; bfloat16 on accelerators

    c.discriminator = ConfigDict()  # fields of models.stylegan2.Discriminator
    c.discriminator.channel_base = 32768  # channels at r px: min(channel_base // r, channel_max)
    c.discriminator.channel_max = 512
    c.discriminator.mbstd_group = 4  # images of one group of minibatch standard deviation
    c.discriminator.projection = False  # whether it also judges if an image fits to the identity it should show
    c.discriminator.remat = "off"  # as generator.remat
    c.discriminator.dtype = "float32"

    c.objective = ConfigDict()  # fields of training.swapper_step.SwapperObjective
    c.objective.identity = 4.0  # lambda_id
    c.objective.change = 1.0  # lambda_chg
    c.objective.adversarial = 1.0  # lambda_adv
    c.objective.back = 0.0  # of swaps that are swapped back, whose true swap is the target; 0: none
    c.objective.feature_matching = 0.0  # of deep features of the discriminator, swap to target; 0: none
    c.objective.identity_warmup_steps = 0  # over which lambda_id rises from 0
    c.objective.transform = transform_fields()  # of swaps, as the identity loss sees them
    c.objective.transform_samples = 1  # of each swap, over which the identity loss is a mean
    c.objective.r1_gamma = 1.0  # larger images want more
    c.objective.r1_interval = 16  # steps between R1 penalties (lazy regularisation)
    c.objective.ema_decay = 0.999  # of the generator's averaged weights, each step

    c.generator_optimizer = optimizer_fields("adam", learning_rate=1e-3, b1=0.0)
    c.discriminator_optimizer = optimizer_fields("adam", learning_rate=4e-3, b1=0.0)

    c.augment = ConfigDict()
    c.augment.flip = True
    c.augment.crop = 1.0  # smallest side of the random crop
    c.augment.colour = 0.0  # largest relative change of brightness, contrast, saturation

    c.eval_images = 64  # pairs of held-out people
    c.eval_steps = 5000  # steps between evaluations; 0: only at the end
    c.log_images_steps = 5000  # steps between grids of swaps in WORKDIR/images; 0: none
    c.checkpoint_steps = 5000  # steps between checkpoints; 0: only at the end
    # Also keep the best checkpoint by this metric; "-name": lower is better; "": none. The true swap is only
    # known for synthetic faces; the cosine by the training embedder itself would not be a fair measure.
    c.keep_best = ""
    return c


def tiny32(c: ConfigDict) -> None:
    c.steps = 1000
    c.batch = 8
    c.generator.nf = 16
    c.generator.ch_mult = (1, 2, 2)
    c.generator.num_res_blocks = 1
    c.generator.attn_resolutions = (16,)
    c.discriminator.channel_base = 512
    c.discriminator.channel_max = 64
    c.discriminator.projection = True
    c.objective.back = 4.0
    c.objective.identity_warmup_steps = c.get_ref("steps") // 40
    c.objective.r1_gamma = 0.02
    c.objective.r1_interval = 8
    c.objective.ema_decay = 0.998
    c.generator_optimizer.schedule = "linear"
    c.discriminator_optimizer.schedule = "linear"
    transform_mildly(c.objective.transform, size=32)
    people_fields(c.data, size=32, people=1500)
    c.eval_steps = 250
    c.log_images_steps = 500
    c.checkpoint_steps = 500
    c.keep_best = "-eval/mse_over_copy_target"


def small64(c: ConfigDict) -> None:
    c.steps = 7500
    c.batch = 8
    c.generator.nf = 16
    c.generator.ch_mult = (1, 2, 4, 4)
    c.generator.num_res_blocks = 1
    c.generator.attn_resolutions = (16,)
    c.discriminator.channel_base = 1024
    c.discriminator.channel_max = 128
    c.discriminator.projection = True
    c.objective.back = 4.0
    c.objective.identity_warmup_steps = c.get_ref("steps") // 40
    c.objective.r1_gamma = 0.1
    c.objective.r1_interval = 8
    c.objective.ema_decay = 0.998
    c.generator_optimizer.schedule = "linear"
    c.discriminator_optimizer.schedule = "linear"
    transform_mildly(c.objective.transform, size=64)
    people_fields(c.data, size=64, people=6000)
    c.eval_steps = 250
    c.log_images_steps = 500
    c.checkpoint_steps = 500
    c.keep_best = "-eval/mse_over_copy_target"


def paper256(c: ConfigDict) -> None:
    """The defaults."""


def ncsnpp256(c: ConfigDict) -> None:
    c.generator.nf = 128
    c.generator.ch_mult = (1, 1, 2, 2, 2, 2, 2)
    c.generator.attn_resolutions = (16,)
    c.generator.progressive = "output_skip"
    c.generator.progressive_input = "input_skip"


VARIANTS = {"tiny32": tiny32, "small64": small64, "paper256": paper256, "ncsnpp256": ncsnpp256}
