#!/usr/bin/env bash
# Trains on all GPUs of this host, and restarts from the newest checkpoint when the run crashes.
#   bash launch/multi_gpu.sh [--processes N] --config=swapper:paper256 --workdir=runs/swapper [overrides]
#
# By default one process drives all GPUs. With --processes N each of N processes gets its share of them, which spreads the
# reading of images over more Python interpreters. On SIGTERM or SIGINT to this script the run saves and ends. At most
# MAX_RESTARTS (10) restarts.
set -uo pipefail
processes=1
if [ "${1:-}" = --processes ]; then
  processes="${2:?--processes wants a number}"
  shift 2
fi
visible="${CUDA_VISIBLE_DEVICES:-}"
if [ "$processes" -gt 1 ]; then
  [ -n "$visible" ] || visible="$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd,)"
  IFS=, read -ra gpus <<< "$visible"
  if [ "${#gpus[@]}" -eq 0 ] || [ $((${#gpus[@]} % processes)) -ne 0 ]; then
    echo "multi_gpu.sh: found ${#gpus[@]} GPUs for $processes processes; wanted a multiple" >&2
    exit 2
  fi
fi

pids=()
starting=
stopped=
told=
# Passes a signal on, once: a second one would end the run before it has saved.
tell() {
  [ -n "$told" ] || { told=1; kill -TERM "${pids[@]}" 2>/dev/null; }
}
# What comes while processes are being started is passed on when all of them are known.
trap 'stopped=1; [ -n "$starting" ] || tell' TERM INT

# Starts the processes and waits for all of them. Sets `code`: 0, or a code of theirs; 1 and 2 before any other.
run_once() {
  pids=()
  starting=1
  local port i pid one share
  port="${PORT:-$((20000 + RANDOM % 20000))}"
  for ((i = 0; i < processes; i++)); do
    if [ "$processes" -eq 1 ]; then
      smoothswap train "$@" &
    else
      share=$((${#gpus[@]} / processes))
      CUDA_VISIBLE_DEVICES="$(IFS=,; echo "${gpus[*]:i*share:share}")" smoothswap train "$@" \
        --coordinator="127.0.0.1:$port" --processes="$processes" --process="$i" &
    fi
    pids+=($!)
  done
  starting=
  [ -z "$stopped" ] || tell
  code=0
  for pid in "${pids[@]}"; do
    wait "$pid"
    one=$?
    while kill -0 "$pid" 2>/dev/null; do # a signal to this script interrupts `wait`, not the process
      wait "$pid"
      one=$?
    done
    case "$one" in
      0) ;;
      1 | 2) code=$one ;;
      *) [ "$code" -eq 1 ] || [ "$code" -eq 2 ] || code=$one ;;
    esac
  done
}

for ((restart = 0; restart <= ${MAX_RESTARTS:-10}; restart++)); do
  run_once "$@"
  # 1, 2: the command line, the config or the data are wrong, and would be again.
  if [ "$code" -le 2 ] || [ -n "$stopped" ]; then
    exit "$code"
  fi
  echo "multi_gpu.sh: ended with $code; starting again from the newest checkpoint" >&2
done
exit "$code"
