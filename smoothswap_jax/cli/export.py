"""`smoothswap export`: write a trained swapper for others to run."""

import argparse


def add_parser(verbs) -> None:
    export = verbs.add_parser(
        "export",
        help="write a trained swapper for others to run",
        description="Writes params.safetensors, config.json, swap.stablehlo, embed.stablehlo, "
        "generate.stablehlo, MODEL_CARD.md and SHA256SUMS, and compares them with the checkpoint.",
        allow_abbrev=False,
    )
    export.add_argument("--checkpoint", required=True, metavar="DIR", help="run directory of a trained swapper")
    export.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    export.add_argument("--step", type=int, metavar="N", help="which checkpoint (default: the newest)")
    export.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="of the stored weights (default float32)"
    )
    export.add_argument("--with-discriminator", action="store_true", help="also its weights, to train on from")
    export.add_argument("--onnx", action="store_true", help="also the programs as ONNX (needs the extra `onnx`)")
    export.add_argument("--evaluation", metavar="FILE", help="a JSON report to put beside the model card")
    export.add_argument("--about", metavar="FILE", help="Markdown for the model card: hardware, licence, credits")
    export.add_argument("--overwrite", action="store_true", help="replace an export that is in --out already")
    export.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.inference.export.export_folder import export_swapper

    checks = export_swapper(
        args.checkpoint,
        args.out,
        step=args.step,
        dtype=args.dtype,
        with_discriminator=args.with_discriminator,
        onnx=args.onnx,
        evaluation=args.evaluation,
        about=args.about,
        overwrite=args.overwrite,
    )
    for name, difference in checks.items():
        print(f"{args.out}/{name}: differs from the checkpoint by {difference:.1e}")
