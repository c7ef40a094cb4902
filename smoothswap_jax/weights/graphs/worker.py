"""The process that runs a graph: a script of its own, which imports numpy and the runtime and nothing of this package.

What it is sent, over two pipes whose numbers are its arguments: settings as JSON, the graph's bytes, then batches. What
it answers: 'ok' or 'error' and text, with arrays as a line of JSON and their bytes. Before it looks at the graph it
gives up opening files and sockets, writing, and memory beyond a limit.
"""

import json
import os
import resource
import sys
from multiprocessing.connection import Connection

import numpy as np

MAX_NUMBERS = 1 << 22
"""Of one output of a batch."""


def main() -> None:
    taken, given = (Connection(int(number)) for number in sys.argv[1:3])
    settings = json.loads(taken.recv_bytes())
    data = taken.recv_bytes()
    try:
        load = _onnx if settings["kind"] == "onnx" else _tflite
        make, version = load(settings)
        _confine(settings["memory"])
        run = make(data)
        given.send_bytes(json.dumps({"version": version}).encode())
    except BaseException as error:  # whatever a runtime raises, the parent says
        given.send_bytes(json.dumps({"error": _text(error)}).encode())
        return
    while True:
        try:
            shape = json.loads(taken.recv_bytes())
            images = np.frombuffer(taken.recv_bytes(), "<f4").reshape(shape)
        except EOFError:  # the parent has ended
            return
        _limit_time(settings["seconds"] * settings["threads"])
        try:
            outputs = [np.ascontiguousarray(one, "<f4") for one in run(images)]
            if any(one.size > MAX_NUMBERS for one in outputs):
                raise ValueError(f"more than {MAX_NUMBERS:,} numbers")
        except BaseException as error:
            given.send_bytes(json.dumps({"error": _text(error)}).encode())
            return
        given.send_bytes(json.dumps({"shapes": [one.shape for one in outputs]}).encode())
        for one in outputs:
            given.send_bytes(one.tobytes())


def _onnx(settings):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = settings["threads"], 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waits would take the time of others
    options.log_severity_level = 4
    names = settings["outputs"]

    def make(data):
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        (taken,) = session.get_inputs()
        return lambda images: session.run(names, {taken.name: images})

    return make, f"onnxruntime {onnxruntime.__version__}"


def _tflite(settings):
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    names = settings["outputs"]

    def make(data):
        interpreter = Interpreter(model_content=data, num_threads=settings["threads"])
        interpreter.allocate_tensors()
        (taken,) = interpreter.get_input_details()
        given = {one["name"]: one["index"] for one in interpreter.get_output_details()}

        def run(images):
            interpreter.set_tensor(taken["index"], images)
            interpreter.invoke()
            return [interpreter.get_tensor(given[name]) for name in names]

        return run

    return make, f"ai-edge-litert {ai_edge_litert.__version__}"


def _confine(memory):
    """No file can be opened from here on, no socket either, nothing written, and no more memory taken than `memory`."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _limit_time(seconds):
    """The process ends after so many more seconds of computing, even if its parent has been killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _text(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


if __name__ == "__main__":
    os.chdir("/")
    main()
