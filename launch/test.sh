#!/usr/bin/env bash
# Sets up an environment and runs what CI runs: lint, format, types, tests.
#   bash launch/test.sh [pytest options]      e.g. bash launch/test.sh -m slow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/setup.sh
setup_environment dev

ruff check .
ruff format --check .
mypy
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
