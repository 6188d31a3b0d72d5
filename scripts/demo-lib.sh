# shellcheck shell=bash disable=SC2154,SC2034 # scripts/demo sources this and owns the variables
# Owns what the steps of the demo share: titles, waiting, the live line, and one load with its verification.

step_number=0

title() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s%s  (%s s)%s\n' "$bold" "$step_number" "$*" "$plain" "$dim" "$(seconds_since "$demo_begun")" "$plain"
}

# curl_line BASE: the one line that the README shows and the demo posts.
curl_line() {
    printf '%s' "curl -H 'Content-Type: application/json' $1/send" \
        " -d '{\"action\":\"Create\",\"message_id\":1,\"data\":{\"name\":\"Ada\",\"message\":\"Hello\"}}'"
    printf '\n'
}

# One demo at a time in one checkout.
claim_home() {
    local other
    mkdir -p "$home"
    other=$(cat "$home/pid" 2>/dev/null || true)
    if [[ -n $other ]] && is_running "$other" && grep -qa demo "/proc/$other/cmdline" 2>/dev/null; then
        die "a demo runs in this checkout already (process $other): end it first, or use another clone."
    fi
    printf '%s\n' $$ >"$home/pid"
}

sluice_log_hint() {
    printf 'the last lines of %s:\n' "${home#"$top"/}/sluice.log"
    tail -n 20 "$home/sluice.log"
}

find_psql() {
    local candidate
    for candidate in "$(command -v psql || true)" /usr/lib/postgresql/*/bin/psql "$(pg_config --bindir 2>/dev/null || true)/psql"; do
        if [[ -x $candidate ]]; then
            psql=$candidate
            return
        fi
    done
    die "psql is missing: install PostgreSQL's client programs (Debian: postgresql-client)."
}

free_port() {
    local port
    for port in {8000..8099}; do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s' "$port"
            return
        fi
    done
    return 1
}

wait_until_ready() {
    local deadline=$((SECONDS + 60))
    until curl -fs --max-time 2 -o /dev/null "$base/readyz" && [[ -s $home/brokers ]]; do
        is_running "$sluice" || die "sluice ended instead of becoming ready; $(sluice_log_hint)"
        ((SECONDS < deadline)) || die "not ready after 60 s: $(curl -s --max-time 2 "$base/readyz"); $(sluice_log_hint)"
        sleep 0.2
    done
}

# wait_for_row CONDITION SECONDS
wait_for_row() {
    local deadline=$((SECONDS + $2))
    until [[ $("$psql" -X -A -t -d "$postgres_bare" -c "SELECT 1 FROM messages WHERE $1 LIMIT 1") == 1 ]]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# metric_sum NAME: the sum over all series of a family in $metrics.
metric_sum() {
    awk -v name="$1" '$1 == name || index($1, name "{") == 1 { sum += $NF } END { printf "%.0f", sum }' <<<"$metrics"
}

# metric_of SERIES: the value of one series in $metrics, 0 where it is not there.
metric_of() { awk -v series="$1" '$1 == series { value = $NF } END { printf "%.0f", value }' <<<"$metrics"; }

# thousands NUMBER: 1234567 becomes 1,234,567.
thousands() { sed -E ':again; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; t again' <<<"$1"; }

# live_line: one line with what was applied since the last one, and the lag; while PostgreSQL is stopped also credits and pauses.
live_line() {
    local now landed lag rate memory
    if ! metrics=$(curl -fsS --max-time 2 "$base/metrics" 2>/dev/null); then
        say "    no answer from $base/metrics"
        return
    fi
    now=$(now_ms)
    landed=$(metric_sum sluice_events_total)
    lag=$(metric_sum kafka_consumergroup_lag)
    memory=$(($(metric_sum process_resident_memory_bytes) / 1048576))
    rate=$(((landed - live_landed) * 1000 / (now > live_time ? now - live_time : 1)))
    live_time=$now live_landed=$landed
    if [[ -n $meanwhile ]]; then
        printf '%s    %3d s   landed %9s   lag %8s   credits %7s   paused %2d   used %3d of %s   memory %d MiB   %s%s' \
            "$live_start" $((SECONDS - live_begun)) "$(thousands $((landed - live_first)))" "$(thousands "$lag")" \
            "$(thousands "$(metric_of 'sluice_stage_credits{stage="poll",unit="records"}')")" \
            "$(metric_sum sluice_partition_paused)" $(($(metric_of sluice_memory_used_bytes) / 1048576)) "$(memory_budget)" \
            "$memory" "${frozen/thawed/}" "$live_end"
        return
    fi
    printf '%s    %3d s   landed %10s   %8s/s   lag %8s   memory %4d MiB%s' "$live_start" $((SECONDS - live_begun)) \
        "$(thousands $((landed - live_first)))" "$(thousands "$rate")" "$(thousands "$lag")" "$memory" "$live_end"
}

memory_budget() { printf '%d MiB' $(($(metric_of sluice_memory_budget_bytes) / 1048576)); }

# freeze_and_thaw: called again and again while a load runs; stops PostgreSQL's processes in its third second, for $freeze_seconds.
freeze_and_thaw() {
    local used
    used=$(metric_of sluice_memory_used_bytes)
    ((used <= most_memory)) || most_memory=$used
    if [[ -z $frozen ]] && (($(now_ms) >= load_begun + 2000)); then
        # Set first, so that the demo resumes the database however it ends.
        frozen=frozen
        scripts/private-postgres freeze "$server"
        frozen_at=$(now_ms)
    elif [[ $frozen == frozen ]] && (($(now_ms) >= frozen_at + freeze_seconds * 1000)); then
        scripts/private-postgres thaw "$server"
        frozen=thawed
    fi
}

# change_limit RATE BURST: another token bucket for each client, in the file; returns once it is in force.
change_limit() {
    local deadline=$((SECONDS + 15)) file=$home/config/sluice.yaml
    sed -i -E "s/(\{name: burst, .*bucket: \{)[^}]*/\1rate: $1, burst: $2/" "$file"
    grep -q "name: burst, .*rate: $1, burst: $2}" "$file" || die "$file has no policy named burst to change."
    until metrics=$(curl -fsS --max-time 5 "$base/metrics") &&
        [[ $(metric_of 'sluice_ratelimit_quota_requests{policy="burst"}') == "$2" ]]; do
        ((SECONDS < deadline)) || die "the changed limit is not in force after 15 s; $(sluice_log_hint)"
        sleep 0.2
    done
    say "the policy burst is now $1 a second and $2 at once (configuration $(metric_of sluice_config_generation))"
}

