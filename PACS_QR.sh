#!/usr/bin/env bash
#
# PACS_QR.sh: query a PACS by px in a container or px here, and hand on what was found.

set -euo pipefail

usage() {
    cat <<'HELP'
usage: PACS_QR.sh [options] -- "<px-find filters>"

  PACS_QR.sh -- "--PatientID 7654321"                     what is there? (a table)
  PACS_QR.sh --report csv -- "--PatientID 7654321"        the same as CSV
  PACS_QR.sh --do retrieve -- "--PatientID 7654321"       have it sent to our listener
  PACS_QR.sh --do status -- "--PatientID 7654321"         what has arrived?
  PACS_QR.sh --do push -- "--PatientID 7654321"           put what has arrived into storage
  PACS_QR.sh --do register -- "--PatientID 7654321"       enter it in CUBE

What follows -- goes to px-find. One string is split into words as a shell would split it: quotes and backslashes
count, nothing in it is run or expanded. Several words are taken as they are.

What to do
  --do STEP              retrieve, push, register or status, for everything found
  --report FORM          tabular (default), rawText, json, csv, or options of px-report in one string
  --CUBEKEY KEY          register in the CUBE of this name
  --SWIFTKEY KEY         push to the storage of this name
  --SWIFTPACS NAME       name of the PACS in the storage and in CUBE

Which PACS
  --env NAME             a preset of your own (below), such as orthanc, BCH-chris, MGH
  --PACSIP HOST          its address ($PX_SERVER_IP)
  --PACSport PORT        its port ($PX_SERVER_PORT)
  --AEC TITLE            its AE title ($PX_AEC)
  --AET TITLE            our AE title ($PX_AET)

Where
  --baseMount DIR        images, records and keys ($PX_BASEMOUNT; /home/dicom)
  --container IMAGE      run px in this image, by docker or podman ($PACS_QR_CONTAINER; local/pypx)
  --local                run the px installed here
                         Neither said: the image, if docker or podman has it, else the px installed here.
  --non-interactive      no terminal for the container
  --debug                run the code of this checkout instead of the installed one
  -F                     run although the preset names another user or host
  -v                     print the command on stderr before running it
  -x, -h, -?, --help     this text

Keys, stored once under BASEMOUNT/services
  --CUBEKEY KEY --CUBEURL URL --CUBEuser USER
                         The password is $PACS_QR_CUBEPASSWORD, or you are asked for it.
  --CUBEpassword WORD    the same, but visible to every user of this host; it warns
  --SWIFTKEY KEY --SWIFTHOST HOST --SWIFTPORT PORT --SWIFTLOGIN ACCOUNT:USER

Presets come from the first of these files that is there: $PACS_QR_ENV, ~/.config/pypx/institutions.ini,
institutions.ini beside this script. It is read, never run; it has to be yours or root's, and nobody else's to write:

  default = BCH-chris

  [BCH-chris]
  PACSIP = 10.0.0.5
  PACSPORT = 104
  AEC = HOSPITAL
  AET = CHRIS
  SWIFTKEY = store
  CUBEKEY = cube
  SWIFTSERVICEPACS = HOSPITAL
  USER = chris-local
  HOST = titan

USER and HOST are for a machine that only one account may use: another user is refused with exit code 12, with --do
another host with 10; -F overrides. The default preset, or BCH-chris if the file has it, fills in what neither options
nor variables say; a preset named by --env wins over variables, an option over both. orthanc needs no file: it is the
one on this machine, 127.0.0.1 port 4242.
HELP
}

die() {
    printf 'PACS_QR.sh: %s\n' "$1" >&2
    exit "${2:-2}"
}

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
own_presets=${XDG_CONFIG_HOME:-${HOME:-}/.config}/pypx/institutions.ini
sites='orthanc BCH-chris BCH-chrisdev BCH-christest MGH MGH2 TeleRIS'
declare -A option=() preset=()
verb='' report=tabular base=${PX_BASEMOUNT:-/home/dicom} image=${PACS_QR_CONTAINER:-local/pypx}
where='' engine='' site='' anyone='' verbose='' terminal=yes debug=''

