#!/usr/bin/env bash
# Measure px against its floors on this machine; ./benchmarks/run.sh --help says how.
# Needs what ./tests/run.sh installs: DCMTK, Orthanc, Swift, and the virtual environment with the extra "tests".
set -euo pipefail

benchmarks=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
venv=${PX_VENV:-$benchmarks/../.venv}
python=$(cd "$venv/bin" 2>/dev/null && pwd)/python
if [[ ! -x $python ]]; then
    echo "run.sh: no virtual environment at $venv; run ./tests/run.sh first" >&2
    exit 1
fi
exec "$python" "$benchmarks/main.py" "$@"
