"""`smoothswap bench`: measure speed and memory on this machine."""

import argparse
import json

PHOTOS = 4  # of each person of --what=world
PEOPLE = {"world": 500, "embedding": 1024}


def add_parser(verbs) -> None:
    bench = verbs.add_parser(
        "bench",
        help="measure speed on this machine",
        description="data: stages of preparation, the training reader beside bare JPEG decoding, and an index of 3.3M "
        "images. steps: the swapper's training step, its operations, memory and phases. memory: what the step needs of "
        "a device, by the compiler, also for devices that this machine does not have. scaling: 1 to 8 virtual devices, "
        "1 and 2 processes. world: whether computer-made people pass for faces and people, and how fast they are "
        "rendered. video: what becomes of a film of such people, or of photographed ones, that is swapped, and how "
        "fast. start: how long a swap of one photo takes as a command, with and without kept programs, and where its "
        "time goes. evaluate: judging swaps, alone and with a process for each core, and the judges' share of it. "
        "embedding: what embedders of stage 1 hold of computer-made people, and where their gradients point. Prints a "
        "table, and all of it as one line of JSON. all: most of these, as a page in OUT.",
        epilog="Fields of the swapper's config can be overridden, as in train: --config.generator.nf=32. Those of the "
        "embedder's are as its FILE[:VARIANT] has them.",
        allow_abbrev=False,
    )
    bench.add_argument(
        "--what",
        required=True,
        choices=("data", "steps", "memory", "scaling", "world", "embedding", "video", "start", "evaluate", "all"),
    )
    bench.add_argument(
        "--people",
        type=int,
        metavar="N",
        help=f"world: how many, with 4 photos each (default {PEOPLE['world']}); embedding: how many probes are tested "
        f"on, which twice as many are fitted to (default {PEOPLE['embedding']})",
    )
    bench.add_argument("--out", metavar="DIR", help="all: a new folder, or one to go on with")
    bench.add_argument("--pairs", type=int, default=1000, metavar="N", help="evaluate: how many (default 1000)")
    bench.add_argument("--frames", type=int, default=500, metavar="N", help="video: how long the film is (default 500)")
    bench.add_argument(
        "--checkpoint", default="default", metavar="DIR", help="video, start: the swapper (default: the packaged one)"
    )
    bench.add_argument("--size", type=int, default=256, help="world: of the photos, pixels (default 256)")
    bench.add_argument("--config", default="swapper:tiny32", metavar="FILE[:VARIANT]", help="of the swapper")
    bench.add_argument(
        "--embedder",
        action="append",
        metavar="FILE[:VARIANT]|RUN",
        help="config of the embedder (default embedder:tiny32); embedding: the run directory of one, once for each",
    )
    bench.add_argument("--batch", type=int, nargs="+", metavar="N", help="global batch sizes (default: the config's)")
    bench.add_argument("--dtype", nargs="+", help="of convolutions: float32 (default), bfloat16")
    bench.add_argument(
        "--fsdp", type=int, nargs="+", metavar="N", help="steps, memory: devices that share the state (default 1)"
    )
    bench.add_argument(
        "--remat",
        nargs="+",
        metavar="POLICY",
        help="memory: off, nothing_saveable, dots_saveable, as generator.remat (default: the config's)",
    )
    bench.add_argument("--devices", type=int, metavar="N", help="steps, memory: the first N devices (default: all)")
    bench.add_argument("--virtual", type=int, metavar="N", help="steps, memory: N devices that are this CPU")
    bench.add_argument(
        "--topology",
        metavar="NAME",
        help="memory: of devices elsewhere, e.g. v5e:8x8, h200:8x8 (8 hosts)",
    )
    bench.add_argument(
        "--source",
        metavar="DIR",
        help="data: photos to prepare, as for prepare; video: photos of three people or more; start: two photos "
        "(default: rendered faces)",
    )
    bench.add_argument("--data", metavar="DIR", help="prepared set to read (default: rendered faces)")
    bench.add_argument("--detector", default="yunet", help="as for prepare (default yunet)")
    bench.add_argument("--detector-model", metavar="FILE", help="as for prepare")
    bench.add_argument("--seconds", type=float, default=4.0, help="of each measurement in each round (default 4)")
    bench.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from smoothswap_jax.bench.table import side_by_side, table

    if bool(args.out) != (args.what == "all"):
        raise ValueError("--out: is for --what=all, which wants it")
    if args.what == "all":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=all, whose parts have their own configs")
        from smoothswap_jax.bench.everything import bench_all
        from smoothswap_jax.runtime.paths import on_disk

        args.goes_on = True
        print(bench_all(on_disk(args.out, "a page of benches")))
        return
    shown = None
    people = PEOPLE.get(args.what, 0) if args.people is None else args.people
    if args.source and args.what not in ("data", "video", "start"):
        raise ValueError(f"--source is not for --what={args.what}, which reads no photos")
    if args.what == "data":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=data, which reads no config")
        from smoothswap_jax.bench.data import bench_data

        result = bench_data(args.source, args.data, args.detector, args.detector_model, args.seconds)
    elif args.what == "world":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=world, which reads no config")
        from smoothswap_jax.bench.world import bench_world

        result = bench_world(people, PHOTOS, args.size, 0, args.seconds)
    elif args.what == "video":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=video, which reads no config")
        if args.frames < 100:
            raise ValueError(f"--frames: found {args.frames}; wanted 100 or more, as the film has two scenes")
        from smoothswap_jax.bench.video import bench_video

        result = bench_video(args.frames, args.checkpoint, args.source)
    elif args.what == "start":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=start, which reads no config")
        from smoothswap_jax.bench.start import bench_start

        result = bench_start(args.checkpoint, args.source)
    elif args.what == "evaluate":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=evaluate, which reads no config")
        if args.pairs < 2:
            raise ValueError(f"--pairs: found {args.pairs}; wanted 2 or more")
        from smoothswap_jax.bench.evaluation import bench_evaluation

        result = bench_evaluation(args.pairs)
    elif args.what == "embedding":
        if args.overrides:
            raise ValueError(f"{' '.join(args.overrides)}: not for --what=embedding, which reads the runs' configs")
        if not args.embedder:
            raise ValueError("--embedder is missing; --what=embedding wants the run directory of an embedder")
        from smoothswap_jax.bench.embedding import bench_embedding

        result = bench_embedding(args.embedder, people)
        shown = {**result, "runs": ", ".join(args.embedder)} | side_by_side(result["runs"])
    else:
        result = _bench_programs(args)
    print(table(shown or result))
    print(json.dumps(result))


