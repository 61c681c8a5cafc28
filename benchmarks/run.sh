#!/usr/bin/env bash
# Measure px against its floors on this machine.  ./benchmarks/run.sh [startup] [receive]; without a name: all.
# Needs DCMTK and the virtual environment that ./workflow.sh or ./tests/run.sh makes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python=${PX_VENV:-../.venv}/bin/python
if [[ ! -x $python ]]; then
    echo "run.sh: no virtual environment at ${PX_VENV:-.venv}; run ./workflow.sh or ./tests/run.sh first" >&2
    exit 1
fi

rows=("$@")
[[ ${#rows[@]} -gt 0 ]] || rows=(startup receive)
for row in "${rows[@]}"; do
    case $row in
        startup | receive) "$python" "$row.py" ;;
        *)
            echo "run.sh: no row named '$row'; there are: startup receive" >&2
            exit 2
            ;;
    esac
    echo
done
