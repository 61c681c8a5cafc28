#!/usr/bin/env bash
#
# workflow.sh: a tour of px from an empty machine to filed images, each step with the command it runs.
#
#   ./workflow.sh                     against an embedded PACS (DCMTK's dcmqrscp on 127.0.0.1, made-up patients)
#   PACSIP=10.0.0.5 ./workflow.sh     the same tour against your own PACS
#   ./workflow.sh --help              the settings
#
# It installs what is missing: DCMTK by apt, the package into .venv.  Everything it makes is below .px-tour/, or
# below BASEMOUNT if that is set.  It ends the processes it started and touches nothing else.

set -euo pipefail

usage() {
    cat <<'HELP'
usage: ./workflow.sh

A tour of px, narrated, against an embedded PACS with made-up patients. Exit status 0 if every step did its work.

Settings, all optional, all from the environment:

  BASEMOUNT    where to keep what is received (default ./.px-tour/basemount)
  PACSIP       address of your own PACS; without it the tour starts one of its own
  PACSPORT     its port (default 4242)
  AEC          its AE title (default ANY-SCP)
  AET          our AE title, as the PACS knows it (default PXTOUR)
  LISTENPORT   the port of our listener, as the PACS knows it (own PACS: default 11113; else any free one)
  PATIENTID    the patient to look at and retrieve on your own PACS. Without it the tour looks for studies of one
               day or a few, from today backwards, stops at the first it finds and retrieves the smallest of them:
               it never lists a whole PACS.
  PX_VENV      a virtual environment with px in it; without it the tour makes ./.venv

Where the images are handed on to, all optional:

  STOREDIR     a directory used as store (default ./.px-tour/store)
  PX_SWIFT_IP  a Swift instead of it, with PX_SWIFT_PORT, PX_SWIFT_LOGIN (account:user) and PX_SWIFT_KEY
  PX_CUBE_URL  the API of a CUBE that reads this very store, https://cube.example.org/api/v1/, with PX_CUBE_TOKEN or
               PX_CUBE_PASSWORD; the images are then registered there. Without it, this step is only explained.
  PACSNAME     name of the PACS in the store and in CUBE, at most 20 characters (default PXTOUR)

Your own PACS has to know our AE title with this machine's address and LISTENPORT, or nothing can be retrieved.
HELP
}

die() {
    printf 'workflow.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

case ${1:-} in
    '') ;;
    -h | --help | -x)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"
tour=.px-tour
if [[ -n ${BASEMOUNT:-} ]]; then
    mkdir -p "$BASEMOUNT" || die "BASEMOUNT $BASEMOUNT cannot be made"
    BASEMOUNT=$(cd "$BASEMOUNT" && pwd)
else
    BASEMOUNT=$tour/basemount
fi
own_pacs=${PACSIP:+yes}

# --- what the narration looks like ------------------------------------------------------------------------------

bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi
step=0

heading() {
    step=$((step + 1))
    printf '\n%s%d. %s%s\n\n' "$bold" "$step" "$1" "$plain"
}

say() {
    printf '%s\n' "$*" | fold -s -w 100 | sed 's/ $//'
}

# quoted WORD...: the words as one would type them.
quoted() {
    local word line=''
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then
            line+=" $word"
        else
            line+=" '${word//\'/\'\\\'\'}'"
        fi
    done
    printf '%s' "${line# }"
}

prompt() {
    printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
}

# show COMMAND...: print the command as one would type it, then run it.
show() {
    prompt "$(quoted "$@")"
    "$@"
}

# show_pipe TEXT: print a command line that needs the shell (a pipe, a redirection), then run it.
show_pipe() {
    prompt "$1"
    eval "$1"
}

# --- what is missing is installed -------------------------------------------------------------------------------

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "root rights are needed for: $* (there is no sudo; run that as root, then ./workflow.sh again)"
    fi
}

apt_install() {
    command -v apt-get >/dev/null || die "please install: $* (there is no apt-get to do it with)"
    say "Installing by apt: $*"
    {
        as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } >"$tour/apt.log" 2>&1 || {
        tail -n 5 "$tour/apt.log" >&2
        die "apt could not install: $*"
    }
}