def _bench_programs(args) -> dict:
    import jax

    from smoothswap_jax.config.load import load_config

    _refuse_ignored(args)
    if args.topology or args.virtual:
        jax.config.update("jax_platforms", "cpu")
    if args.virtual:
        jax.config.update("jax_num_cpu_devices", args.virtual)
    if len(args.embedder or []) > 1:
        raise ValueError(f"--embedder has {len(args.embedder)} values; wanted one with --what={args.what}")
    config = load_config(args.config, args.overrides)
    if also := config["embedder"].get("also"):
        raise ValueError(f"--config.embedder.also={also}: not for --what={args.what}, which has one embedder")
    embedder = load_config((args.embedder or ["embedder:tiny32"])[0], [])["embedder"]
    batches, dtypes, fsdps = args.batch or [config["batch"]], args.dtype or ["float32"], args.fsdp or [1]
    if args.what == "steps":
        from smoothswap_jax.bench.steps import bench_steps

        return bench_steps(config, embedder, batches, dtypes, fsdps[0], args.devices, args.seconds)
    if args.what == "scaling":
        from smoothswap_jax.bench.scaling import bench_scaling

        return bench_scaling(config, embedder, batches[0], dtypes[0], args.seconds)
    from smoothswap_jax.bench.memory import bench_memory

    return bench_memory(config, embedder, batches, dtypes, fsdps, args.remat or [""], args.devices, args.topology)


def _refuse_ignored(args) -> None:
    """Raises ValueError for options, or second values of them, that the bench would not look at."""
    known = {
        "steps": ("batch", "dtype", "fsdp", "devices", "virtual"),
        "memory": ("batch", "dtype", "fsdp", "devices", "virtual", "remat", "topology"),
        "scaling": ("batch", "dtype"),
    }[args.what]
    one = {"steps": ("fsdp",), "memory": (), "scaling": ("batch", "dtype")}[args.what]
    for name in ("batch", "dtype", "fsdp", "devices", "virtual", "remat", "topology"):
        value = getattr(args, name)
        if value is not None and name not in known:
            raise ValueError(f"--{name} is not for --what={args.what}, which takes --{', --'.join(known)}")
        if name in one and value is not None and len(value) > 1:
            raise ValueError(f"--{name} has {len(value)} values; wanted one with --what={args.what}")
    if args.topology and args.virtual:
        raise ValueError("--virtual and --topology: wanted one of them")
