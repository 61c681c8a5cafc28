#!/usr/bin/env bash
#
# tests/run.sh: everything that is checked, by one command, on a fresh Debian or Ubuntu with Python and apt.
#
#   ./tests/run.sh                 install what the tests need, then lint, types and the whole suite
#   ./tests/run.sh -k find         the same, with these arguments for pytest
#   ./tests/run.sh --install       install what tests and benchmarks need, and no more
#   ./tests/run.sh --long          the large numbers of the slow tests too (sets PX_TEST_LONG=1)
#
# Programs come by apt (with sudo unless root; no system service is started), Python packages go into .venv, or into
# the virtual environment that PX_VENV names.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${PX_VENV:-.venv}
policy=/usr/sbin/policy-rc.d
policy_is_ours=

step() {
    printf '\n== %s\n' "$*"
}

die() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "installing needs root: run this as root once, or install sudo, or install by hand: ${missing[*]}"
    fi
}

# shellcheck disable=SC2317  # called by the trap
remove_policy() {
    if [[ -n $policy_is_ours ]]; then
        as_root rm -f "$policy"
        policy_is_ours=
    fi
}

# Some packages start a system service when they are installed; exit status 101 of this file forbids it.
forbid_services() {
    [[ -e $policy ]] && return
    trap remove_policy EXIT
    # shellcheck disable=SC2016  # expanded by the inner shell
    as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
    policy_is_ours=yes
}

has() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

find_missing() {
    missing=()
    has python3 || missing+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    has storescp && has dcmqrscp && has dcmsend || missing+=(dcmtk)
    has Orthanc || missing+=(orthanc)
    local part
    for part in proxy account container object; do
        has "swift-$part-server" || missing+=("swift-$part")
    done
    has memcached || missing+=(memcached)
    has shellcheck || missing+=(shellcheck)
    has strace || missing+=(strace)
    has buildah || missing+=(buildah)
    has mmdebstrap || missing+=(mmdebstrap)
}

install_programs() {
    find_missing
    if [[ ${#missing[@]} -eq 0 ]]; then
        return
    fi
    step "installing by apt: ${missing[*]}"
    has apt-get || die "apt-get is not there; install by hand: ${missing[*]}"
    local log
    log=$(mktemp)
    forbid_services
    if ! { as_root apt-get -q update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"; } \
        >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: ${missing[*]}"
    fi
    rm -f "$log"
    remove_policy
    find_missing
    [[ ${#missing[@]} -eq 0 ]] || die "still missing after installing: ${missing[*]}"
}

install_package() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or later is needed: $(python3 -V)"
    [[ -x $venv/bin/python ]] || python3 -m venv "$venv"
    local wanted stamp=$venv/.px-tests-installed
    wanted=$(sha256sum pyproject.toml)" $PWD"
    if [[ -x $venv/bin/px && -x $venv/bin/pytest && $(cat "$stamp" 2>/dev/null) == "$wanted" ]]; then
        return
    fi
    step "installing pypx and its test tools into $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[tests,docs]'
    printf '%s\n' "$wanted" >"$stamp"
}

# Every shell script of the project, known by its first line.
shell_scripts() {
    local file first
    find . -path ./.git -prune -o -path "./${venv#./}" -prune -o -name '.[!.]*_cache' -prune -o -path ./.px-tour -prune \
        -o -path ./build -prune -o -path ./tests/golden -prune -o -path ./benchmarks/.pypx3 -prune \
        -o -type f -size -200k ! -name '*.py' -print | sort | while IFS= read -r file; do
        first=
        IFS= read -r first <"$file" 2>/dev/null || true
        case $first in
            '#!'*[/\ ]sh | '#!'*[/\ ]bash) printf '%s\n' "$file" ;;
        esac
    done
}

lint() {
    step "ruff check"
    "$venv/bin/ruff" check --quiet .
    step "ruff format --check"
    "$venv/bin/ruff" format --quiet --check . || {
        "$venv/bin/ruff" format --check . || true
        die "some files are not formatted: $venv/bin/ruff format ."
    }
    step "mypy --strict"
    "$venv/bin/mypy" --strict --no-error-summary
    if [[ -x $venv/bin/hadolint ]]; then
        step "hadolint Dockerfile"
        "$venv/bin/hadolint" Dockerfile
    fi
    local scripts
    mapfile -t scripts < <(shell_scripts)
    step "shellcheck ${scripts[*]}"
    shellcheck "${scripts[@]}"
}

arguments=()
only_install=
for argument in "$@"; do
    case $argument in
        --long)
            export PX_TEST_LONG=1
            arguments+=(--timeout 3600) # seconds a test; without it one that is small by default may take 180
            ;;
        --install) only_install=yes ;;
        -h | --help)
            sed -n "3,11s/^# \{0,1\}//p" tests/run.sh
            exit 0
            ;;
        *) arguments+=("$argument") ;;
    esac
done

install_programs
install_package
[[ -n $only_install ]] && exit
lint
step "pytest"
exec "$venv/bin/python" -m pytest -n 2 --dist loadfile "${arguments[@]}"
