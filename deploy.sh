#!/usr/bin/env bash
# Puts the campaign runner on Google Cloud, behind a Cloud Scheduler job that calls it every minute. See --help, and
# docs/operations.md. It needs bash, curl, gcloud, and a Python that is 3.9 or newer: gcloud often brings one.
#
# Every step looks first at what is there, so that the script may be run again after a success, a failure or Ctrl-C.
# Secrets go to other programs by a pipe, never as an argument.
set -euo pipefail
set +x # a trace would show the secrets
umask 077

readonly SERVICE=campaign-runner
readonly RUNTIME_ACCOUNT=campaign-runner        # runs the function; may read its two secrets and nothing else
readonly CALLER_ACCOUNT=campaign-runner-caller  # the Scheduler's identity; has no role at all
readonly BUILD_ACCOUNT=campaign-runner-build    # builds the container, with Google's role for that
readonly KEY_SECRET=campaign-runner-supabase-secret-key
readonly TOKENS_SECRET=campaign-runner-tokens
readonly TICKS_METRIC=campaign_runner_ticks
readonly ERRORS_POLICY="Campaign runner: errors"
readonly TICKS_POLICY="Campaign runner: no successful tick"
readonly STUCK_POLICY="Campaign runner: a due campaign is not being launched"
readonly HEALTH_JOB="campaign-runner-health"
readonly CHANNEL="Campaign runner"
readonly APIS=(run cloudbuild artifactregistry secretmanager cloudscheduler iam logging monitoring)

# What is passed on to the function as it is. The key and the tokens go by Secret Manager, the rest is set here.
readonly PLAIN_SETTINGS="SUPABASE_URL SYSTEM_USER_ID SYSTEM_USER_ROLES RUN_TIME_BUDGET_SECONDS RUN_CONCURRENCY STEP_ROWS
    MAX_LATENESS_MINUTES HEALTH_MAX_LATENESS_MINUTES LOG_LEVEL"
readonly SECRET_SETTINGS="SUPABASE_SECRET_KEY SUPABASE_SERVICE_ROLE_KEY RUNNER_TOKENS RUNNER_TOKEN"
readonly OWN_SETTINGS="GOOGLE_CLOUD_PROJECT OIDC_AUDIENCE OIDC_SERVICE_ACCOUNT"
readonly DEPLOY_SETTINGS="PROJECT_ID REGION SCHEDULER_REGION ALERT_EMAIL SUPABASE_ACCESS_TOKEN SUPABASE_DB_PASSWORD"
readonly SETTINGS="$PLAIN_SETTINGS $SECRET_SETTINGS $OWN_SETTINGS $DEPLOY_SETTINGS"

COMMAND=deploy ENV_FILE="" MIGRATE=false YES=false DRY_RUN=false PYTHON="" UNKNOWN=""
STEP="" PROBLEMS=() VERSION="" DRY_VERSION="" URL="" STATUS="" BODY="" COMPLETE="" CHANNEL_NAME=""

usage() {
    cat <<'END'
Puts the campaign runner on Google Cloud, behind a Cloud Scheduler job that calls it every minute.

  ./deploy.sh [OPTIONS]               deploy, or deploy again
  ./deploy.sh [OPTIONS] start         show what is due, ask, and start the Scheduler job
  ./deploy.sh [OPTIONS] rotate-token  replace the static token without a failed call
  ./deploy.sh [OPTIONS] --destroy     take away what this script made, after asking

  --env-file FILE  read settings from a file of NAME=VALUE lines; the environment has precedence
  --migrate        apply supabase/migrations first, with the Supabase CLI
  --yes            ask nothing. A Scheduler job that somebody paused stays paused, unless the command is start
  --dry-run        print the commands and run none; needs no login, no network, no cloud tools
  -h, --help       this text

Settings: PROJECT_ID and REGION of Google Cloud; SCHEDULER_REGION, if Cloud Scheduler does not exist in REGION; those of
the function, as in .env.example; ALERT_EMAIL, which the alerts go to; for --migrate, SUPABASE_ACCESS_TOKEN and
SUPABASE_DB_PASSWORD. Without RUNNER_TOKENS a token is made.

It is safe to repeat. It launches no campaign: the Scheduler job starts only after you have seen what is due.
Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 deployed but not started.
END
}

