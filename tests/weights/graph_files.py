"""Small ONNX and TFLite graphs, honest ones and those that must not be run."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, FEATURES = 8, 4
OPSET = 17


def weights(features: int = FEATURES, seed: int = 0) -> np.ndarray:
    """Of the only layer: [features, 3 * SIDE * SIDE]."""
    return np.random.default_rng(seed).normal(size=(features, 3 * SIDE * SIDE)).astype(np.float32)


def image(batch=1, layout: str = "NCHW", name: str = "image", kind: int = TensorProto.FLOAT):
    shape = [batch, 3, SIDE, SIDE] if layout == "NCHW" else [batch, SIDE, SIDE, 3]
    return helper.make_tensor_value_info(name, kind, shape)


def numbers(batch=1, name: str = "numbers", features: int = FEATURES):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, features])


def layer(taken: str = "image", given: str = "numbers", weight: str = "w") -> list:
    """A picture, flattened, times weights."""
    return [
        helper.make_node("Flatten", [taken], [f"flat {given}"]),
        helper.make_node("Gemm", [f"flat {given}", weight], [given], transB=1),
    ]


def model(nodes, inputs, outputs, initialisers=None, **fields) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(weights(), "w")] if initialisers is None else initialisers
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    opsets = fields.pop("opset_imports", [helper.make_opsetid("", OPSET)])
    made = helper.make_model(graph, opset_imports=opsets, **fields)
    made.ir_version = 8
    return made


def honest_onnx(batch=1, layout: str = "NCHW", features: int = FEATURES, seed: int = 0) -> bytes:
    stored = [numpy_helper.from_array(weights(features, seed), "w")]
    made = model(layer(), [image(batch, layout)], [numbers(batch, features=features)], stored)
    return made.SerializeToString()


def honest_tflite(batch: int = 2, change=None) -> bytes:
    """The same in TFLite, NHWC. change: alters the model's tables before they are packed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name, shape, buffer):
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name, shape, buffer, schema.TensorType.FLOAT32
        return made

    def buffer(data=None):
        made = schema.BufferT()
        made.data = data
        return made

    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("image", [batch, SIDE, SIDE, 3], 0),
        tensor("w", [FEATURES, 3 * SIDE * SIDE], 1),
        tensor("numbers", [batch, FEATURES], 0),
    ]
    graph.inputs, graph.outputs = [0], [2]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    made = schema.ModelT()
    made.version, made.operatorCodes, made.subgraphs = 3, [code], [graph]
    made.buffers = [buffer(), buffer(list(weights().tobytes()))]
    if change:
        change(made, schema)
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def lying_onnx() -> list[tuple[str, bytes, str]]:
    """(name, bytes, what the refusal says) of models that must be refused before a runtime sees them."""
    found: list[tuple[str, onnx.ModelProto, str]] = []

    def add(name, made, said):
        found.append((name, made, said))

    w = numpy_helper.from_array(weights(), "w")
    node, ports = helper.make_node, ([image()], [numbers()])
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=weights().shape, data_location=1)
    outside.external_data.add(key="location", value="/etc/passwd")
    add("external data", model(layer(), *ports, [outside]), "stored in another file")
    hidden = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=1)
    hidden.external_data.add(key="location", value="../secret")
    constant = node("Constant", [], ["c"], value=hidden)
    add("external data of a constant", model([constant, *layer()], *ports), "stored in another file")
    for domain in ("com.microsoft", "ai.onnx.ml", "evil"):
        other = [node("Gelu", ["image"], ["x"], domain=domain), *layer("x")]
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(domain, 1)]
        add(f"domain {domain}", model(other, *ports, opset_imports=sets), f"of the domain '{domain}'")
    function = helper.make_function(
        "evil", "F", ["a"], ["b"], [node("Relu", ["a"], ["b"])], [helper.make_opsetid("", OPSET)]
    )
    add("functions", model(layer(), *ports, functions=[function]), "functions of its own")
    circle = [node("Add", ["image", "b"], ["a"]), node("Relu", ["a"], ["b"]), *layer("b")]
    add("a circle", model(circle, *ports), "in a circle")
    add("itself", model([node("Add", ["image", "a"], ["a"]), *layer("a")], *ports), "in a circle")
    add("a value of nothing", model(layer("nobody"), *ports), "'nobody', which nothing gives")
    add("an output of nothing", model([], *ports), "'numbers', which nothing gives")
    add("a value given twice", model([*layer(), *layer()], *ports), "given twice")
    add("an input given again", model([node("Relu", ["image"], ["image"]), *layer()], *ports), "given twice")
    add("initialisers of one name", model(layer(), *ports, [w, w]), "two initialisers")
    add("nested control flow", model([nested(3), *layer("out 3")], *ports), "more than 2 deep")
    add("very nested control flow", model([nested(20), *layer("out 20")], *ports), "more than 2 deep")
    many = [node("Relu", ["image"], [f"x{i}"]) for i in range(20_001)]
    add("too many operators", model([*many, *layer()], *ports), "more than 20,000 operators")
    for name in ("RandomNormalLike", "Bernoulli"):
        add(name, model([node(name, ["image"], ["x"]), *layer("x")], *ports), "chance")
    add("two inputs", model(layer(), [image(), image(name="other")], [numbers()]), "2 inputs")
    add("no input", model([node("Gemm", ["w", "w"], ["numbers"])], [], [numbers()]), "0 inputs")
    add("no output", model(layer(), [image()], []), "no outputs")
    add("inputs of one name", model(layer(), [image(), image()], [numbers()]), "named 'image'")
    add("bytes", model(layer(), [image(kind=TensorProto.UINT8)], [numbers()]), "element type 2; wanted float32")
    texts = helper.make_tensor_value_info("numbers", TensorProto.STRING, [1, 4])
    add("texts out", model(layer(), [image()], [texts]), "element type 8; wanted float32")
    shapes = {
        "grey": [1, 1, SIDE, SIDE],
        "a vector": [1, 192],
        "a film": [1, 3, 8, SIDE, SIDE],
        "huge": [1, 3, 1 << 20, 1 << 20],
        "negative": [1, 3, -7, SIDE],
        "beyond 64 bits": [1, 3, (1 << 63) - 1, SIDE],
        "many at a time": [1 << 20, 3, SIDE, SIDE],
    }
    for name, shape in shapes.items():
        taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        add(f"input: {name}", model(layer(), [taken], [numbers()]), "an input of shape")
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, None)
    add("input: any", model(layer(), [taken], [numbers()]), "without a shape")
    taken = helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    add("input: a sequence", model(layer(), [taken], [numbers()]), "element type 0; wanted float32")
    for name, shape in {"maps": [1, 512, 64, 64], "a number": [], "a row": [4], "of two": [2, 4]}.items():
        given = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, shape)
        add(f"output: {name}", model(layer(), [image()], [given]), "output 'numbers' of shape")
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [0]),
        [4],
    )
    made = model(layer(), *ports)
    made.graph.sparse_initializer.append(sparse)
    add("a sparse initialiser", made, "sparse")
    add("a sparse constant", model([node("Constant", [], ["c"], sparse_value=sparse), *layer()], *ports), "sparse")
    add("a text initialiser", model(layer(), *ports, [w, helper.make_tensor("t", 8, [1], ["x"])]), "element type 8")
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20], raw_data=b"1234")
    add("a tensor that claims too much", model(layer(), *ports, [short]), "raw_data of 4 bytes")
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-4, 4], raw_data=b"")
    add("a tensor of negative size", model(layer(), *ports, [negative]), "the shape")
    made = model(layer(), *ports)
    made.training_info.add()
    add("training information", made, "training information")
    two = model(layer(), *ports)
    again = two.SerializeToString()
    listed = [(name, made.SerializeToString(), said) for name, made, said in found]
    listed.append(("two graphs", again + again, "2 graphs"))
    listed.append(("no graph", onnx.ModelProto(ir_version=8).SerializeToString(), "0 graphs"))
    listed.append(("an endless number", b"\x08" + b"\xff" * 20, "more than ten bytes"))
    listed.append(("a length past the end", b"\x08\x08\x3a\xff\xff\xff\xff\x0f", "are left"))
    listed.append(("nothing", b"", "0 graphs"))
    return listed