# --- words and JSON ---------------------------------------------------------------------------------------------

# split_words TEXT: leaves in `words` what a shell would make of it; nothing is expanded and nothing is run.
split_words() {
    local text=$1 word='' open='' quote='' character next i
    words=()
    for ((i = 0; i < ${#text}; i++)); do
        character=${text:i:1} next=${text:i+1:1}
        if [[ $quote == "'" ]]; then
            if [[ $character == "'" ]]; then quote=''; else word+=$character; fi
        elif [[ $character == \\ && $next == $'\n' ]]; then
            i=$((i + 1))
        elif [[ $quote == '"' ]]; then
            if [[ $character == '"' ]]; then
                quote=''
            elif [[ $character == \\ && $next == ['"\$`'] ]]; then
                word+=$next i=$((i + 1))
            else
                word+=$character
            fi
        elif [[ $character == [[:space:]] ]]; then
            if [[ -n $open ]]; then words+=("$word"); fi
            word='' open=''
        else
            open=yes
            case $character in
                \' | '"') quote=$character ;;
                \\)
                    [[ -n $next ]] || die "nothing stands behind the last backslash of: $text"
                    word+=$next i=$((i + 1))
                    ;;
                *) word+=$character ;;
            esac
        fi
    done
    [[ -z $quote ]] || die "a quote is not closed in: $text"
    if [[ -n $open ]]; then words+=("$word"); fi
}

# json NAME VALUE...: leaves in `document` the JSON object of these strings.
json() {
    local text word comma=''
    document='{'
    while [[ $# -gt 0 ]]; do
        text=
        for word in "$1" "$2"; do
            [[ $word != *[[:cntrl:]]* ]] || die "control characters cannot be part of $1"
            word=${word//\\/"\\\\"}
            text+="${text:+: }\"${word//\"/"\\\""}\""
        done
        document+="$comma$text" comma=', '
        shift 2
    done
    document+='}'
}

# --- presets ----------------------------------------------------------------------------------------------------

presets_file() { # leaves in `presets` the file with the user's presets, empty if there is none
    presets=
    local file
    for file in "${PACS_QR_ENV:-}" "$own_presets" "$here/institutions.ini"; do
        if [[ -n $file && -e $file ]]; then
            presets=$file
            break
        fi
        [[ -z $file || $file != "${PACS_QR_ENV:-}" ]] || die "\$PACS_QR_ENV names $file, which is not there"
    done
    [[ -n $presets ]] || return 0
    [[ -f $presets && -r $presets ]] || die "$presets cannot be read"
    [[ -n $(find -L "$presets" -maxdepth 0 \( -uid "$(id -u)" -o -uid 0 \) ! -perm /022) ]] ||
        die "$presets is not used: it has to be yours or root's, and nobody else's to write (chmod go-w)"
}

# institution_set NAME: fills `preset` from the user's file. Without NAME the default one, if there is one.
institution_set() {
    local name=$1 section='' default='' found='' line key value number=0
    if [[ $name == orthanc ]]; then
        preset=([PACSIP]=127.0.0.1 [PACSPORT]=4242 [AEC]=ORTHANC [AET]=CHRISLOCAL)
        preset+=([SWIFTKEY]=local [CUBEKEY]=local [SWIFTPACS]=orthanc)
        found=yes
    fi
    presets_file
    while [[ -n $presets ]] && { IFS= read -r line || [[ -n $line ]]; }; do
        number=$((number + 1))
        line=${line%$'\r'}
        if [[ $line =~ ^[[:space:]]*([#\;].*)?$ ]]; then
            continue
        elif [[ $line =~ ^[[:space:]]*\[[[:space:]]*([^][]*[^][[:space:]])[[:space:]]*\][[:space:]]*$ ]]; then
            section=${BASH_REMATCH[1]}
            name=${name:-${default:-BCH-chris}}
            if [[ $section == "$name" ]]; then found=yes; fi
        elif [[ $line =~ ^[[:space:]]*([A-Za-z]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]]|)[[:space:]]*$ ]]; then
            key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
            if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
            if [[ -z $section && $key == default ]]; then
                default=$value
                continue
            fi
            case ${key^^} in
                PACSIP | PACSPORT | AEC | AET | SWIFTKEY | CUBEKEY | SWIFTPACS | USER | HOST) key=${key^^} ;;
                SWIFTSERVICEPACS) key=SWIFTPACS ;;
                *) die "$presets line $number: there is no setting $key (-x lists them)" ;;
            esac
            [[ -n $section ]] || die "$presets line $number: $key stands before the first [preset]"
            if [[ $section == "$name" ]]; then preset[$key]=$value; fi
        else
            die "$presets line $number is neither [preset] nor KEY = value"
        fi
    done <"${presets:-/dev/null}"
    if [[ -n $site || -n $default ]] && [[ -z $found ]]; then
        local known=''
        [[ " $sites " != *" ${name:-$default} "* ]] || known=' (a name of pypx 3, whose address is yours to enter)'
        die "there is no preset ${name:-$default}$known; add to ${presets:-$own_presets} a section
  [${name:-$default}]
  PACSIP = 10.0.0.5
  PACSPORT = 104
  AEC = title of the PACS
  AET = our title
(-x lists the other settings)"
    fi
}

# setting NAME [VARIABLE]: leaves in REPLY the option, the preset, or the variable; the default preset comes last.
setting() {
    local variable=${2:-}
    REPLY=${preset[$1]:-}
    if [[ -n $variable && -n ${!variable:-} && ( -z $site || -z $REPLY ) ]]; then REPLY=${!variable}; fi
    REPLY=${option[$1]:-$REPLY}
}

check_user_and_host() {
    local user host
    user=$(id -un) host=$(uname -n)
    if [[ -n ${preset[USER]:-} && $user != "${preset[USER]}" ]]; then
        die "this preset is for user ${preset[USER]}, you are $user (-F overrides)" 12
    fi
    if [[ -n $verb && -n ${preset[HOST]:-} && $host != "${preset[HOST]}" && ${host%%.*} != "${preset[HOST]}" ]]; then
        die "this preset retrieves and hands on from host ${preset[HOST]} only, this is $host (-F overrides)" 10
    fi
}

# --- px, here or in a container ---------------------------------------------------------------------------------

choose_place() {
    [[ ! -x $here/.venv/bin/px ]] || PATH=$PATH:$here/bin
    if [[ $where != local ]]; then
        local found=''
        for engine in docker podman; do
            command -v "$engine" >/dev/null || continue
            found=${found:-$engine}
            if "$engine" image inspect "$image" >/dev/null 2>&1; then
                where=container
                return
            fi
        done
        engine=$found
        if [[ -n $engine && ( $where == container || -z $(command -v px) ) ]]; then
            where=container
            return
        fi
        [[ $where != container ]] || die "--container needs docker or podman; neither is on the PATH"
    fi
    command -v px >/dev/null || die 'neither docker nor podman nor px is on the PATH'
    where='local'
}

# on_px [--terminal] PROGRAM ARGUMENT...: leaves in `argv` how to run a program of px.
on_px() {
    local name with=()
    if [[ $1 == --terminal ]]; then
        shift
        if [[ -n $terminal && -t 0 && -t 1 ]]; then with=(--tty); fi
    fi
    argv=()
    if [[ $where == 'local' ]]; then
        if [[ -n $debug ]]; then argv=(env "PYTHONPATH=$here/src"); fi
        argv+=("$@")
        return
    fi
    argv=("$engine" run --rm --interactive "${with[@]}" --network=host)
    if [[ $engine == podman && $(id -u) -ne 0 ]]; then argv+=(--userns=keep-id); fi
    if [[ -d $base ]]; then argv+=(--volume "$base:$base"); fi
    for name in PX_PACS PX_MOVE_DESTINATION PX_TIMEOUT PX_ACSE_TIMEOUT PX_DIMSE_TIMEOUT PX_LEGACY_EXIT NO_COLOR; do
        if [[ -n ${!name:-} ]]; then argv+=("--env=$name"); fi
    done
    if [[ -n $debug ]]; then
        argv+=(--volume "$here/src:/usr/src/px:ro" --env=PYTHONPATH=/usr/src/px)
        for name in "$here"/bin/px-* "$here"/bin/pfstorage "$here"/bin/storescp.sh; do
            argv+=(--volume "$name:/opt/px/bin/${name##*/}:ro")
        done
    fi
    argv+=("$image" "$@")
}

show() {
    if [[ -n $verbose ]]; then
        printf '%q ' "$@" >&2
        printf '\n' >&2
    fi
}

# store KIND KEY DOCUMENT: keeps an entry under BASEMOUNT/services; it goes through stdin, so `ps` shows no password.
store() {
    on_px px smdb service "$1" set "$2" - --logdir "$base/log"
    show "${argv[@]}"
    printf '%s\n' "$3" | "${argv[@]}"
}

store_cube() {
    local password=${option[CUBEPASSWORD]:-${PACS_QR_CUBEPASSWORD:-}}
    setting CUBEKEY
    [[ -n $REPLY ]] || die 'which key is to be stored? --CUBEKEY names it'
    [[ -n ${option[CUBEURL]:-} && -n ${option[CUBEUSER]:-} ]] || die "to store $REPLY, give --CUBEURL and --CUBEuser"
    if [[ -n ${option[CUBEPASSWORD]:-} ]]; then
        printf 'PACS_QR.sh: warning: %s\n' \
            '--CUBEpassword shows the password to every user of this host; leave it out and you are asked for it' >&2
    elif [[ -z $password && -t 0 ]]; then
        read -r -s -p "Password of ${option[CUBEUSER]} at ${option[CUBEURL]}: " password
        printf '\n' >&2
    fi
    [[ -n $password ]] || die "to store $REPLY, the password is needed in PACS_QR_CUBEPASSWORD"
    json url "${option[CUBEURL]}" username "${option[CUBEUSER]}" password "$password"
    store CUBE "$REPLY" "$document"
}

store_swift() {
    setting SWIFTKEY
    [[ -n $REPLY ]] || die 'which key is to be stored? --SWIFTKEY names it'
    [[ -n ${option[SWIFTHOST]:-} && -n ${option[SWIFTPORT]:-} && -n ${option[SWIFTLOGIN]:-} ]] ||
        die "to store $REPLY, give --SWIFTHOST, --SWIFTPORT and --SWIFTLOGIN"
    json ip "${option[SWIFTHOST]}" port "${option[SWIFTPORT]}" login "${option[SWIFTLOGIN]}"
    store swift "$REPLY" "$document"
}

# --- what was asked for -----------------------------------------------------------------------------------------

filters=()
while [[ $# -gt 0 ]]; do
    if [[ $1 == --?*=* ]]; then
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
    fi
    case $1 in
        -x | -h | '-?' | --help)
            usage
            exit 0
            ;;
        --local) where='local' ;;
        --non-interactive) terminal='' ;;
        --debug) debug=yes ;;
        -F) anyone=yes ;;
        -v) verbose=yes ;;
        --)
            shift
            filters=("$@")
            break
            ;;
        --do | --report | --baseMount | --container | --env | --PACSIP | --PACSport | --AEC | --AET | \
            --CUBEKEY | --CUBEURL | --CUBEuser | --CUBEpassword | \
            --SWIFTKEY | --SWIFTHOST | --SWIFTPORT | --SWIFTLOGIN | --SWIFTPACS)
            [[ $# -ge 2 && $2 != -- ]] || die "$1 needs a value (-x explains)"
            case $1 in
                --do) verb=$2 ;;
                --report) report=$2 ;;
                --baseMount) base=$2 ;;
                --container) image=$2 where=container ;;
                --env) site=$2 ;;
                *)
                    name=${1#--}
                    option[${name^^}]=$2
                    ;;
            esac
            shift
            ;;
        *) die "unknown option $1 (-x explains)" ;;
    esac
    shift