main() {
    parse_arguments "$@"
    [[ -z $ENV_FILE ]] || read_settings "$ENV_FILE"
    # From here on the secrets are variables of this shell alone, and in nobody's environment.
    export -n SUPABASE_SECRET_KEY SUPABASE_SERVICE_ROLE_KEY RUNNER_TOKENS RUNNER_TOKEN \
        SUPABASE_ACCESS_TOKEN SUPABASE_DB_PASSWORD
    cd "$(dirname "${BASH_SOURCE[0]}")"
    trap finish EXIT
    preflight
    derive
    case $COMMAND in
        deploy) deploy ;;
        start) start ;;
        rotate-token) rotate_token ;;
        destroy) destroy ;;
    esac
}

# ---------------------------------------------------------------------------------------------------- the commands

deploy() {
    if $MIGRATE; then migrate; fi
    step "Enabling the APIs"
    run gcloud services enable "${APIS[@]/%/.googleapis.com}"
    step "Service accounts"
    make_account $RUNTIME_ACCOUNT "Campaign runner: runs the function"
    make_account $CALLER_ACCOUNT "Campaign runner: calls the function"
    make_account $BUILD_ACCOUNT "Campaign runner: builds the function"
    patiently run gcloud projects add-iam-policy-binding "$PROJECT_ID" \
        --member="serviceAccount:$(email_of $BUILD_ACCOUNT)" --role=roles/run.builder --condition=None --format=none
    deploy_function
    alert "$ERRORS_POLICY" "$(errors_policy)"
    alert "$STUCK_POLICY" "$(stuck_policy)"
    start
}

deploy_function() {
    local secrets settings
    step "Secrets"
    store_key
    secrets="SUPABASE_SECRET_KEY=$KEY_SECRET:$VERSION"
    store_tokens
    secrets="$secrets,RUNNER_TOKENS=$TOKENS_SECRET:$VERSION"
    step "The function (this builds a container, which takes some minutes)"
    settings="$(function_settings)"
    # It is open to the internet and refuses strangers itself: docs/operations.md says why.
    run gcloud run deploy $SERVICE --region="$REGION" --source=. --function=run_campaigns --base-image=python314 \
        --service-account="$(email_of $RUNTIME_ACCOUNT)" \
        --build-service-account="projects/$PROJECT_ID/serviceAccounts/$(email_of $BUILD_ACCOUNT)" \
        --no-invoker-iam-check --set-env-vars="$settings" --set-secrets="$secrets" \
        --cpu=1 --memory=512Mi --cpu-boost --concurrency=4 --max-instances=3 --timeout="${TIMEOUT}s"
}

start() {
    local state ticks="resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"$SERVICE\""
    ticks="$ticks AND httpRequest.requestUrl:\"run-automation\" AND httpRequest.status=200 AND httpRequest.userAgent=\"Google-Cloud-Scheduler\""
    find_url
    step "A dry run: what is due already"
    dry_call
    step "The Scheduler job"
    state=$(ask "" gcloud scheduler jobs list --location="$SCHEDULER_REGION" --filter="name~/$SERVICE\$" \
        --format="value(state)")
    case $state in
        "")
            confirm "Start the job? It launches the campaigns above within a minute." || not_started
            schedule create
            ;;
        PAUSED)
            schedule update
            if $YES && [[ $COMMAND != start ]]; then
                say "Somebody paused the job, and it stays paused. To start it: ./deploy.sh start"
                not_started
            fi
            confirm "Somebody paused the job. Resume it? It launches the campaigns above." || not_started
            run gcloud scheduler jobs resume $SERVICE --location="$SCHEDULER_REGION"
            ;;
        *) schedule update ;;
    esac
    step "A look at the health every five minutes"
    if found gcloud scheduler jobs list --location="$SCHEDULER_REGION" --filter="name~/$HEALTH_JOB\$" \
        --format="value(name)"; then
        schedule_health update
    else
        schedule_health create
    fi
    step "An alert when the ticks cease"
    if ! found gcloud logging metrics list --filter="name=$TICKS_METRIC" --format="value(name)"; then
        run gcloud logging metrics create $TICKS_METRIC --description="Answers of 200 to Cloud Scheduler" \
            --log-filter="$ticks"
    fi
    alert "$TICKS_POLICY" "$(ticks_policy)"
    say "Done: $URL is called every minute."
    say "Its static token: gcloud secrets versions access latest --secret=$TOKENS_SECRET --project=$PROJECT_ID"
    [[ -n $CHANNEL_NAME ]] || say "No ALERT_EMAIL is set: the alerts are shown in the console, and sent to nobody."
}

