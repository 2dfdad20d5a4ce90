# The settings of deploy.sh: read, checked by the rules of the program, and completed.
# shellcheck shell=bash

read_settings() { # the file is read, not executed
    local line name value number=0
    [[ -r $1 ]] || misuse "the file $1 cannot be read"
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        line=${line%$'\r'}
        line=${line#export }
        case $line in "" | \#*) continue ;; esac
        name=${line%%=*}
        value=${line#*=}
        case $value in \"*\" | \'*\') value=${value:1:${#value}-2} ;; esac
        case " $SETTINGS " in
            *[[:space:]]"$name"[[:space:]]*) [[ -n ${!name:-} ]] || printf -v "$name" '%s' "$value" ;;
            *)
                PROBLEMS+=("line $number of $1 is not one of the settings")
                UNKNOWN="$UNKNOWN$name"$'\n'
                ;;
        esac
    done <"$1"
}

preflight() { # names every problem at once
    local pattern='^[a-z]+-[a-z]+[0-9]+$'
    [[ ${PROJECT_ID:-} =~ ^[a-z][a-z0-9-]{4,28}[a-z0-9]$ ]] \
        || problem PROJECT_ID "a project ID, such as my-project-123"
    [[ ${REGION:-} =~ $pattern ]] || problem REGION "a region, such as europe-west1"
    [[ ${SCHEDULER_REGION:=${REGION:-}} == "${REGION:-}" || $SCHEDULER_REGION =~ $pattern ]] \
        || problem SCHEDULER_REGION "a region, such as europe-west1"
    : "${RUN_TIME_BUDGET_SECONDS:=50}" # deployed with this value, so that the timeouts fit
    if [[ ! $RUN_TIME_BUDGET_SECONDS =~ ^[0-9]{1,4}$ ]] || ((10#$RUN_TIME_BUDGET_SECONDS > 1740)); then
        problem RUN_TIME_BUDGET_SECONDS "a whole number up to 1740: Cloud Scheduler waits half an hour at most"
    fi
    [[ $COMMAND != deploy ]] || check_settings
    if ! $DRY_RUN; then check_tools; fi
    if ((${#PROBLEMS[@]})); then
        say "deploy.sh cannot begin:"
        printf '  - %s\n' "${PROBLEMS[@]}" >&2
        exit 2
    fi
}

problem() { # NAME EXPECTED: a setting that is missing or wrong. Its value is not shown.
    if [[ -n ${!1:-} ]]; then PROBLEMS+=("$1 is not $2"); else PROBLEMS+=("$1 is not set: it should be $2"); fi
}

check_settings() { # by the rules of the program, and then by those of a deployment
    local name found="" problem
    : "${SUPABASE_SECRET_KEY:=${SUPABASE_SERVICE_ROLE_KEY:-}}" "${RUNNER_TOKENS:=${RUNNER_TOKEN:-}}"
    RUNNER_TOKENS=${RUNNER_TOKENS//[[:space:]]/}
    if find_python; then
        found=$({
            for name in $SETTINGS; do printf '%s=%s\0' "$name" "${!name:-}"; done
            printf '%s' "$UNKNOWN"
        } | "$PYTHON" -I runner/environment.py) || fail "runner/environment.py could not check the settings."
    else
        PROBLEMS+=("Python 3.9 or newer is not installed, neither as python3 nor as a part of gcloud")
    fi
    while IFS= read -r problem; do
        [[ -z $problem ]] || PROBLEMS+=("$problem")
    done <<<"$found"
    [[ ${SUPABASE_URL:-} != [hH][tT][tT][pP]:* ]] \
        || PROBLEMS+=("SUPABASE_URL has to begin with https:// here, so that the key does not travel in the clear")
    if $MIGRATE && [[ ${SUPABASE_URL:-} != https://*.supabase.co* ]]; then
        PROBLEMS+=("--migrate needs a hosted project, https://….supabase.co; elsewhere apply supabase/migrations yourself")
    fi
    for name in OIDC_AUDIENCE OIDC_SERVICE_ACCOUNT; do
        [[ -z ${!name:-} ]] || PROBLEMS+=("$name is set, but deploy.sh decides it: leave it empty")
    done
    for name in $PLAIN_SETTINGS; do
        [[ ${!name:-} != *['|'$'\n']* ]] || PROBLEMS+=("$name holds a | or a line break")
    done
    [[ -z ${ALERT_EMAIL:-} || $ALERT_EMAIL == ?*@?*.?* && $ALERT_EMAIL != *[,=[:space:]]* ]] \
        || problem ALERT_EMAIL "an e-mail address"
}

find_python() { # sets PYTHON. gcloud is asked last, because its answer takes a second.
    local is_new_enough="import sys; sys.exit(sys.version_info < (3, 9))"
    PYTHON=python3
    if "$PYTHON" -I -c "$is_new_enough" 2>/dev/null; then return; fi
    PYTHON=$(gcloud info --format="value(basic.python_location)" 2>/dev/null) || return
    "$PYTHON" -I -c "$is_new_enough" 2>/dev/null
}

check_tools() {
    if $MIGRATE && ! command -v supabase >/dev/null; then
        PROBLEMS+=("supabase is not installed, which --migrate needs: https://supabase.com/docs/guides/local-development")
    fi
    command -v curl >/dev/null || PROBLEMS+=("curl is not installed")
    if ! command -v gcloud >/dev/null; then
        PROBLEMS+=("gcloud is not installed: https://cloud.google.com/sdk/docs/install")
    elif [[ -z $(gcloud auth list --filter="status:ACTIVE" --format="value(account)" 2>/dev/null) ]]; then
        PROBLEMS+=("nobody is logged in: gcloud auth login")
    elif [[ -n ${PROJECT_ID:-} ]] \
        && ! gcloud projects describe "$PROJECT_ID" --format="value(projectId)" >/dev/null 2>&1; then
        PROBLEMS+=("the project $PROJECT_ID does not exist, or this account may not see it")
    fi
}

derive() {
    # A run ends at most one step after its budget. The function waits for that, and the Scheduler for the function.
    TIMEOUT=$((10#$RUN_TIME_BUDGET_SECONDS + 30))
    AUDIENCE="projects/$PROJECT_ID/locations/$REGION/services/$SERVICE"
    readonly AUDIENCE
    export CLOUDSDK_CORE_PROJECT=$PROJECT_ID CLOUDSDK_CORE_DISABLE_PROMPTS=1
    if $DRY_RUN; then
        [[ $COMMAND == deploy ]] || DRY_VERSION=1
        printf '%s\n' "export CLOUDSDK_CORE_PROJECT=$PROJECT_ID CLOUDSDK_CORE_DISABLE_PROMPTS=1"
        exec 2>&1 # one script, with its headings
    fi
}
