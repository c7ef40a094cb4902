"""What the configs of both stages share: fields, and the choice of a variant. Of the package, configs/*.py import only
this module."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

Variant = Callable[[ConfigDict], None]
"""Sets the values in which a variant differs from its stage's defaults."""


def with_variant(defaults: ConfigDict, variants: Mapping[str, Variant], name: str) -> ConfigDict:
    """The defaults with the values of the variant `name`. A variant can only set fields that the defaults have.

    Raises ValueError for an unknown variant.
    """
    if name not in variants:
        raise ValueError(f"variant is {name!r}, wanted one of {', '.join(variants)}")
    defaults.lock()
    variants[name](defaults)
    return defaults


def common_fields() -> ConfigDict:
    """Everything that has the same default in both stages."""
    c = ConfigDict()
    c.seed = 0  # of initial weights, batches and augmentation
    c.grad_accum_steps = 1  # microbatches of a batch, one after the other: less memory, more time

    c.data = ConfigDict()
    c.data.kind = "prepared"  # synthetic, prepared, folder, tfds
    c.data.feed = "tf"  # memory: all images on the device; tf: tf.data reads files
    c.data.size = 256  # pixels
    c.data.people = 2000  # synthetic: identities to render for training
    c.data.photos = 4  # synthetic: photos of each
    # synthetic: spread of expression, pose and light around their means; 1 is the full range, yaw up to 45 degrees
    c.data.spread = 1.0
    # synthetic: so many people in a row differ in shape alone, and are in the same batches of the embedder; 1: none
    c.data.look_alikes = 1
    c.data.held_out_people = 100  # test identities: rendered (synthetic) or taken out of training (folder)
    c.data.seed = 0  # synthetic: of the rendered people, independent of the run's seed
    c.data.rendered_cache = "~/.cache/smoothswap-jax/rendered"  # synthetic: keeps rendered faces; "": none
    # prepared: what `smoothswap prepare` wrote, or several as A,B; folder: DIR/<person>/<photo>; tfds: data_dir
    c.data.dir = placeholder(str)
    c.data.weights = ()  # prepared: sampling weights of several sets, e.g. (3.0, 1.0); (): all the same
    c.data.name = "synthetic_faces"  # tfds: dataset/config

    c.log_steps = 10  # steps between two lines of WORKDIR/metrics.jsonl
    c.max_to_keep = 3  # newest checkpoints
    c.keep_every_steps = 0  # also keep the checkpoint of every so many steps; 0: none

    c.compilation_cache = "default"  # folder of compiled programs for later starts; default: the user's; "": none
    c.debug_nans = False  # on NaN or infinity, run that step again and name the operation
    c.watchdog_seconds = 1800  # after so long a step, all stack traces go to stderr; 0: never

    c.mesh = ConfigDict()  # all devices of all processes, as (data, fsdp)
    c.mesh.fsdp = 1  # devices that share parameters, optimiser states and averaged weights
    c.mesh.rules = ((".*", "fsdp"),)  # (path regex, fsdp or replicate): the first match counts
    return c


def transform_fields() -> ConfigDict:
    """Random transformations of what the embedder sees, all off; fields of training.transforms.Transform."""
    transform = ConfigDict()
    # The largest strength of each, of which each image gets a random part; 0: none. Sides are the image's.
    transform.backdrop = 0.0  # probability that all but the face is exchanged for clouds of random colours
    transform.colour = 0.0  # relative change of brightness, contrast, saturation and of each channel
    transform.shift = 0.0  # along each axis, as a share of the side
    transform.scale = 0.0  # relative change of size
    transform.blur = 0.0  # share of the blurred image in the mean of both
    transform.blur_sigma = 0.8  # of the Gaussian of blur, in pixels; not random
    transform.noise = 0.0  # standard deviation, of images in [-1, 1]
    transform.hole = 0.0  # side of a hole that is filled with the mean, as a share of the image's; not random
    return transform


def transform_mildly(transform: ConfigDict, size: int) -> None:
    """Sets the strengths of our presets: what a person, a little out of place and focus, is still recognised in."""
    transform.colour = 0.1
    transform.shift = 1 / 32
    transform.blur = 0.5
    transform.blur_sigma = size / 40
    transform.noise = 0.08
    transform.hole = 6 / 32


def people_fields(data: ConfigDict, size: int, people: int) -> None:
    """Sets the synthetic people of our presets; all presets judge the same held-out people."""
    data.kind = "synthetic"
    data.feed = "memory"
    data.size = size
    data.people = people
    data.photos = 6
    data.spread = 0.5


def optimizer_fields(name: str, learning_rate: float, b1: float) -> ConfigDict:
    """An optimiser under a constant learning rate."""
    optimizer = ConfigDict()
    optimizer.name = name  # adam or sgd
    optimizer.learning_rate = learning_rate
    optimizer.b1 = b1  # first decay of adam, momentum of sgd
    optimizer.b2 = 0.99  # adam only
    optimizer.weight_decay = 0.0  # decoupled, kernels only
    optimizer.warmup_steps = 0  # over which the learning rate rises linearly from 0
    optimizer.schedule = "constant"  # constant, cosine, or linear: a fall to 0 over the last `decay` of the run
    optimizer.decay = 0.3
    return optimizer