rotate_token() {
    local tokens new
    find_url
    step "Both tokens are valid"
    VERSION=$(latest_version $TOKENS_SECRET)
    tokens=$(secret_value $TOKENS_SECRET "$VERSION")
    if [[ $tokens != *,* ]]; then
        new=$(make_token)
        add_version $TOKENS_SECRET "$new,$tokens"
        tokens="$new,$tokens"
    else # the first half of a rotation has been done, now or earlier
        say "Several tokens are stored: going on with the first of them as the new one."
        new=${tokens%%,*}
    fi
    use_tokens
    wait_for_token "$new"
    say "Give the new token to every caller that has the old one (cron, pg_cron, Edge Function, people):"
    say "    gcloud secrets versions access $VERSION --secret=$TOKENS_SECRET --project=$PROJECT_ID | cut -d, -f1"
    say "The Scheduler job has no token and is not concerned."
    if ! confirm "Have they all got it? The old token ends now."; then
        say "Both tokens stay valid. Go on at any time with: ./deploy.sh rotate-token"
        exit 3
    fi
    step "The old token ends"
    add_version $TOKENS_SECRET "$new"
    use_tokens
    wait_for_token "$new"
    disable_versions_but "$VERSION"
    say "Done: only the new token is accepted."
}

destroy() {
    local account policy channel secret job
    confirm "Take away the function, its jobs, alerts, secrets and accounts in $PROJECT_ID? The database stays." || exit 3
    step "The Scheduler jobs"
    for job in $SERVICE $HEALTH_JOB; do
        if found gcloud scheduler jobs list --location="$SCHEDULER_REGION" --filter="name~/$job\$" \
            --format="value(name)"; then
            run gcloud scheduler jobs delete "$job" --location="$SCHEDULER_REGION"
        fi
    done
    step "Alerts"
    for policy in "$TICKS_POLICY" "$STUCK_POLICY" "$ERRORS_POLICY"; do
        policy=$(policy_named "$policy")
        [[ -z $policy ]] || run gcloud alpha monitoring policies delete "$policy"
    done
    channel=$(find_channel)
    [[ -z $channel ]] || run gcloud beta monitoring channels delete "$channel"
    if found gcloud logging metrics list --filter="name=$TICKS_METRIC" --format="value(name)"; then
        run gcloud logging metrics delete $TICKS_METRIC
    fi
    step "The function and its container images"
    if found gcloud run services list --region="$REGION" --filter="metadata.name=$SERVICE" \
        --format="value(metadata.name)"; then
        run gcloud run services delete $SERVICE --region="$REGION"
    fi
    if found gcloud artifacts repositories list --location="$REGION" --filter="name~/cloud-run-source-deploy\$" \
        --format="value(name)" \
        && found gcloud artifacts packages list --repository=cloud-run-source-deploy --location="$REGION" \
            --filter="name~/$SERVICE\$" --format="value(name)"; then
        run gcloud artifacts packages delete $SERVICE --repository=cloud-run-source-deploy --location="$REGION"
    fi
    step "Secrets"
    for secret in $KEY_SECRET $TOKENS_SECRET; do
        if secret_exists "$secret"; then run gcloud secrets delete "$secret"; fi
    done
    step "Service accounts"
    if account_exists $BUILD_ACCOUNT; then
        run gcloud projects remove-iam-policy-binding "$PROJECT_ID" \
            --member="serviceAccount:$(email_of $BUILD_ACCOUNT)" --role=roles/run.builder --condition=None --format=none
    fi
    for account in $BUILD_ACCOUNT $CALLER_ACCOUNT $RUNTIME_ACCOUNT; do
        if account_exists "$account"; then run gcloud iam service-accounts delete "$(email_of "$account")"; fi
    done
    say "Done. What others may use too was left: the enabled APIs, the repository cloud-run-source-deploy, the bucket of"
    say "sources. In the database, supabase/uninstall.sql takes away what is the runner's."
}

