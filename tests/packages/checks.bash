# What the tests of packages have in common: to be sourced by bash.

passed=0
failed=0
answer='' # what the last command said, on both outputs

act() { printf '\n%s\n' "$*"; }

# check WHAT COMMAND...: says whether the command succeeded, and counts.
check() {
    local what=$1
    shift
    if "$@"; then
        printf '  ok    %s\n' "$what"
        passed=$((passed + 1))
    else
        printf '  FAIL  %s\n' "$what"
        [[ -z $answer ]] || sed 's/^/        | /' <<<"$answer"
        failed=$((failed + 1))
    fi
}

# says STATUS PATTERN COMMAND...: the command ends with this status, and its output has the pattern in it.
says() {
    local expected=$1 pattern=$2 status=0
    shift 2
    answer=$("$@" 2>&1 </dev/null) || status=$?
    if ((status != expected)); then answer+=$'\n'"(status $status, not $expected)"; fi
    ((status == expected)) && [[ $answer =~ $pattern ]]
}

does() { says 0 '' "$@"; }
fails() { ! "$@"; }
equal() { [[ $1 == "$2" ]] || { printf '  %s, not %s\n' "$1" "$2"; false; }; }

# wait_for COMMAND...: until the command succeeds; fails if that takes longer than PATIENCE_S.
wait_for() {
    local deadline=$((SECONDS + PATIENCE_S))
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
