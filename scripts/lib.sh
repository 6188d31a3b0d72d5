# shellcheck shell=bash disable=SC2034 # the scripts that source this use its variables
# Owns what the scripts share: messages, waiting for long commands, and ending what they started.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$top/.sluice
logs=$state/log
# One build folder for every script, so that nothing is built twice.
build_path=$top/.build

# Colours only on a terminal.
bold='' dim='' red='' green='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }

# Prints one sentence that says what is wrong and what to do about it, and exits with 1.
die() {
    printf '%s%s: %s%s\n' "$red" "${0##*/}" "$*" "$plain" >&2
    exit 1
}

# spawn COMMAND...: starts it in a process group of its own and leaves its id in $spawned. Ctrl-C on the terminal then reaches
# only the script, whose trap decides in which order things end; if the script itself is killed, the kernel ends the command.
spawn() {
    local prefix=()
    if setpriv --pdeathsig TERM true 2>/dev/null; then prefix=(setpriv --pdeathsig TERM); fi
    set -m
    "${prefix[@]}" "$@" </dev/null &
    spawned=$!
    set +m
}

# is_running PID: a zombie counts as ended.
is_running() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    stat=${stat##*) }
    [[ $stat != Z* ]]
}

# end_process PID SECONDS: asks the leader of a spawned group to end, waits that long, then kills what is left of the group.
end_process() {
    local pid=$1 deadline=$((SECONDS + $2))
    kill -TERM "$pid" 2>/dev/null || true
    while is_running "$pid" && ((SECONDS < deadline)); do sleep 0.1; done
    kill -KILL -- "-$pid" 2>/dev/null || true
}

# end_group PID SECONDS: the same, but every process of the group is asked.
end_group() {
    kill -TERM -- "-$1" 2>/dev/null || true
    end_process "$1" "$2"
}

# on_exit FUNCTION: runs it once, however the script ends; neither a second Ctrl-C nor a failing step interrupts it.
on_exit() {
    # shellcheck disable=SC2064 # the name is meant to be expanded now
    trap "set +e; trap '' INT TERM HUP; $1" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
}

# The command that the script waits for, in a process group of its own.
attended=''

# attend COMMAND...: runs a command and returns its status; a signal to the script is handled at once, and ends the command first
# if the script has called `on_exit end_attended`.
attend() {
    local status=0
    spawn "$@"
    attended=$spawned
    wait "$attended" || status=$?
    attended=''
    return "$status"
}

# end_attended [SECONDS]
end_attended() { [[ -z $attended ]] || end_group "$attended" "${1:-40}"; }

# logged LABEL NAME COMMAND...: runs a command that may take long with its output in .sluice/log/NAME.log, shows its progress
# and how long it took, and on failure its errors, or its last lines ($failure_lines). Returns its status.
logged() {
    local label=$1 log=$logs/$2.log begun=$SECONDS shown=$SECONDS last status=0
    shift 2
    mkdir -p "$logs"
    [[ -t 1 ]] || say "$label ..."
    spawn "$@" >"$log" 2>&1
    attended=$spawned
    while is_running "$attended"; do
        if [[ -t 1 ]]; then
            last=$(tail -c 400 "$log" | tr '\r' '\n' | tail -n 1 | tr -cd '[:print:]')
            printf '\r\e[K%s ... %s%d s  %.70s%s' "$label" "$dim" $((SECONDS - begun)) "$last" "$plain"
        elif ((SECONDS - shown >= 10)); then
            shown=$SECONDS
            last=$(tail -c 400 "$log" | tr '\r' '\n' | tail -n 1 | tr -cd '[:print:]')
            printf '    %d s  %.90s\n' $((SECONDS - begun)) "$last"
        fi
        sleep 0.2
    done
    wait "$attended" 2>/dev/null || status=$?
    attended=''
    [[ ! -t 1 ]] || printf '\r\e[K'
    if ((status == 0)); then
        say "$label: done in $((SECONDS - begun)) s"
    else
        say "$label: failed after $((SECONDS - begun)) s; the whole output is in ${log#"$top"/}"
        grep -E 'error:|warning:' "$log" | sort -u | head -n 40 || tail -n "${failure_lines:-30}" "$log"
    fi
    return "$status"
}

# build_release PRODUCT...: one call for each product, because SwiftPM takes a single --product.
build_release() {
    local product
    for product in "$@"; do
        logged "release build of $product" "build-$product" \
            swift build -c release --build-path "$build_path" --product "$product" ||
            die "the release build failed; the errors above say where."
    done
}

build_tests() {
    logged "debug build with tests" build-tests swift build --build-tests --build-path "$build_path" ||
        die "the build failed; the errors above say where."
}

# Milliseconds since 1970.
now_ms() { printf '%s' $((${EPOCHREALTIME/[.,]/} / 1000)); }

# seconds_since MILLISECONDS: "12.3", for a start taken with `now_ms`.
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# find_kafka_home: exports KAFKA_HOME, as given, or from ../shared/kafka; leaves it unset if there is none.
find_kafka_home() {
    local default=$top/../shared/kafka starter=bin/kafka-server-start.sh
    if [[ -z ${KAFKA_HOME:-} ]]; then
        [[ -f $default/$starter ]] || return 0
        KAFKA_HOME=$default
    fi
    [[ -f $KAFKA_HOME/$starter ]] ||
        die "KAFKA_HOME=$KAFKA_HOME holds no $starter: point it to an unpacked Apache Kafka (https://kafka.apache.org/downloads)."
    KAFKA_HOME=$(cd "$KAFKA_HOME" && pwd)
    export KAFKA_HOME
}

# python_tools FOLDER PACKAGE==VERSION...: a virtual environment under .sluice with these packages of PyPI; leaves its programs in
# $python_tools. Returns 1 if they cannot be had.
python_tools() {
    python_tools=$state/$1/bin
    local wanted="${*:2}"
    [[ ! -f $state/$1/installed || $(<"$state/$1/installed") != "$wanted" ]] || return 0
    rm -rf "${state:?}/$1"
    mkdir -p "$state"
    # shellcheck disable=SC2016 # for the inner shell
    logged "from PyPI: $wanted" "$1" timeout 180 bash -c 'python3 -m venv "$1" && "$1/bin/pip" --disable-pip-version-check install "${@:2}"' \
        _ "$state/$1" "${@:2}" || return 1
    printf '%s' "$wanted" >"$state/$1/installed"
}