# send_one: posts an event that is in the table already; prints the answer with its header.
send_one() { eval "$(curl_line "$base") --silent --show-error --include --max-time 15"; }

# run_load TARGET OPTIONS...: one run of the load generator with its verification against the tables, a live line meanwhile, and
# the function in $meanwhile where there is one.
run_load() {
    local name=${load_name:-$1${meanwhile:+-frozen}} status=0 next=0 load_begun
    local log=$home/load-$name.log json=$home/load-$name.json
    # On a terminal the line stays in its place.
    live_start='' live_end=$'\n'
    if [[ -t 1 ]]; then live_start=$'\r\e[K' live_end=''; fi
    metrics=$(curl -fsS --max-time 5 "$base/metrics") || die "$base/metrics does not answer; $(sluice_log_hint)"
    live_first=$(metric_sum sluice_events_total)
    live_landed=$live_first live_time=$(now_ms) live_begun=$SECONDS

    spawn "$build_path/release/sluice-loadtest" --target "$@" --verify --postgres "$postgres_bare" --group "$group" \
        --progress --json "$json" >"$log" 2>&1
    load=$spawned
    next=$((live_time + 1000)) load_begun=$live_time
    while is_running "$load"; do
        if (($(now_ms) >= next)); then
            live_line
            next=$((next + 1000))
        fi
        ${meanwhile:-:}
        is_running "$sluice" || die "sluice ended in the middle of the load; $(sluice_log_hint)"
        sleep 0.1
    done
    wait "$load" 2>/dev/null || status=$?
    load=''
    [[ -z $live_start ]] || printf '%s' "$live_start"
    if ((status != 0)); then
        say "${red}The verification failed (status $status):${plain}"
        grep -a -A 40 -m 1 -E '^(FAILED|error)' "$log" || tail -n 20 "$log"
        die "not every event landed exactly once; the whole report is in ${log#"$top"/}, and sluice's log lies next to it."
    fi
    local line
    line=$(grep -a -m 1 '^VERIFIED' "$log") ||
        die "the load generator succeeded, but printed no verification; see ${log#"$top"/}."
    verified+=("${load_name:-$1}${meanwhile:+, database frozen}: $line")
    say "${green}$line${plain}"
}
