# The commands of deploy.sh. Each command looks first for the resources that exist.
# shellcheck shell=bash

deploy() {
    summarize
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
    alert "$ERRORS_POLICY" "$(policy errors "$ERRORS_POLICY")"
    alert "$STUCK_POLICY" "$(policy stuck "$STUCK_POLICY")"
    start
}

summarize() { # what is made, and what of it costs something
    say "In the project $PROJECT_ID ($REGION), this makes what is not there yet:"
    say "  - the function $SERVICE on Cloud Run: at most 3 instances with 1 CPU and 512 MiB each, none while idle"
    say "  - 2 Scheduler jobs: a call every minute, a look at the health every 5 minutes (about 52,000 calls a month)"
    say "  - 2 secrets, 3 service accounts, 3 alerts, 1 log metric"
    say "It costs what Google takes for these: the CPU time of the calls, the jobs, the versions of the secrets, the alerts,"
    say "the log. A call with nothing due takes well below a second. https://cloud.google.com/products/calculator"
    say ""
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
    local state calls="resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"$SERVICE\""
    calls="$calls AND httpRequest.requestUrl:\"run-automation\" AND httpRequest.status=200 AND httpRequest.userAgent=\"Google-Cloud-Scheduler\""
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
                say "The job was paused by hand, and stays paused. To start the job: ./deploy.sh start"
                not_started
            fi
            confirm "The job was paused by hand. Resume the job? The job launches the campaigns above." || not_started
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
    step "An alert when the calls cease"
    if ! found gcloud logging metrics list --filter="name=$CALLS_METRIC" --format="value(name)"; then
        run gcloud logging metrics create $CALLS_METRIC --description="Answers of 200 to Cloud Scheduler" \
            --log-filter="$calls"
    fi
    alert "$CALLS_POLICY" "$(policy calls "$CALLS_POLICY")"
    say "Done: $URL is called every minute."
    say "Its static token: gcloud secrets versions access latest --secret=$TOKENS_SECRET --project=$PROJECT_ID"
    [[ -n $CHANNEL_NAME ]] || say "No ALERT_EMAIL is set: the console shows the alerts, and no person gets a mail."
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
    for policy in "$CALLS_POLICY" "$STUCK_POLICY" "$ERRORS_POLICY"; do
        policy=$(policy_named "$policy")
        [[ -z $policy ]] || run gcloud alpha monitoring policies delete "$policy"
    done
    channel=$(find_channel)
    [[ -z $channel ]] || run gcloud beta monitoring channels delete "$channel"
    if found gcloud logging metrics list --filter="name=$CALLS_METRIC" --format="value(name)"; then
        run gcloud logging metrics delete $CALLS_METRIC
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
