# Sourced by demo.sh, test.sh and tpu_pod.sh: makes .venv in the current folder and installs the package into it.
#   setup_environment EXTRAS      PYTHON=python3.12 chooses the interpreter, VENV=DIR the folder.
setup_environment() {
  local python="${PYTHON:-}" candidate
  if [ -z "$python" ]; then
    for candidate in python3.13 python3.12 python3.11 python3 python; do
      if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python="$candidate"
        break
      fi
    done
  fi
  if [ -z "$python" ]; then
    echo "found no Python 3.11, 3.12 or 3.13; install one, or set PYTHON=/path/to/python3" >&2
    return 1
  fi
  VENV="${VENV:-$PWD/.venv}"
  # A stamp of what is installed, written last: an interrupted installation starts over.
  local wanted
  wanted="$1 $(cksum < setup.py)"
  if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing into $VENV (about a minute and 2.5 GB)" >&2
    "$python" -m venv "$VENV" || return 1
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$1]" || return 1
    echo "$wanted" > "$VENV/installed"
  fi
  PATH="$VENV/bin:$PATH"
  export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
  # Compiled programs are cached, so a second run, or a second network of the same shape, starts at once.
  export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$VENV/xla-cache}"
  export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-0}"
}
