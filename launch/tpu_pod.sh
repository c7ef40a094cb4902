#!/usr/bin/env bash
# Trains on a Cloud TPU slice, through gcloud: one command for each stage of its life.
#   bash launch/tpu_pod.sh create            queue for a slice, wait for it, and install the package on it
#   bash launch/tpu_pod.sh run --config=swapper:paper256 --workdir=gs://BUCKET/runs/swapper [overrides]
#   bash launch/tpu_pod.sh resume ...        the same as run: a run resumes from its newest checkpoint
#   bash launch/tpu_pod.sh log               the first host's log
#   bash launch/tpu_pod.sh status | delete
#
# Set NAME, ZONE, PROJECT, ACCELERATOR (v5litepod-64), VERSION (v2-alpha-tpuv5-lite), SPOT=1 for preemptible slices, and
# REPOSITORY, the git URL to install from. Runs and prepared data lie in a bucket, which the slice's service account has
# to be allowed to read and write.
set -euo pipefail
verb="${1:?want create, run, resume, log, status or delete}"
shift
: "${NAME:=smoothswap}" "${ACCELERATOR:=v5litepod-64}" "${VERSION:=v2-alpha-tpuv5-lite}"
: "${ZONE:?set ZONE, for instance europe-west4-b}" "${PROJECT:?set PROJECT, the id of your Google Cloud project}"
where=(--zone="$ZONE" --project="$PROJECT")

# Runs a command on every host of the slice.
everywhere() {
  gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=all --command="$1"
}

case "$verb" in
  create)
    : "${REPOSITORY:?set REPOSITORY, its git URL}"
    gcloud compute tpus queued-resources create "$NAME" "${where[@]}" --node-id="$NAME" \
      --accelerator-type="$ACCELERATOR" --runtime-version="$VERSION" ${SPOT:+--spot}
    echo "waiting for the slice"
    while true; do
      state="$(gcloud compute tpus queued-resources describe "$NAME" "${where[@]}" --format='value(state.state)')"
      case "$state" in
        ACTIVE) break ;;
        FAILED | SUSPENDED)
          echo "tpu_pod.sh: the slice is $state" >&2
          exit 1
          ;;
      esac
      sleep 30
    done
    everywhere "set -e; git clone --quiet '$REPOSITORY' smoothswap; cd smoothswap
      source launch/setup.sh; setup_environment faces,eval,bucket; pip install --quiet 'jax[tpu]'"
    ;;
  run | resume)
    quoted="$(printf ' %q' "$@")"
    # The run outlives this connection.
    everywhere "cd smoothswap && nohup .venv/bin/smoothswap train$quoted --distributed >> train.log 2>&1 < /dev/null &"
    ;;
  log)
    gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker=0 --command='tail -n 50 -f smoothswap/train.log'
    ;;
  status)
    gcloud compute tpus queued-resources describe "$NAME" "${where[@]}"
    ;;
  delete)
    gcloud compute tpus tpu-vm delete "$NAME" "${where[@]}" --quiet
    gcloud compute tpus queued-resources delete "$NAME" "${where[@]}" --quiet
    ;;
  *)
    echo "tpu_pod.sh: found $verb; want create, run, resume, log, status or delete" >&2
    exit 2
    ;;
esac