works() { # works PROGRAM: is it there, and does it start?
    "$1" --version >/dev/null 2>&1
}

install_missing() {
    local program packages=()
    for program in dcmqrscp dcmsend storescp; do
        command -v "$program" >/dev/null || packages=(dcmtk)
    done
    if [[ -z ${PX_VENV:-} ]]; then
        command -v python3 >/dev/null || packages+=(python3)
        python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    fi
    [[ ${#packages[@]} -eq 0 ]] || apt_install "${packages[@]}"

    venv=${PX_VENV:-.venv}
    if [[ -z ${PX_VENV:-} ]] && { [[ pyproject.toml -nt $venv/px-tour.stamp ]] || ! works "$venv/bin/px"; }; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "px needs Python 3.10 or newer"
        say "Installing px into $venv"
        works "$venv/bin/python" || python3 -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e . >"$tour/pip.log" 2>&1 || {
            tail -n 5 "$tour/pip.log" >&2
            die "pip could not install px into $venv"
        }
        touch "$venv/px-tour.stamp"
    fi
    works "$venv/bin/px" || die "there is no working px in $venv"
    PATH=$(cd "$venv/bin" && pwd):$PATH
    export PATH
}

# --- processes of the tour --------------------------------------------------------------------------------------

pacs_pid='' listener_pid=''

end() { # end PID: SIGTERM, and SIGKILL if it is still there after ten seconds
    local pid=$1 round
    kill -TERM "$pid" 2>/dev/null || return 0
    for ((round = 0; round < 100; round++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    [[ -z $listener_pid ]] || end "$listener_pid"
    [[ -z $pacs_pid ]] || end "$pacs_pid"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_for WHAT LOG COMMAND...: until COMMAND succeeds; gives up after thirty seconds and shows the log.
wait_for() {
    local what=$1 log=$2 round
    shift 2
    for ((round = 0; round < 150; round++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    tail -n 5 "$log" >&2
    die "$what did not start"
}

# The embedded PACS: dcmqrscp with a storage folder of its own, filled over the network as a scanner would.
start_pacs() {
    local root=$tour/pacs
    rm -rf "$root" "$tour/corpus"
    mkdir -p "$root/storage"
    export PX_SERVER_IP=127.0.0.1 PX_AEC=TOURPACS PX_AET=PXTOUR
    PX_SERVER_PORT=$(free_port)
    listen_port=${LISTENPORT:-$(free_port)}
    export PX_SERVER_PORT
    cat >"$root/dcmqrscp.cfg" <<CFG
NetworkTCPPort  = $PX_SERVER_PORT
MaxPDUSize      = 131072
MaxAssociations = 16

HostTable BEGIN
pxtour = ($PX_AET, 127.0.0.1, $listen_port)
HostTable END

VendorTable BEGIN
VendorTable END

AETable BEGIN
$PX_AEC $root/storage RW (200, 1024mb) ANY
AETable END
CFG
    TCP_NODELAY=1 dcmqrscp -c "$root/dcmqrscp.cfg" >"$root/dcmqrscp.log" 2>&1 9>&- &
    pacs_pid=$!
    wait_for "the embedded PACS" "$root/dcmqrscp.log" px echo
    python docs/tour/make_corpus.py "$tour/corpus"
    TCP_NODELAY=1 dcmsend --scan-directories -aec "$PX_AEC" -aet "$PX_AET" \
        "$PX_SERVER_IP" "$PX_SERVER_PORT" "$tour/corpus" >"$root/dcmsend.log" 2>&1 || {
        tail -n 5 "$root/dcmsend.log" >&2
        die "the embedded PACS could not be filled"
    }
}

# choose_study: leaves PATIENTID and STUDYUID, SERIESUID of a small study.
choose_study() {
    local chosen
    if [[ -n ${PATIENTID:-} ]]; then
        px find --PatientID "$PATIENTID" --json >"$tour/patient.json"
        chosen=$(python docs/tour/pick.py <"$tour/patient.json") ||
            die "$PX_AEC has nothing to retrieve of patient $PATIENTID"
    else
        printf '\n'
        say "No PATIENTID is set: the tour takes the smallest study of the latest days that have one."
        chosen=$(python docs/tour/pick.py --windows) ||
            die "nothing found on $PX_AEC; set PATIENTID to a patient it has"
    fi
    read -r STUDYUID SERIESUID <<<"$chosen"
}

# --- the tour ---------------------------------------------------------------------------------------------------

umask 027       # answers of a PACS are patient data
exec </dev/null # no step may wait for somebody to type
mkdir -p "$tour"
exec 9>"$tour/.lock"
flock -n 9 || die "another tour is running in $here/$tour"

printf '%sA tour of px: from a PACS to your disk%s\n\n' "$bold" "$plain"
install_missing

if [[ -n $own_pacs ]]; then
    export PX_SERVER_IP=$PACSIP PX_SERVER_PORT=${PACSPORT:-4242} PX_AEC=${AEC:-ANY-SCP} PX_AET=${AET:-PXTOUR}
    listen_port=${LISTENPORT:-11113}
    say "The PACS is yours: $PX_AEC at $PX_SERVER_IP port $PX_SERVER_PORT. We call ourselves $PX_AET; the PACS has to" \
        "know that title with the address of this machine and port $listen_port."
else
    PATIENTID=PX-1001
    say "The PACS of this tour is DCMTK's dcmqrscp on 127.0.0.1, with a few made-up patients."
    start_pacs
fi
export PX_BASEMOUNT=$BASEMOUNT

heading "Say once who is who"
say "px has no built-in PACS address. It takes it from options, or from these variables, or from a named" \
    "service. PX_BASEMOUNT is the folder where images and records are kept."
for name in PX_SERVER_IP PX_SERVER_PORT PX_AEC PX_AET PX_BASEMOUNT; do
    printf '\n%s$ export %s%s' "$bold" "$(quoted "$name=${!name}")" "$plain"
done
printf '\n'

heading "Does the PACS answer?"
say "px echo opens an association and asks for a C-ECHO. It tells apart a wrong address, a wrong AE title and" \
    "a PACS that refuses."
show px echo

choose_study
heading "What does it have?"
say "px find asks for studies, then for the series of each. Any DICOM keyword can be a matching key; wildcards and" \
    "date ranges are the PACS's own."
if [[ -n ${PATIENTID:-} ]]; then
    show px find --PatientID "$PATIENTID"
else
    show px find --StudyInstanceUID "$STUDYUID"
fi
if [[ -z $own_pacs ]]; then
    printf '\n'
    say "By name with a wildcard, studies only, and by a range of dates:"
    show px find --PatientName 'M*' --StudyOnly
    show px find --StudyDate 20240601-20240630 --Modality MR
    printf '\n'
    say "(dcmqrscp keeps no SeriesDescription and no counts; px counts the images itself where a PACS does not.)"
fi

heading "The same answer in other forms"
say "px find --json is the document that the other commands read. px report shows it as table, text or CSV."
show_pipe "px find --StudyInstanceUID $STUDYUID --json > $tour/find.json"
show px report --reportDataFile "$tour/find.json" --printReport tabular
show_pipe "px report --printReport csv --csvPrintHeaders < $tour/find.json"
show px report --reportDataFile "$tour/find.json" --printReport rawText --reportHeaderStudyTags PatientName,StudyDate \
    --reportBodySeriesTags SeriesNumber,Modality,NumberOfSeriesRelatedInstances
printf '\n'
say "--jsonl is one flat record a line, for jq and pandas:"
show_pipe "px find --StudyInstanceUID $STUDYUID --jsonl | cut -c 1-150"

heading "Listen"
say "A PACS is never read: it sends to an address that it knows. px listen is that address. It receives by" \
    "DCMTK's storescp, files each image below data/ and records it below log/."
listen=(px listen --port "$listen_port" --aet "$PX_AET")
[[ -n $own_pacs ]] || listen+=(--bind 127.0.0.1)
prompt "$(quoted "${listen[@]}") &"
"${listen[@]}" >"$tour/listen.log" 2>&1 9>&- &
listener_pid=$!
wait_for "the listener" "$tour/listen.log" \
    px echo --server-ip 127.0.0.1 --server-port "$listen_port" --aec "$PX_AET"
cat "$tour/listen.log"

heading "Have one series sent"
say "px move asks the PACS to send (C-MOVE) and reports the PACS's own words: final status and counts."
show px move --StudyInstanceUID "$STUDYUID" --SeriesInstanceUID "$SERIESUID"

heading "Have a whole study sent, and ask what arrived"
say "--then runs further steps over what was found: here the retrieve, then the status."
show px find --StudyInstanceUID "$STUDYUID" --then retrieve,status

heading "What has arrived?"
say "px status reads the records on disk, not the PACS: requested, received, packed, pushed, registered."
show px status --StudyInstanceUID "$STUDYUID"

heading "Hand it on"
export PX_SWIFT_SERVICES_PACS=${PACSNAME:-PXTOUR}
if [[ -n ${PX_SWIFT_IP:-} ]]; then
    store=()
    say "px push hands images on. The store is the Swift at $PX_SWIFT_IP, named by the PX_SWIFT_* variables."
else
    store=(--storeBaseLocation "${STOREDIR:-$tour/store}")
    say "px push hands images on: to Swift, S3, a PACS, or, as here, into a directory. A Swift is named once, by" \
        "px smdb service storage set, or by PX_SWIFT_IP, PX_SWIFT_PORT, PX_SWIFT_LOGIN and PX_SWIFT_KEY."
fi
printf '\n%s$ export PX_SWIFT_SERVICES_PACS=%s%s\n' "$bold" "$(quoted "$PX_SWIFT_SERVICES_PACS")" "$plain"
show px push --StudyInstanceUID "$STUDYUID" "${store[@]}"
printf '\n'
say "Each object was verified. What is there and equal is not sent again:"
show px push --StudyInstanceUID "$STUDYUID" "${store[@]}"

heading "Look into the store"
say "px storage lists, stores, fetches and removes objects."
show px storage ls "SERVICES/PACS/$PX_SWIFT_SERVICES_PACS" "${store[@]}"
object=$(px storage ls "SERVICES/PACS/$PX_SWIFT_SERVICES_PACS" "${store[@]}" --jsonl |
    python -c 'import json, sys; print(json.loads(sys.stdin.readline())["name"]); sys.stdin.read()')
show px storage get "$object" "$tour/copy/image.dcm" "${store[@]}"

heading "Register it in ChRIS"
if [[ -n ${PX_CUBE_URL:-} ]]; then
    say "px register tells CUBE of what was pushed, and believes what CUBE confirms. This one is $PX_CUBE_URL."
    show px register --StudyInstanceUID "$STUDYUID" "${store[@]}"
else
    say "px register tells CUBE of what was pushed: px register --StudyInstanceUID UID --swift KEY. Set PX_CUBE_URL and" \
        "PX_CUBE_TOKEN (or PX_CUBE_PASSWORD) to a CUBE that reads this store, and the tour does it."
fi

heading "All in one command"
say "Retrieve, push and register are steps of --then, too. Nothing is done twice, so here little is left to do."
then_verbs=retrieve,push then_args=";{\"storeBaseLocation\": \"${STOREDIR:-$tour/store}\"}"
[[ -z ${PX_SWIFT_IP:-} ]] || then_args=';{}'
[[ -z ${PX_CUBE_URL:-} ]] || then_verbs+=,register then_args+=';{}'
show px find --StudyInstanceUID "$STUDYUID" --then "$then_verbs,status" --thenArgs "$then_args;"

heading "Run steps later over a saved answer"
say "px do reads a find document and runs the same steps as --then."
show_pipe "px do --then status < $tour/find.json"

heading "File images that are on disk already"
rm -rf "$tour/cd"
repack_base=$BASEMOUNT
[[ -z $own_pacs ]] || repack_base=$tour/repacked
python docs/tour/make_corpus.py --cd "$tour/cd" >/dev/null
say "px repack files a folder, here a made-up CD, as if a PACS had sent it. The originals stay where they are."
show px repack "$tour/cd" --basemount "$repack_base"

heading "Look into the database"
say "px smdb searches what is recorded. It also keeps the addresses of PACS and stores under a name, so that" \
    "--PACS NAME can replace all of the variables."
show px smdb search
show px smdb search --level patient 'PatientName=TOUR*'
show px smdb service PACS set px-tour \
    "{\"serverIP\": \"$PX_SERVER_IP\", \"serverPort\": \"$PX_SERVER_PORT\", \"aec\": \"$PX_AEC\", \"aet\": \"$PX_AET\"}"
show px smdb service PACS list
show px smdb service PACS check px-tour
show px smdb service PACS remove px-tour

heading "The same with the commands of pypx 3"
say "px-find, px-report and the others take what they always took and print what they always printed, so scripts go" \
    "on as they are. Find, and two reports of it:"
log=$BASEMOUNT/log legacy_store=${STOREDIR:-$tour/store}
show_pipe "px-find --StudyInstanceUID $STUDYUID --json | px-report --printReport csv --csvPrettify --csvPrintHeaders \
--reportHeaderStudyTags PatientName,StudyDate --reportBodySeriesTags Modality,SeriesInstanceUID"
show_pipe "px-find --StudyInstanceUID $STUDYUID --db $(quoted "$log") --then status --json | px-report \
--seriesSpecial seriesStatus --printReport rawText --reportHeaderStudyTags StudyDate --reportBodySeriesTags seriesStatus"
say "Retrieve with a throttle (six images a second), and the status of one series:"
show px-find --StudyInstanceUID "$STUDYUID" --db "$log" --then retrieve --intraSeriesRetrieveDelay dynamic:6 --withFeedBack
show_pipe "px-status --db $(quoted "$log") --StudyInstanceUID $STUDYUID --SeriesInstanceUID $SERIESUID --json | head -6"
say "Where its images are, and three ways to push them: a directory, what a find found, and single files:"
show px-smdb --logdir "$log" --action imageDirsSeriesInstanceUID --actionArgs "$SERIESUID"
folder=$(px-smdb --logdir "$log" --action imageDirsSeriesInstanceUID --actionArgs "$SERIESUID" |
    python -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$SERIESUID")
show px-push --db "$log" --xcrdir "$folder" --parseAllFilesWithSubStr dcm --swiftServicesPACS LEGACY \
    --swiftPackEachDICOM --storeBaseLocation "$legacy_store"
show px-find --StudyInstanceUID "$STUDYUID" --db "$log" --then push --withFeedBack --thenArgs \
    "{\"db\": \"$log\", \"storeBaseLocation\": \"$legacy_store\", \"swiftServicesPACS\": \"LEGACY\", \"swiftPackEachDICOM\": true}"
show pfstorage --storeBaseLocation "$legacy_store" --do \
    "{\"action\": \"objPut\", \"args\": {\"localpath\": \"$folder\", \"mapLocationOver\": \"$folder\", \"toLocation\": \"uploads/one\"}}"
show_pipe "pfstorage --storeBaseLocation $(quoted "$legacy_store") --json --do \
'{\"action\": \"ls\", \"args\": {\"path\": \"uploads\", \"retSpec\": [\"name\"]}}'"
if [[ -n ${PX_CUBE_URL:-} && -z ${PX_SWIFT_IP:-} ]]; then
    show px-register --db "$log" --xcrdir "$folder" --parseAllFilesWithSubStr dcm --swiftServicesPACS LEGACY
else
    say "px-register --CUBE KEY --xcrdir DIR --parseAllFilesWithSubStr dcm enters them in a CUBE, if you have one."
fi
show px-repack --xcrdir "$tour/cd" --parseAllFilesWithSubStr dcm --logdir "$repack_base/log" \
    --datadir "$repack_base/data" --verbosity 0

heading "Stop the listener"
say "SIGTERM lets it finish what it is receiving and filing. It then ends with 0."
prompt "kill $listener_pid"
kill -TERM "$listener_pid"
drained=0
wait "$listener_pid" || drained=$?
listener_pid=''
[[ $drained -eq 0 ]] || die "the listener ended with $drained; see $tour/listen.log"
printf 'the listener has ended with 0\n'

heading "The result"
say "Images are below data/, records below log/: plain files."
prompt "find $(quoted "$BASEMOUNT") -type f"
find "$BASEMOUNT" -name '.locks' -prune -o -type f -print | LC_ALL=C sort
printf '\nDone. Everything is in %s\n' "$BASEMOUNT"