# ------------------------------------------------------------------------------------------------------- the parts

migrate() {
    step "Migrations"
    local host=${SUPABASE_URL#https://} push=(supabase db push --linked) errors
    if $YES; then push+=(--yes); fi
    # The CLI reads them from its environment, and asks for what is not there.
    [[ -z ${SUPABASE_ACCESS_TOKEN:-} ]] || export SUPABASE_ACCESS_TOKEN
    [[ -z ${SUPABASE_DB_PASSWORD:-} ]] || export SUPABASE_DB_PASSWORD
    run supabase link --project-ref "${host%%.*}"
    if $DRY_RUN; then
        show "${push[@]}"
    else
        show "${push[@]}" >&2
        errors=$(mktemp)
        # Its standard output stays the terminal, on which it asks.
        { "${push[@]}" 2>&1 >&4 | tee "$errors" >&4; } 4>&2 || push_failed "$errors"
        rm "$errors"
    fi
    export -n SUPABASE_ACCESS_TOKEN SUPABASE_DB_PASSWORD
}

push_failed() { # ERRORS: the file that has them
    local errors
    errors=$(<"$1")
    rm "$1"
    [[ $errors == *"Remote migration versions not found"* ]] || exit 1
    STEP="" # the same command would fail again
    fail "The project has migrations of its own, and the CLI pushes only a folder that holds all of them.
Copy the runner's migrations beside those of the project, push from there, and deploy without --migrate:
    python -m runner migrations DIRECTORY   # the folder that holds the project's folder supabase
    cd DIRECTORY && supabase db push
Never run the \`supabase migration repair\` that the CLI advises: it would mark the project's migrations as reverted."
}

make_account() {
    if ! account_exists "$1"; then run gcloud iam service-accounts create "$1" --display-name="$2"; fi
}

store_key() {
    local stored=""
    make_secret $KEY_SECRET
    VERSION=$(latest_version $KEY_SECRET)
    [[ -z $VERSION ]] || stored=$(secret_value $KEY_SECRET "$VERSION")
    if [[ $stored != "$SUPABASE_SECRET_KEY" ]]; then add_version $KEY_SECRET "$SUPABASE_SECRET_KEY"; fi
}

# Stored tokens are kept: a settings file that was not told about a rotation must not bring the old token back.
store_tokens() {
    local stored
    make_secret $TOKENS_SECRET
    VERSION=$(latest_version $TOKENS_SECRET)
    if [[ -z $VERSION ]]; then
        add_version $TOKENS_SECRET "${RUNNER_TOKENS:-$(make_token)}"
        return
    fi
    stored=$(secret_value $TOKENS_SECRET "$VERSION")
    if [[ -n $RUNNER_TOKENS && $stored != "$RUNNER_TOKENS" ]]; then
        say "RUNNER_TOKENS differs from what is stored, which is kept. To replace it: ./deploy.sh rotate-token"
    fi
}

make_secret() {
    if ! secret_exists "$1"; then
        run gcloud secrets create "$1" --replication-policy=user-managed --locations="$REGION"
        DRY_VERSION=""
    fi
    patiently run gcloud secrets add-iam-policy-binding "$1" --role=roles/secretmanager.secretAccessor \
        --member="serviceAccount:$(email_of $RUNTIME_ACCOUNT)" --format=none
}

add_version() { # sets VERSION
    say "# the value comes by standard input"
    run gcloud secrets versions add "$1" --data-file=- < <(printf '%s' "$2")
    if $DRY_RUN; then DRY_VERSION=1; fi
    VERSION=$(latest_version "$1")
    [[ -n $VERSION ]] || fail "Secret Manager does not show the version of $1 that was just added."
}

use_tokens() {
    run gcloud run services update $SERVICE --region="$REGION" --update-secrets="RUNNER_TOKENS=$TOKENS_SECRET:$VERSION"
}

wait_for_token() {
    local attempt answers=0
    if $DRY_RUN; then return; fi
    for ((attempt = 1; attempt <= 60; attempt++)); do
        call "$1" || STATUS="none"
        if [[ $STATUS == 200 ]]; then answers=$((answers + 1)); else answers=0; fi
        if ((answers == 3)); then return; fi # in a row, as instances of before may still answer
        sleep 2
    done
    fail "The new token is not answered with 200 (the last answer: $STATUS). Both tokens stay valid."
}

disable_versions_but() {
    local version
    for version in $(ask OLD_VERSION gcloud secrets versions list $TOKENS_SECRET --filter="state=ENABLED" \
        --format="value(name.basename())"); do
        [[ $version == "$1" ]] || run gcloud secrets versions disable "$version" --secret=$TOKENS_SECRET
    done
}

function_settings() { # for --set-env-vars, with | between them, because the values may hold commas
    local name all="^|^GOOGLE_CLOUD_PROJECT=$PROJECT_ID|THREADS=4|OIDC_AUDIENCE=$AUDIENCE"
    all="$all|OIDC_SERVICE_ACCOUNT=$(email_of $CALLER_ACCOUNT)"
    for name in $PLAIN_SETTINGS; do
        if [[ -n ${!name:-} ]]; then all="$all|$name=${!name}"; fi
    done
    printf '%s' "$all"
}

find_url() {
    local described
    described=$(ask "https://URL-OF-THE-FUNCTION $TIMEOUT" gcloud run services describe $SERVICE --region="$REGION" \
        --format="value(status.url,spec.template.spec.timeoutSeconds)")
    read -r URL TIMEOUT <<<"$described"
    [[ -n $TIMEOUT ]] || fail "The function has no URL yet: see gcloud run services describe $SERVICE --region=$REGION"
}

# Shows what a run would launch now. The stored tokens are read, not those of the settings, which may be older.
dry_call() {
    local version tokens campaign='{"campaign_id"' line
    version=$(latest_version $TOKENS_SECRET)
    tokens=$(secret_value $TOKENS_SECRET "$version")
    if $DRY_RUN; then
        show curl --request POST --header "Authorization: Bearer …" "$URL/?dry_run=true"
        return
    fi
    call "${tokens%%,*}" || fail "$URL does not answer."
    case $STATUS in
        200) ;;
        401) fail "The function refuses the stored token: run ./deploy.sh, so that it gets the latest version." ;;
        *) fail "The function answered $STATUS: $BODY
Its log says more: gcloud run services logs read $SERVICE --region=$REGION --project=$PROJECT_ID --limit=20" ;;
    esac
    line=$'\n    '$campaign
    say "${BODY//"$campaign"/$line}"
    [[ $COMPLETE == true ]] || say "There is more than one run can show."
}

call() { # POST a dry run with this token; sets STATUS, BODY and COMPLETE. Returns 1 if there is no answer.
    local answer head token=$1
    token=${token//\\/\\\\}
    token=${token//\"/\\\"}
    answer=$(curl --silent --show-error --include --suppress-connect-headers --max-time "$TIMEOUT" --request POST \
        --config <(printf 'header = "Authorization: Bearer %s"\n' "$token") "$URL/?dry_run=true") || return 1
    head=${answer%%$'\r\n\r\n'*}
    BODY=${answer#*$'\r\n\r\n'}
    STATUS=${head#* }
    STATUS=${STATUS%%[!0-9]*}
    COMPLETE=$(tr '[:upper:]' '[:lower:]' <<<"$head" | tr -d '\r' | sed -n 's/^x-run-complete: *//p')
}

schedule() { # create or update
    run gcloud scheduler jobs "$1" http $SERVICE --location="$SCHEDULER_REGION" \
        --schedule="* * * * *" --time-zone=Etc/UTC --description="Launches the campaigns that are due" \
        --uri="$URL/api/campaigns/run-automation" --http-method=POST \
        --oidc-service-account-email="$(email_of $CALLER_ACCOUNT)" --oidc-token-audience="$AUDIENCE" \
        --attempt-deadline="$((TIMEOUT + 30))s" --max-retry-attempts=2 --min-backoff=5s --max-backoff=20s
}

schedule_health() { # create or update
    # A 503 of /health is no failure of the call, so it is not tried again. The function logs what it found.
    run gcloud scheduler jobs "$1" http $HEALTH_JOB --location="$SCHEDULER_REGION" \
        --schedule="*/5 * * * *" --time-zone=Etc/UTC --uri="$URL/health" --http-method=GET \
        --description="Looks whether every due campaign is being launched" \
        --oidc-service-account-email="$(email_of $CALLER_ACCOUNT)" --oidc-token-audience="$AUDIENCE" \
        --attempt-deadline=60s --max-retry-attempts=0
}

alert() { # DISPLAY_NAME POLICY: makes an alerting policy, or brings it up to date. alpha: where all releases have it.
    local name
    step "Alert: $1"
    prepare_channel
    name=$(policy_named "$1")
    if [[ -z $name ]]; then
        set -- create --policy="$2" ${CHANNEL_NAME:+--notification-channels="$CHANNEL_NAME"}
    else
        set -- update "$name" --policy="$2" ${CHANNEL_NAME:+--set-notification-channels="$CHANNEL_NAME"}
    fi
    run gcloud alpha monitoring policies "$@" --format=none
}

prepare_channel() { # sets CHANNEL_NAME, unless there is none and no address for one
    [[ -z $CHANNEL_NAME ]] || return 0
    CHANNEL_NAME=$(find_channel)
    [[ -n ${ALERT_EMAIL:-} ]] || return 0
    if [[ -z $CHANNEL_NAME ]]; then
        run gcloud beta monitoring channels create --display-name="$CHANNEL" --type=email \
            --channel-labels="email_address=$ALERT_EMAIL" --format=none
        CHANNEL_NAME=$(if $DRY_RUN; then echo CHANNEL; else find_channel; fi)
    else
        run gcloud beta monitoring channels update "$CHANNEL_NAME" \
            --update-channel-labels="email_address=$ALERT_EMAIL" --format=none
    fi
}

errors_policy() {
    cat <<END
{
  "displayName": "$ERRORS_POLICY",
  "combiner": "OR",
  "conditions": [{
    "displayName": "An error in the log of $SERVICE",
    "conditionMatchedLog": {
      "filter": "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"$SERVICE\" AND severity>=ERROR"
    }
  }],
  "alertStrategy": {"notificationRateLimit": {"period": "3600s"}, "autoClose": "86400s"},
  "documentation": {"mimeType": "text/markdown", "content": "See docs/operations.md: When no campaign starts."}
}
END
}

stuck_policy() {
    cat <<END
{
  "displayName": "$STUCK_POLICY",
  "combiner": "OR",
  "conditions": [{
    "displayName": "GET /health of $SERVICE was answered with 503, since a due campaign is not being launched",
    "conditionMatchedLog": {
      "filter": "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"$SERVICE\" AND jsonPayload.event=\"campaign_stuck\""
    }
  }],
  "alertStrategy": {"notificationRateLimit": {"period": "3600s"}, "autoClose": "86400s"},
  "documentation": {"mimeType": "text/markdown", "content": "python -m runner doctor names the campaign, the cause and the remedy."}
}
END
}

# absent(), because a metric that never had a value does not fall below anything either. The ten minutes are the
# duration, so that the first minutes after a deployment are no alarm.
ticks_policy() {
    cat <<END
{
  "displayName": "$TICKS_POLICY",
  "combiner": "OR",
  "conditions": [{
    "displayName": "No answer of 200 to Cloud Scheduler in 10 minutes",
    "conditionPrometheusQueryLanguage": {
      "query": "absent(sum(increase(logging_googleapis_com:user_$TICKS_METRIC{monitored_resource=\"cloud_run_revision\"}[2m])) > 0)",
      "duration": "600s",
      "evaluationInterval": "60s"
    }
  }],
  "alertStrategy": {"autoClose": "86400s"},
  "documentation": {"mimeType": "text/markdown", "content": "See docs/operations.md: When no campaign starts."}
}
END
}

# ------------------------------------------------------------------------------------------- questions to the cloud

account_exists() { found gcloud iam service-accounts list --filter="email=$(email_of "$1")" --format="value(email)"; }

secret_exists() { found gcloud secrets list --filter="name~/$1\$" --format="value(name)"; }

latest_version() { # empty: none
    ask "$DRY_VERSION" gcloud secrets versions list "$1" --filter="state=ENABLED" --sort-by="~createTime" --limit=1 \
        --format="value(name.basename())"
}

secret_value() { ask "" gcloud secrets versions access "$2" --secret="$1"; }

policy_named() {
    ask "$(if_destroying POLICY)" gcloud alpha monitoring policies list --filter="displayName=\"$1\"" \
        --format="value(name)"
}

find_channel() {
    ask "$(if_destroying CHANNEL)" gcloud beta monitoring channels list --filter="displayName=\"$CHANNEL\"" \
        --format="value(name)"
}

email_of() { printf '%s@%s.iam.gserviceaccount.com' "$1" "$PROJECT_ID"; }

if_destroying() { if [[ $COMMAND == destroy ]]; then printf '%s' "$1"; fi; }

# --------------------------------------------------------------------------------------------------- running things

step() {
    STEP=$1
    say "# $1"
}

say() { # in a dry run, as a comment of the script that it prints
    if $DRY_RUN && [[ $1 != \#* ]]; then printf '# %s\n' "$1" >&2; else printf '%s\n' "$1" >&2; fi
}

fail() {
    say "deploy.sh: $1"
    exit 1
}

show() { # a command, as one can paste it, an option a line
    local word option quote="'\\''" plain='^[A-Za-z0-9_./:=@%+,-]+$' line=""
    for word in "$@"; do
        option=""
        if [[ $word == --*=* ]]; then
            option=${word%%=*}=
            word=${word#*=}
        fi
        [[ $word =~ $plain ]] || word="'${word//\'/$quote}'"
        word=$option$word
        case $word in --*) line="$line \\"$'\n'"    $word" ;; *) line="$line${line:+ }$word" ;; esac
    done
    printf '%s\n' "$line"
}

run() { # a command that changes something
    if $DRY_RUN; then show "$@"; else show "$@" >&2 && "$@" >&2; fi
}

ask() { # ANSWER COMMAND…: what a command that changes nothing prints; in a dry run, that answer
    local answer=$1
    shift
    if $DRY_RUN; then
        show "$@" >&3
        printf '%s' "$answer"
    else
        "$@" || fail "This failed: $(show "$@")"
    fi
}

found() { # whether a listing holds something; in a dry run, what there is when everything is yet to be made, or to go
    local answer
    answer=$(ask "$(if_destroying found)" "$@") || exit 1
    [[ -n $answer ]]
}

patiently() { # what was made a moment ago is not known everywhere at once
    local attempt
    for attempt in 1 2 3 4 5; do
        if "$@"; then return; fi
        say "Not yet; trying again ($attempt of 5) …"
        sleep 5
    done
    "$@"
}

confirm() {
    local answer=""
    if $YES || $DRY_RUN; then return 0; fi
    printf '%s [y/N] ' "$1" >&2
    read -r answer || true # the end of the input is no
    [[ $answer == [yY] || $answer == [yY][eE][sS] ]]
}

not_started() {
    say "Deployed, and not started: nothing will be launched. When you are ready: ./deploy.sh start"
    exit 3
}

finish() {
    local code=$?
    if ((code == 1 || code > 128)) && [[ -n $STEP ]]; then
        say "deploy.sh stopped at: $STEP. Run the same command again: it goes on from what is there."
        say "New permissions can take Google some minutes."
    fi
}

# -------------------------------------------------------------------------------------------- arguments and settings

parse_arguments() {
    while (($#)); do
        case $1 in
            --env-file) ENV_FILE=${2:-} && [[ -n $ENV_FILE ]] || misuse "--env-file needs a file" && shift ;;
            --env-file=*) ENV_FILE=${1#*=} ;;
            --migrate) MIGRATE=true ;;
            --yes) YES=true ;;
            --dry-run) DRY_RUN=true ;;
            --destroy) COMMAND=destroy ;;
            deploy | start | rotate-token) COMMAND=$1 ;;
            -h | --help) usage && exit 0 ;;
            *) misuse "there is no $1" ;;
        esac
        shift
    done
    exec 3>&1 # for what is shown from within a substitution
}

misuse() {
    say "deploy.sh: $1. See ./deploy.sh --help"
    exit 2
}

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

make_token() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

main "$@"
