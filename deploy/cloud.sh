# The resources in the cloud, and the questions about them.
# shellcheck shell=bash

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

# In calls.json, absent(): a metric that never had a value does not fall below anything either. The ten minutes are the
# duration, so that the first minutes after a deployment are no alarm.
policy() { # FILE NAME: a policy of deploy/policies, with its names filled in
    local text
    text=$(<"deploy/policies/$1.json")
    text=${text//@NAME@/$2}
    text=${text//@SERVICE@/$SERVICE}
    printf '%s\n' "${text//@METRIC@/$CALLS_METRIC}"
}

make_token() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

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
