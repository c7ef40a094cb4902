#!/usr/bin/env bash
# Trains on all GPUs of this host, and starts again from the newest checkpoint when the run ends badly.
#   bash launch/multi_gpu.sh [--processes N] --config=configs/swapper.py:paper256 --workdir=runs/swapper [overrides]
#
# One process drives all GPUs by default. With --processes N each of N processes gets its share of them, which spreads
# the work of reading images over more Python interpreters. MAX_RESTARTS (10) bounds the restarts.
set -uo pipefail
processes=1
if [ "${1:-}" = --processes ]; then
  processes="${2:?--processes wants a number}"
  shift 2
fi
gpus=0
if [ "$processes" -gt 1 ]; then
  gpus="${GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}"
  if [ "$gpus" -eq 0 ] || [ $((gpus % processes)) -ne 0 ]; then
    echo "multi_gpu.sh: found $gpus GPUs for $processes processes; wanted a multiple" >&2
    exit 2
  fi
fi

run_once() {
  if [ "$processes" -eq 1 ]; then
    smoothswap train "$@"
    return
  fi
  local port share pids=() code=0 i pid
  port="${PORT:-$((20000 + RANDOM % 20000))}"
  share=$((gpus / processes))
  for ((i = 0; i < processes; i++)); do
    CUDA_VISIBLE_DEVICES="$(seq -s, $((i * share)) $((i * share + share - 1)))" smoothswap train "$@" \
      --coordinator="127.0.0.1:$port" --processes="$processes" --process="$i" &
    pids+=($!)
  done
  trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM INT
  for pid in "${pids[@]}"; do
    wait "$pid" || code=$?
  done
  return "$code"
}

stopped=
trap 'stopped=1' TERM INT
for ((restart = 0; restart <= ${MAX_RESTARTS:-10}; restart++)); do
  run_once "$@" && exit 0
  code=$?
  # 1: the command line, config or data are at fault; a signal to this script: the user's wish.
  if [ "$code" -eq 1 ] || [ "$code" -eq 2 ] || [ -n "$stopped" ]; then
    exit "$code"
  fi
  echo "multi_gpu.sh: ended with $code; starting again from the newest checkpoint" >&2
done
exit "$code"
