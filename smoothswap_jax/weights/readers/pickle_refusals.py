"""Names for which a pickle is refused, whatever else it holds.

No name runs anything here, so this list is no line of defence: it tells a user that a file is not what it says. A
training state may well hold a Namespace, a path or an enum beside its tensors; one that asks for os.system is an
attack, and one that asks for another kind of array has tensors that could not be read.
"""

from __future__ import annotations

from smoothswap_jax.weights.readers.errors import Malformed

_SYSTEM = frozenset(
    [
        *("os", "posix", "nt", "sys", "subprocess", "shutil", "importlib", "runpy", "socket", "ctypes", "_ctypes"),
        *("builtins", "functools", "types", "copyreg", "copy_reg", "io", "_io", "operator", "_operator"),
        *("marshal", "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "commands", "pty", "code", "codeop"),
        *("webbrowser", "platform", "tempfile", "urllib", "urllib2", "http", "httplib", "requests", "aiohttp"),
        *("ftplib", "smtplib", "imaplib", "telnetlib", "xmlrpc", "paramiko", "pdb", "bdb", "timeit", "trace"),
        *("cProfile", "profile", "asyncio", "multiprocessing", "threading", "_thread", "signal", "site", "imp"),
        *("zipimport", "pkgutil", "pydoc", "doctest", "pip", "setuptools", "distutils", "ensurepip", "venv"),
        *("idlelib", "lib2to3", "inspect", "gc", "atexit", "mmap", "fcntl", "resource", "winreg", "_winreg"),
        *("msvcrt", "shlex", "glob"),
    ]
)
"""Modules that nothing beside tensors has a reason to ask for, but for the names in `_HARMLESS`."""

_HARMLESS = frozenset(
    [
        *("functools.partial", "types.SimpleNamespace", "types.MappingProxyType", "io.BytesIO", "_io.BytesIO"),
        *(f"{module}.{name}" for module in ("copyreg", "copy_reg") for name in ("__newobj__", "__newobj_ex__")),
        *(
            f"builtins.{name}"
            for name in (
                *("object", "type", "set", "frozenset", "list", "tuple", "dict", "slice", "range", "xrange", "complex"),
                *("int", "long", "float", "bool", "str", "unicode", "bytearray", "Ellipsis", "NotImplemented"),
            )
        ),
    ]
)
_CODE = (
    *("numpy.load", "numpy.testing.", "numpy.distutils.", "numpy.f2py.", "numpy.ctypeslib.", "numpy.memmap"),
    *("torch.load", "torch.hub.", "torch.jit.", "torch.utils.cpp_extension.", "torch.serialization.load"),
    *("logging.config.", "joblib.", "uuid._"),
)
"""Beginnings of names that run code or read files, in modules that also have harmless ones."""
_ARRAYS = ("torch._utils.", "torch._tensor.", "numpy.ma.", "numpy.rec", "numpy.matrix", "numpy.matrixlib.")


def refusal(module: str, name: str) -> Malformed | None:
    """The error for a name that a file should not ask for, and None for one that is only skipped."""
    full, root = f"{module}.{name}", module.split(".")[0]
    if full == "torch.storage._load_from_bytes":
        return Malformed(_asked(full) + ": tensors pickled without torch.save", "a file that torch.save wrote")
    if root in ("dnnlib", "torch_utils") or full.startswith("training.networks"):
        return Malformed(
            f"{_asked(full)}: a pickle of NVIDIA's StyleGAN code, which runs when it is opened",
            "tensors (convert it to a rosinality-style .pt in a sandbox)",
        )
    # A dotted name walks from a module to another that it has imported.
    through = set(name.split(".")) & _SYSTEM if "." in name else set()
    system = (root in _SYSTEM or through) and full not in _HARMLESS
    if system or full.startswith(_CODE) or not all(part.isidentifier() for part in full.split(".")):
        return Malformed(f"{_asked(full)}: code that would run on this machine when the file is opened", "tensors only")
    if full.startswith(_ARRAYS) or (root == "torch" and full.endswith("Storage")):
        unsupported = f"{_asked(full)}: a kind of array that this reader does not support"
        return Malformed(unsupported, "dense tensors of numbers")
    return None


def whole_object(name: str) -> Malformed:
    """The error for a file that holds nothing but an object that would have to be built."""
    return Malformed(
        f"{_asked(name)}: an object that needs its own code, and no torch module with tensors in it",
        "tensors and containers only; ask its owner for a state_dict",
    )


def _asked(name: str) -> str:
    return f"a file that asks for {ascii(name[:200])[1:-1]}"
