#!/bin/sh
# A job's prolog: brings the environment that the job names onto the node's own disk, once a node.
# The job sets TORCH_KIT to a bundle on the shared file system; several prologs of one node may run at once.
set -eu
[ -n "${TORCH_KIT:-}" ] || exit 0
export FLAMBEAU_OFFLINE=1
export FLAMBEAU_STORE_DIR="${FLAMBEAU_STORE_DIR:-/local/flambeau/store}"
export FLAMBEAU_CACHE_DIR="${FLAMBEAU_CACHE_DIR:-/local/flambeau/cache}"
project="${TORCH_PROJECT:-/local/flambeau/projects/${SLURM_JOB_ID:-job}}"
mkdir -p "$project"
flambeau import --project "$project" "$TORCH_KIT" > /dev/null
flambeau build --project "$project" --locked ${TORCH_BACKEND:+--backend "$TORCH_BACKEND"} > /dev/null
# What a TaskProlog prints as `export …` becomes the task's environment.
echo "export PATH=$project/.venv/bin:$PATH"
