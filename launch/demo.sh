#!/usr/bin/env bash
# Sets up an environment, then trains and measures a small face swapper. Needs Python 3.11-3.13 and nothing else.
#   bash launch/demo.sh [--photos=DIR] [--out=DIR] ...      (options: smoothswap demo --help)
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/setup.sh
setup_environment faces,eval

# The script runs in the repository's folder; relative paths are taken from where the user started it.
arguments=()
out=
for argument in "$@"; do
  case "$argument" in
    --photos=[!/]* | --out=[!/]*) argument="${argument%%=*}=$here/${argument#*=}" ;;
  esac
  case "$argument" in --out=*) out="${argument#*=}" ;; esac
  arguments+=("$argument")
done
[ -n "$out" ] || arguments+=("--out=$PWD/runs/demo")
smoothswap demo ${arguments[@]+"${arguments[@]}"}
