"""Stage 1: the identity embedder.

tiny32: synthetic people at 32 px, as in the demo
    smoothswap train --config=embedder:tiny32 --workdir=runs/embedder
    2 CPU cores, some minutes. 2026-11-29: ROC AUC of 100 held-out people 0.950.
small64: synthetic people at 64 px, as the packaged swapper's
    smoothswap train --config=embedder:small64 --workdir=runs/e64
    2 shared CPU cores, 40 minutes. 2026-11-29: ROC AUC of 100 held-out people 0.996.
paper256: the paper's network, on faces that `smoothswap prepare --out=DIR` wrote
    smoothswap train --config=embedder:paper256 --workdir=runs/embedder --config.data.dir=DIR
    For a GPU host or a TPU slice. Not trained yet.

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
    c.stage = "embedder"
    c.steps = 110_000
    c.batch = 512  # images a step, over all devices
    c.images_per_identity = 2  # of each person in a batch; batch // images_per_identity people

    c.init = ConfigDict()
    c.init.embedder = placeholder(str)  # to start from: a folder of `smoothswap import` or `export`, or "default"

    c.embedder = ConfigDict()  # fields of models.embedder.IdentityEmbedder
    c.embedder.stage_sizes = (3, 4, 6, 3)  # residual blocks of each stage
    c.embedder.width = 64  # channels of the first stage
    c.embedder.stem = "imagenet"  # imagenet, small, small2, small4
    c.embedder.norm = "batch"  # batch or group
    c.embedder.hidden = 1024  # width of the head's hidden layer
    c.embedder.dim = 512  # of the embedding
    c.embedder.dtype = "float32"  # of convolutions; bfloat16 on accelerators

    c.objective = ConfigDict()  # fields of training.objectives.EmbedderObjective
    c.objective.kind = "contrastive"  # contrastive, arcface, cosface, softmax, triplet
    c.objective.form = "smoothswap"  # of contrastive: smoothswap (the paper's) or khosla
    c.objective.temperature = 0.07  # of contrastive
    c.objective.scale = 64.0  # of the logits: arcface, cosface, softmax
    c.objective.margin = 0.5  # arcface, cosface, triplet (of squared distances)
    c.objective.transform = transform_fields()  # of training images, after augmentation
    c.objective.adversarial_steps = 0  # of projected gradient, by which images are moved to raise the loss; 0: none
    c.objective.adversarial_radius = 0.02  # most that they are moved, as root mean square, of images in [-1, 1]

    c.optimizer = optimizer_fields("sgd", learning_rate=0.1, b1=0.9)
    c.optimizer.weight_decay = 1e-4
    c.optimizer.warmup_steps = c.get_ref("steps") // 20
    c.optimizer.schedule = "cosine"

    c.augment = ConfigDict()
    c.augment.flip = True
    c.augment.crop = 0.9  # smallest side of the random crop
    c.augment.colour = 0.1  # largest relative change of brightness, contrast, saturation

    c.eval_images = 512  # of held-out people
    c.eval_steps = 500  # steps between evaluations; 0: only at the end
    c.log_images_steps = 0  # this stage has no images to show
    c.checkpoint_steps = 500  # steps between checkpoints; 0: only at the end
    c.keep_best = "eval/auc"  # also keep the best checkpoint by this metric; "-name": lower is better; "": none
    return c


def tiny32(c: ConfigDict) -> None:
    c.steps = 1000
    c.batch = 96
    c.embedder.stage_sizes = (1, 1, 1)
    c.embedder.width = 16
    c.embedder.stem = "small2"
    c.embedder.norm = "group"
    c.embedder.hidden = 128
    c.embedder.dim = 128
    c.optimizer.name = "adam"
    c.optimizer.learning_rate = 2e-3
    transform_mildly(c.objective.transform, size=32)
    people_fields(c.data, size=32, people=1500)


def small64(c: ConfigDict) -> None:
    c.steps = 4000
    c.batch = 96
    c.embedder.stage_sizes = (2, 2, 2, 2)
    c.embedder.width = 16
    c.embedder.stem = "small2"
    c.embedder.hidden = 256
    c.embedder.dim = 256
    c.optimizer.name = "adam"
    c.optimizer.learning_rate = 2e-3
    transform_mildly(c.objective.transform, size=64)
    people_fields(c.data, size=64, people=6000)


def paper256(c: ConfigDict) -> None:
    """The defaults."""


VARIANTS = {"tiny32": tiny32, "small64": small64, "paper256": paper256}