def nested(depth: int):
    """An operator If with others inside of it."""
    inner = nested(depth - 1) if depth > 1 else helper.make_node("Relu", ["image"], ["out 0"])
    value = helper.make_tensor_value_info(f"out {depth - 1}", TensorProto.FLOAT, None)
    body = helper.make_graph([inner], f"b{depth}", [], [value])
    other = helper.make_graph([helper.make_node("Relu", ["image"], [f"out {depth - 1}"])], f"e{depth}", [], [value])
    return helper.make_node("If", ["yes"], [f"out {depth}"], then_branch=body, else_branch=other)


def greedy_onnx() -> list[tuple[str, bytes]]:
    """Models that look fit, and take memory or time without end when they are loaded or run."""
    node, ports = helper.make_node, ([image()], [numbers()])
    w = numpy_helper.from_array(weights(), "w")
    number = lambda name, *values: numpy_helper.from_array(np.array(values, np.int64), name)
    zero = helper.make_tensor("z", TensorProto.FLOAT, [1], [0.0])
    sum_of = lambda big: [
        node("ReduceMax", [big], ["most"], keepdims=0),
        node("Add", ["image", "most"], ["moved"]),
        *layer("moved"),
    ]
    found = []
    for name, shape in {"1 TB": [1 << 38], "beyond 64 bits": [1 << 40, 1 << 40], "64 GB": [1 << 34]}.items():
        filled = node("ConstantOfShape", ["s"], ["big"], value=zero)
        found.append((f"a constant of {name}", model([filled, *sum_of("big")], *ports, [w, number("s", *shape)])))
        wide = node("Expand", ["one", "s"], ["big"])
        one = numpy_helper.from_array(np.zeros(1, np.float32), "one")
        found.append((f"expanded to {name}", model([wide, *sum_of("big")], *ports, [w, one, number("s", *shape)])))
    tile = node("Tile", ["image", "s"], ["big"])
    found.append(("tiled", model([tile, *sum_of("big")], *ports, [w, number("s", 1 << 12, 1 << 12, 1 << 6, 1)])))
    pad = node("Pad", ["image", "s"], ["big"])
    found.append(("padded", model([pad, *sum_of("big")], *ports, [w, number("s", *[1 << 20] * 8)])))
    doubled = [node("Concat", [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=0) for i in range(40)]
    found.append(("doubled 40 times", model([node("Identity", ["image"], ["d0"]), *doubled, *sum_of("d40")], *ports)))
    cast = node("Cast", ["r"], ["big"], to=TensorProto.FLOAT)
    run = node("Range", ["a", "b", "c"], ["r"])
    scalars = [numpy_helper.from_array(np.int64(value), name) for name, value in (("a", 0), ("b", 1 << 50), ("c", 1))]
    found.append(("a range", model([run, cast, *sum_of("big")], *ports, [w, *scalars])))
    chain = [node("Sin", [f"c{i}" if i else "image"], [f"c{i + 1}"]) for i in range(15_000)]
    found.append(("15,000 operators", model([*chain, *layer("c15000")], *ports)))
    return [(name, made.SerializeToString()) for name, made in found]


def filled(count: int) -> bytes:
    """A model that makes an array of so many zeros."""
    zero = helper.make_tensor("z", TensorProto.FLOAT, [1], [0.0])
    nodes = [
        helper.make_node("Shape", ["image"], ["sizes"]),  # so that it is made anew each time
        helper.make_node("Slice", ["sizes", "first", "one"], ["n"]),
        helper.make_node("Mul", ["n", "count"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["big"], value=zero),
        helper.make_node("ReduceMax", ["big"], ["most"], keepdims=0),
        helper.make_node("Add", ["image", "most"], ["moved"]),
        *layer("moved"),
    ]
    stored = [numpy_helper.from_array(weights(), "w")]
    for name, value in (("first", 0), ("one", 1), ("count", count)):
        stored.append(numpy_helper.from_array(np.array([value], np.int64), name))
    return model(nodes, [image("n")], [numbers("n")], stored).SerializeToString()


def endless_onnx() -> bytes:
    """A loop of 2**62 steps."""
    step = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go on"]), helper.make_node("Sin", ["x"], ["y"])],
        "step",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )
    stored = [
        numpy_helper.from_array(weights(), "w"),
        numpy_helper.from_array(np.int64(1 << 62), "steps"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    loop = helper.make_node("Loop", ["steps", "yes", "image"], ["last"], body=step)
    return model([loop, *layer("last")], [image()], [numbers()], stored).SerializeToString()


def lying_tflite() -> list[tuple[str, bytes, str]]:
    """As `lying_onnx`."""

    def changed(change):
        return honest_tflite(2, change)

    def custom(made, schema):
        made.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
        made.operatorCodes[0].customCode = "FlexReadFile"

    def code(number):
        def change(made, schema):
            made.operatorCodes[0].builtinCode = number

        return change

    def graphs(made, schema):
        made.subgraphs = made.subgraphs * 2

    def shape(index, value):
        def change(made, schema):
            made.subgraphs[0].tensors[index].shape = value

        return change

    def field(place, value, index=None):
        def change(made, schema):
            where = made.subgraphs[0] if index is None else made.subgraphs[0].tensors[index]
            setattr(where, place, value)

        return change

    def operator(place, value):
        def change(made, schema):
            setattr(made.subgraphs[0].operators[0], place, value)

        return change

    def scales(made, schema):
        made.subgraphs[0].tensors[1].quantization = schema.QuantizationParametersT()
        made.subgraphs[0].tensors[1].quantization.scale = [1.0] * 3

    def outside(made, schema):
        made.buffers[1].data, made.buffers[1].offset, made.buffers[1].size = None, 1 << 40, 3072

    def sparse(made, schema):
        made.subgraphs[0].tensors[1].sparsity = schema.SparsityParametersT()

    def version(made, schema):
        made.version = 9

    def many(made, schema):
        made.subgraphs[0].operators = made.subgraphs[0].operators * 20_001

    cases = [
        ("a custom operator", changed(custom), "custom operator 'FlexReadFile'"),
        ("two subgraphs", changed(graphs), "2 subgraphs"),
        ("another version", changed(version), "version 9"),
        ("data outside", changed(outside), "outside of the model's tables"),
        ("a sparse tensor", changed(sparse), "sparse"),
        ("scales that do not fit", changed(scales), r"scales [3, 0]"),
        ("too many operators", changed(many), "20,001 operators"),
        ("a huge input", changed(shape(0, [2, 1 << 14, 1 << 14, 3])), "elements in 8 dimensions"),
        ("a negative size", changed(shape(1, [-4, 192])), "elements in 8 dimensions"),
        ("weights that do not fit", changed(shape(1, [4, 1 << 20])), "3,072 bytes"),
        ("a large input", changed(shape(0, [2, 2048, 2048, 3])), "an input of shape"),
        ("a grey input", changed(shape(0, [2, SIDE, SIDE, 1])), "an input of shape"),
        ("an output of maps", changed(shape(2, [2, 64, 64, 64])), "output 'numbers'"),
        ("an output of another batch", changed(shape(2, [3, 4])), "output 'numbers'"),
        ("a tensor that is nowhere", changed(operator("inputs", [0, 77, -1])), "numbered 77"),
        ("an operator that is nowhere", changed(operator("opcodeIndex", 9)), "numbered 9"),
        ("a negative tensor", changed(operator("outputs", [-2])), "numbered -2"),
        ("an input that is nowhere", changed(field("inputs", [5])), "numbered 5"),
        ("two inputs", changed(field("inputs", [0, 1])), "2 inputs"),
        ("no outputs", changed(field("outputs", [])), "no outputs"),
        ("the input as output", changed(field("outputs", [0])), "an output that is an input"),
        ("weights as input", changed(field("inputs", [1])), "stored values"),
        ("weights as output", changed(field("outputs", [1])), "which no operator makes"),
        ("a circle", changed(operator("inputs", [0, 1, 2])), "before it is made"),
        ("weights made again", changed(operator("outputs", [1])), "made twice"),
        ("a state", changed(field("isVariable", True, 2)), "keeps a state"),
        ("bytes in", changed(field("type", 3, 0)), "element type 3; wanted float32"),
        ("texts", changed(field("type", 5, 2)), "element type 5"),
        ("data that is nowhere", changed(field("buffer", 40, 1)), "numbered 40"),
        ("a long name", changed(field("name", "x" * 5000, 0)), "a name of 5,000 bytes"),
        *((f"operator {n}", changed(code(n)), f"operator {n}") for n in (31, 51, 118, 119, 129, 142, 146, 174, 200)),
        ("not TFLite", b"TFL2" * 4, "TFL3 from byte 4"),
        ("short", b"\x10\0\0\0TFL3", "an offset to byte"),
        ("nothing", b"", "bytes that start with"),
    ]
    return cases


def damaged(data: bytes, rng: np.random.Generator, count: int) -> list[tuple[str, bytes]]:
    """Cut short, with other bytes, and with stretches doubled, left out or turned to zeros or ones."""
    found = []
    for index in range(count):
        at = int(rng.integers(len(data)))
        end = min(len(data), at + int(rng.integers(1, 16)))
        flipped = bytes([data[at] ^ 1 << int(rng.integers(8))])
        kinds = {
            "cut": data[:at],
            "flipped": data[:at] + flipped + data[at + 1 :],
            "most": data[:at] + b"\xff" + data[at + 1 :],
            "zeros": data[:at] + bytes(end - at) + data[end:],
            "ones": data[:at] + b"\xff" * (end - at) + data[end:],
            "doubled": data[:end] + data[at:],
            "left out": data[:at] + data[end:],
        }
        name = list(kinds)[index % len(kinds)]
        found.append((f"{name} at {at}", kinds[name]))
    return found
