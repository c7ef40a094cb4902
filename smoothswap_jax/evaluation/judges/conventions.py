"""How published evaluation code measures identity and pose, by name. Every report says which convention was used.

Sources are listed in docs/evaluation.md. Crops and weights matter more than formulas: scores under different
conventions cannot be compared. Features are cached by `about` too, so a change of its wording recomputes them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class IdentityConvention:
    """How an identity network is fed and its embeddings are ranked.

    points: whose five points a swap is aligned by, its 'own' or its 'target's. whole: the whole FFHQ crop is resized to
    the network's input, instead of cropping as the network does. flip: the embedding of the mirror image is appended to
    that of the image. normalised: ranks are by cosine, not by dot product.
    """

    name: str
    about: str
    points: str = "own"
    whole: bool = False
    flip: bool = False
    normalised: bool = True


@dataclass(frozen=True)
class PoseConvention:
    """How Hopenet's output becomes a pose error. unit: of the error. bgr: the network is fed BGR, as OpenCV reads."""

    name: str
    about: str
    unit: str
    bgr: bool = False


IDENTITY = {
    convention.name: convention
    for convention in (
        IdentityConvention("aligned", "each picture is cropped by its own points, as the network was trained"),
        IdentityConvention(
            "reliableswap", "the whole FFHQ crop squashed to the network's input (inference/ffplus)", whole=True
        ),
        IdentityConvention(
            "reface",
            "the whole picture resized, ranks by the un-normalised dot product (eval_tool); its face mask, made by a "
            "segmentation network, is not applied",
            whole=True,
            normalised=False,
        ),
        IdentityConvention(
            "casia",
            "a swap is cropped by its target's points; embedding of picture and mirror image",
            points="target",
            flip=True,
        ),
    )
}
POSE = {
    convention.name: convention
    for convention in (
        PoseConvention("geodesic", "the angle of the rotation between the two head poses", "degrees"),
        PoseConvention("reliableswap", "L2 distance of the 66 logits over 2, averaged over the three angles", "logits"),
        PoseConvention("reface", "L2 distance of (yaw, pitch, roll)", "degrees"),
        PoseConvention("casia", "L2 distance of (yaw, pitch, roll), of pictures fed as BGR", "degrees", bgr=True),
    )
}
