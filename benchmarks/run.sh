#!/usr/bin/env bash
# Measure px against its floors on this machine; ./benchmarks/run.sh --help says how.
# Needs what ./tests/run.sh --install installs: DCMTK, Orthanc, Swift, and the virtual environment with the extra "tests".
set -euo pipefail

benchmarks=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
venv=${PX_VENV:-$benchmarks/../.venv}
python=$(cd "$venv/bin" 2>/dev/null && pwd)/python
if [[ ! -x $python ]] || ! "$python" -c 'import pypx, pytest' 2>/dev/null; then
    echo "benchmarks/run.sh: $venv has no px with the extra \"tests\"; run ./tests/run.sh --install first" >&2
    exit 1
fi
exec "$python" "$benchmarks/main.py" "$@"
