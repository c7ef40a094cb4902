"""Stage 1: the identity embedder.

    smoothswap train --config=configs/embedder.py:tiny32 --workdir=runs/embedder
    smoothswap train --config=configs/embedder.py:paper256 --workdir=runs/embedder --config.data.dir=DIR

Variants: `tiny32` and `small64` train on synthetic faces on a laptop; `paper256` is the paper's network on what
`smoothswap prepare` wrote to DIR. Values that the paper does not state are our defaults (docs/design.md).
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PRESETS = {
    # width, blocks, stem, hidden, dim, people a batch, photos a person, steps
    "tiny32": dict(
        size=32,
        embedder=dict(stage_sizes=(1, 1, 1), width=16, stem="small2", norm="group", hidden=128, dim=128),
        batch=96,
        steps=800,
    ),
    "small64": dict(
        size=64,
        embedder=dict(stage_sizes=(2, 2, 2, 2), width=16, stem="small2", norm="batch", hidden=256, dim=256),
        batch=96,
        steps=4000,
    ),
    "paper256": dict(
        size=256,
        embedder=dict(stage_sizes=(3, 4, 6, 3), width=64, stem="imagenet", norm="batch", hidden=1024, dim=512),
        batch=512,
        steps=110_000,
    ),
}


def get_config(variant: str = "tiny32") -> ConfigDict:
    if variant not in PRESETS:
        raise ValueError(f"configs/embedder.py:{variant}: want one of {sorted(PRESETS)}")
    preset = PRESETS[variant]
    laptop = variant != "paper256"
    c = ConfigDict()
    c.stage = "embedder"
    c.seed = 0
    c.steps = preset["steps"]
    c.batch = preset["batch"]  # images a step, over all devices
    c.grad_accum_steps = 1  # parts in which a batch is embedded, one after the other: less memory, more time
    c.images_per_identity = 2  # of each person in a batch; batch // images_per_identity people

    c.embedder = ConfigDict(preset["embedder"])  # fields of models.resnet.IdentityEmbedder
    c.embedder.dtype = "float32"  # of convolutions; bfloat16 on accelerators

    c.objective = ConfigDict()
    c.objective.kind = "contrastive"  # contrastive, arcface, cosface, softmax
    c.objective.form = "smoothswap"  # of contrastive: smoothswap (the paper's) or khosla
    c.objective.temperature = 0.07
    c.objective.scale = 64.0  # of the logits: arcface, cosface, softmax
    c.objective.margin = 0.5  # arcface, cosface

    c.optimizer = ConfigDict()
    c.optimizer.name = "adam" if laptop else "sgd"
    c.optimizer.learning_rate = 2e-3 if laptop else 0.1
    c.optimizer.b1 = 0.9  # momentum of sgd, first decay of adam
    c.optimizer.b2 = 0.99  # adam only
    c.optimizer.weight_decay = 1e-4  # decoupled, kernels only
    c.optimizer.warmup_steps = c.get_ref("steps") // 20
    c.optimizer.schedule = "cosine"  # constant, cosine, or linear over the last `decay` of the run
    c.optimizer.decay = 0.3

    c.data = _data(preset["size"], laptop)
    c.augment = ConfigDict()
    c.augment.flip = True
    c.augment.crop = 0.9  # smallest side of the random crop
    c.augment.colour = 0.1  # largest relative change of brightness, contrast, saturation

    c.eval_images = 512  # of held-out people
    c.log_steps = 10
    c.eval_steps = 500
    c.log_images_steps = 0  # no pictures in this stage
    c.checkpoint_steps = 500
    c.max_to_keep = 3  # newest checkpoints
    c.keep_every_steps = 0  # and those of steps that this divides; 0: none
    c.keep_best = "eval/auc"  # and the best by this metric; "-name" where lower is better, "" for none

    c.compilation_cache = "~/.cache/smoothswap-jax/xla"  # of compiled programs, for the next start; "": none
    c.debug_nans = False  # when a number is none, run that step again and name the operation
    c.watchdog_seconds = 1800  # a step that takes longer has its stacks written to stderr; 0: never

    c.mesh = ConfigDict()  # all devices of all processes, as (data, fsdp)
    c.mesh.fsdp = 1  # over how many devices parameters, optimiser states and averages are split
    c.mesh.rules = ((".*", "fsdp"),)  # (path regex, fsdp or replicate): the first that matches an array counts
    return c


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