done

case $verb in
    '' | retrieve | push | register | status) ;;
    *) die "--do takes retrieve, push, register or status, not '$verb'" ;;
esac
[[ $base == /* ]] || base=$PWD/$base
[[ $base != *:* ]] || die "a BASEMOUNT cannot have a colon in its path: $base"

institution_set "$site"
[[ -n $anyone ]] || check_user_and_host
choose_place

cube=${option[CUBEURL]:-}${option[CUBEUSER]:-}${option[CUBEPASSWORD]:-}
swift=${option[SWIFTHOST]:-}${option[SWIFTPORT]:-}${option[SWIFTLOGIN]:-}
if [[ -n $cube$swift ]]; then
    [[ $where == local || -d $base ]] || die "there is no directory $base"
    if [[ -n $cube ]]; then store_cube; fi
    if [[ -n $swift ]]; then store_swift; fi
    exit 0
fi

if [[ ${#filters[@]} -eq 1 ]]; then
    split_words "${filters[0]}"
    filters=("${words[@]}")
fi
[[ ${#filters[@]} -gt 0 ]] || die 'nothing to ask for; an example: PACS_QR.sh -- "--PatientID 7654321"'

find=(px-find)
setting PACSIP PX_SERVER_IP
if [[ -n $REPLY ]]; then
    find+=(--serverIP "$REPLY")
elif [[ -z ${PX_PACS:-} && " ${filters[*]}" != *' --PACS'* && " ${filters[*]}" != *' --serverIP'* ]]; then
    die 'which PACS? Give --PACSIP, or --env with a preset of your own, or set PX_SERVER_IP (-x explains)'
fi
setting PACSPORT PX_SERVER_PORT
[[ -z $REPLY ]] || find+=(--serverPort "$REPLY")
setting AEC PX_AEC
[[ -z $REPLY ]] || find+=(--aec "$REPLY")
setting AET PX_AET
[[ -z $REPLY ]] || find+=(--aet "$REPLY")
find+=(--db "$base/log" "${filters[@]}")

if [[ -n $verb ]]; then
    if [[ $where == container && ! -d $base ]]; then die "there is no directory $base; --baseMount names another"; fi
    setting SWIFTPACS
    pacs=$REPLY
    if [[ $verb == push || $verb == register ]]; then
        [[ -n $pacs ]] || die "--do $verb needs --SWIFTPACS, the name of the PACS in the storage"
    fi
    case $verb in
        push)
            setting SWIFTKEY
            [[ -n $REPLY ]] || die '--do push needs --SWIFTKEY, the name of the storage'
            json db "$base/log" swift "$REPLY" swiftServicesPACS "$pacs"
            find+=(--thenArgs "${document%\}}, \"swiftPackEachDICOM\": true}")
            ;;
        register)
            setting CUBEKEY
            [[ -n $REPLY ]] || die '--do register needs --CUBEKEY, the name of the CUBE'
            json db "$base/log" CUBE "$REPLY" swiftServicesPACS "$pacs" parseAllFilesWithSubStr dcm
            find+=(--thenArgs "$document")
            ;;
    esac
    on_px --terminal "${find[@]}" --then "$verb" --withFeedBack
    show "${argv[@]}"
    exec "${argv[@]}"
fi

case $report in
    csv)
        words=(--printReport csv --csvPrettify --csvPrintHeaders
            --reportHeaderStudyTags 'PatientName,PatientID,StudyDate'
            --reportBodySeriesTags 'SeriesDescription,SeriesInstanceUID')
        ;;
    tabular | rawText | json) words=(--printReport "$report") ;;
    -*) split_words "$report" ;;
    *) die "--report takes tabular, rawText, csv, json or options of px-report, not '$report'" ;;
esac
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then words=(--colorize dark "${words[@]}"); fi

on_px "${find[@]}" --json
asking=("${argv[@]}")
on_px px-report "${words[@]}"
show "${asking[@]}"
show "${argv[@]}"
status=0
"${asking[@]}" | "${argv[@]}" || status=("${PIPESTATUS[@]}")
for code in "${status[@]}"; do
    [[ $code -eq 0 ]] || exit "$code"
done
