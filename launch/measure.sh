#!/usr/bin/env bash
# Measures all we want to know of this machine's accelerator, in at most 9 minutes, into one JSON file.
#   bash launch/measure.sh [--out=FILE] ...      (options: python -m smoothswap_jax.bench.accelerator.measure --help)
#
# Installs nothing: PYTHON (python3) has to have JAX, Flax, Optax and Orbax, and PyTorch for what is compared with it.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The script runs in the repository's folder; a relative path is taken from where the user started it.
arguments=()
out="$here/accelerator.json"
for argument in "$@"; do
  case "$argument" in
    --out=/*) out="${argument#*=}" ;;
    --out=*) out="$here/${argument#*=}" ;;
    *) arguments+=("$argument") ;;
  esac
done
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" -m smoothswap_jax.bench.accelerator.measure \
  --configs=tests/golden/configs.json --out="$out" ${arguments[@]+"${arguments[@]}"}
