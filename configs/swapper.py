"""Stage 2: the face swapper, trained with a frozen identity embedder.

    smoothswap train --config=configs/swapper.py:tiny32 --workdir=runs/swapper \
        --config.embedder.checkpoint=runs/embedder

Variants: `tiny32` (the demo) and `small64` train on synthetic faces on a laptop; `paper256` follows the paper;
`ncsnpp256` is score_sde's FFHQ-256 network. Values that the paper does not state are our defaults (docs/design.md).
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PRESETS = {
    "tiny32": dict(
        size=32,
        generator=dict(nf=16, ch_mult=(1, 2, 2), num_res_blocks=1, attn_resolutions=(16,)),
        discriminator=dict(channel_base=512, channel_max=64),
        r1_gamma=0.02,
        batch=16,
        steps=2500,
    ),
    "small64": dict(
        size=64,
        generator=dict(nf=32, ch_mult=(1, 2, 2), num_res_blocks=1, attn_resolutions=(16,)),
        discriminator=dict(channel_base=2048, channel_max=128),
        r1_gamma=0.1,
        batch=16,
        steps=20_000,
    ),
    "paper256": dict(
        size=256,
        generator=dict(nf=64, ch_mult=(1, 2, 4, 4), num_res_blocks=2, attn_resolutions=(32,)),
        discriminator=dict(channel_base=32768, channel_max=512),
        r1_gamma=1.0,
        batch=8,
        steps=800_000,
    ),
    "ncsnpp256": dict(
        size=256,
        generator=dict(
            nf=128,
            ch_mult=(1, 1, 2, 2, 2, 2, 2),
            num_res_blocks=2,
            attn_resolutions=(16,),
            progressive="output_skip",
            progressive_input="input_skip",
        ),
        discriminator=dict(channel_base=32768, channel_max=512),
        r1_gamma=1.0,
        batch=8,
        steps=800_000,
    ),
}


def get_config(variant: str = "tiny32") -> ConfigDict:
    if variant not in PRESETS:
        raise ValueError(f"configs/swapper.py:{variant}: want one of {sorted(PRESETS)}")
    preset = PRESETS[variant]
    laptop = preset["size"] < 256
    c = ConfigDict()
    c.stage = "swapper"
    c.seed = 0
    c.steps = preset["steps"]
    c.batch = preset["batch"]  # pairs a step, over all devices
    c.self_pair_fraction = 0.125  # of the pairs that have source == target, at least one; 0: none
    c.grad_accum_steps = 1  # parts in which a batch is computed, one after the other: less memory, more time

    c.embedder = ConfigDict()
    c.embedder.checkpoint = placeholder(str)  # run directory of stage 1

    c.init = ConfigDict()  # folders that `smoothswap import` wrote, to start from instead of random weights
    c.init.generator = placeholder(str)
    c.init.discriminator = placeholder(str)

    c.generator = ConfigDict(  # fields of models.ncsnpp.NCSNpp
        dict(
            fir=True,
            fir_kernel=(1, 3, 3, 1),
            skip_rescale=True,
            progressive="none",
            progressive_input="none",
            combine="sum",
            init_scale=0.0,
            dropout=0.0,
            # What of the residual blocks is computed again in the backward pass, for less memory and more time: off,
            # dots_saveable (all but convolutions and matrix products) or nothing_saveable (all).
            remat="off",
            dtype="float32",
        )
        | preset["generator"]
    )
    c.discriminator = ConfigDict(preset["discriminator"])  # fields of models.stylegan2.Discriminator
    c.discriminator.mbstd_group = 4
    c.discriminator.remat = "off"
    c.discriminator.dtype = "float32"

    c.objective = ConfigDict()  # fields of steps.SwapperObjective
    c.objective.identity = 4.0  # lambda_id
    c.objective.change = 1.0  # lambda_chg
    c.objective.adversarial = 1.0  # lambda_adv
    c.objective.identity_warmup_steps = c.get_ref("steps") // 40 if laptop else 0
    c.objective.r1_gamma = preset["r1_gamma"]  # grows with the number of pixels
    c.objective.r1_interval = 8 if laptop else 16
    c.objective.ema_decay = 0.998 if laptop else 0.999

    c.generator_optimizer = _adam(1e-3, laptop)
    c.discriminator_optimizer = _adam(4e-3, laptop)

    c.data = _data(preset["size"], laptop)
    c.augment = ConfigDict()
    c.augment.flip = True
    c.augment.crop = 1.0
    c.augment.colour = 0.0

    c.eval_images = 64  # pairs of held-out people
    c.log_steps = 10
    c.eval_steps = 250 if laptop else 5000
    c.log_images_steps = 500 if laptop else 5000  # grid of swaps under WORKDIR/images
    c.checkpoint_steps = 500 if laptop else 5000
    c.max_to_keep = 3  # newest checkpoints
    c.keep_every_steps = 0  # and those of steps that this divides; 0: none
    # and the best by this metric, "-name" where lower is better; "": none. Synthetic faces know the true swap; of other
    # faces there is only the training embedder's own cosine, which is no measure.
    c.keep_best = "-eval/mse_over_copy_target" if laptop else ""

    c.compilation_cache = "~/.cache/smoothswap-jax/xla"  # of compiled programs, for the next start; "": none
    c.debug_nans = False  # when a number is none, run that step again and name the operation
    c.watchdog_seconds = 1800  # a step that takes longer has its stacks written to stderr; 0: never

    c.mesh = ConfigDict()  # all devices of all processes, as (data, fsdp)
    c.mesh.fsdp = 1  # over how many devices parameters, optimiser states and averages are split
    c.mesh.rules = ((".*", "fsdp"),)  # (path regex, fsdp or replicate): the first that matches an array counts
    return c


def _adam(learning_rate: float, laptop: bool) -> ConfigDict:
    optimizer = ConfigDict()
    optimizer.name = "adam"  # adam or sgd
    optimizer.learning_rate = learning_rate
    optimizer.b1 = 0.0
    optimizer.b2 = 0.99
    optimizer.weight_decay = 0.0
    optimizer.warmup_steps = 0
    optimizer.schedule = "linear" if laptop else "constant"  # constant, cosine, or linear over the last `decay`
    optimizer.decay = 0.3
    return optimizer


def _data(size: int, laptop: bool) -> ConfigDict:
    data = ConfigDict()
    data.kind = "synthetic" if laptop else "prepared"  # synthetic, prepared, folder, tfds
    data.feed = "memory" if laptop else "tf"  # memory: all images on the device; tf: tf.data reads files
    data.size = size  # pixels
    data.people = 2000  # synthetic: identities to render for training
    data.photos = 4  # synthetic: photos of each
    # synthetic: how far expression, pose and light stray from their means; 1 is the whole world, yaw to 35 degrees
    data.spread = 0.25 if size == 32 else 1.0
    data.held_out_people = 100  # test identities: rendered (synthetic) or taken out of training (folder)
    data.seed = 0  # synthetic: of the world, independent of the run's seed
    # prepared: what `smoothswap prepare` wrote, or several as A,B; folder: DIR/<person>/<photo>; tfds: data_dir
    data.dir = placeholder(str)
    data.weights = ()  # prepared: how often each of several is drawn, e.g. (3.0, 1.0); () is equally often
    data.name = "synthetic_faces"  # tfds: dataset/config
    return data
