#!/usr/bin/env bash
#
# PACS_QR.sh: query a PACS, and retrieve what was found, by px here or by px in a container.

set -euo pipefail

usage() {
    cat <<'HELP'
usage: PACS_QR.sh [options] -- "<px find filters>"

  PACS_QR.sh -- "--PatientID 7654321"                     what is there? (a table)
  PACS_QR.sh --report csv -- "--PatientID 7654321"        the same as CSV
  PACS_QR.sh --do retrieve -- "--PatientID 7654321"       have it sent to our listener
  PACS_QR.sh --do status -- "--PatientID 7654321"         what has arrived?

What follows -- goes to px find as it is; a single quoted string is split as the shell would split it, without
running anything in it.

  --do STEP             retrieve or status, for everything found
  --report FORM         tabular (default), rawText, csv or json
  --baseMount DIR       where images and records are (default $PX_BASEMOUNT, else /home/dicom)
  --PACSIP HOST         address of the PACS (default $PX_SERVER_IP)
  --PACSport PORT       its port (default $PX_SERVER_PORT)
  --AEC TITLE           its AE title (default $PX_AEC)
  --AET TITLE           our AE title (default $PX_AET)
  --local               run px from the PATH (default if there is one)
  --container IMAGE     run px in this image by docker or podman (default local/pypx)
  --non-interactive     no terminal for the container
  -v                    print the command on stderr before running it
  -x, -h, --help        this text
HELP
}

die() {
    printf 'PACS_QR.sh: %s\n' "$1" >&2
    exit 2
}

step='' report=tabular base=${PX_BASEMOUNT:-/home/dicom} image=local/pypx where='' verbose='' terminal=(--interactive --tty)
peer=()
filters=()

while [[ $# -gt 0 ]]; do
    case $1 in
        -x | -h | '-?' | --help)
            usage
            exit 0
            ;;
        --local) where='local' ;;
        --non-interactive) terminal=(--interactive) ;;
        -v) verbose=yes ;;
        --)
            shift
            filters=("$@")
            break
            ;;
        --do | --report | --baseMount | --PACSIP | --PACSport | --AEC | --AET | --container)
            [[ $# -ge 2 ]] || die "$1 needs a value (-x explains)"
            case $1 in
                --do) step=$2 ;;
                --report) report=$2 ;;
                --baseMount) base=$2 ;;
                --PACSIP) peer+=(--serverIP "$2") ;;
                --PACSport) peer+=(--serverPort "$2") ;;
                --AEC) peer+=(--aec "$2") ;;
                --AET) peer+=(--aet "$2") ;;
                --container) image=$2 where=container ;;
            esac
            shift
            ;;
        *) die "unknown option $1 (-x explains)" ;;
    esac
    shift
done

case $step in '' | retrieve | status) ;; *) die "--do takes retrieve or status, not '$step'" ;; esac
case $report in tabular | rawText | csv | json) ;; *) die "--report takes tabular, rawText, csv or json, not '$report'" ;; esac
[[ ${#filters[@]} -gt 0 ]] || die 'nothing to ask for; an example: PACS_QR.sh -- "--PatientID 7654321"'

# One quoted string is taken apart into words; xargs knows quotes but runs nothing and expands nothing.
if [[ ${#filters[@]} -eq 1 && ${filters[0]} == *' '* ]]; then
    mapfile -d '' -t filters < <(printf '%s' "${filters[0]}" | xargs printf '%s\0')
fi

if [[ -z $where ]]; then
    if command -v px >/dev/null; then where='local'; else where=container; fi
fi
run=(px)
report_run=(px)
if [[ $where == container ]]; then
    engine=docker
    command -v docker >/dev/null || engine=podman
    command -v "$engine" >/dev/null || die 'neither px nor docker nor podman is on the PATH'
    [[ -t 0 && -t 1 && -n $step ]] || terminal=(--interactive) # a terminal would mix stderr into the pipe
    run=("$engine" run --rm "${terminal[@]}" --network host --volume "$base:$base")
    for name in PX_SERVER_IP PX_SERVER_PORT PX_AEC PX_AET; do
        [[ -z ${!name:-} ]] || run+=(--env "$name")
    done
    run+=("$image" px)
    report_run=("$engine" run --rm --interactive "$image" px)
fi

find=("${run[@]}" find "${peer[@]}" --db "$base/log" "${filters[@]}")
if [[ -n $step ]]; then
    find+=(--then "$step" --withFeedBack)
else
    find+=(--json)
fi
if [[ -n $verbose ]]; then
    printf '%q ' "${find[@]}" >&2
    printf '\n' >&2
fi
if [[ -n $step || $report == json ]]; then
    exec "${find[@]}"
fi
"${find[@]}" | "${report_run[@]}" report --printReport "$report"
