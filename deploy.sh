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
readonly CALLS_METRIC=campaign_runner_calls
readonly ERRORS_POLICY="Campaign runner: errors"
readonly CALLS_POLICY="Campaign runner: no successful call"
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

HERE=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=deploy/output.sh
source "$HERE/deploy/output.sh"
# shellcheck source=deploy/settings.sh
source "$HERE/deploy/settings.sh"
# shellcheck source=deploy/cloud.sh
source "$HERE/deploy/cloud.sh"
# shellcheck source=deploy/commands.sh
source "$HERE/deploy/commands.sh"

main() {
    parse_arguments "$@"
    [[ -z $ENV_FILE ]] || read_settings "$ENV_FILE"
    # From here on the secrets are variables of this shell alone, and in nobody's environment.
    export -n SUPABASE_SECRET_KEY SUPABASE_SERVICE_ROLE_KEY RUNNER_TOKENS RUNNER_TOKEN \
        SUPABASE_ACCESS_TOKEN SUPABASE_DB_PASSWORD
    cd "$HERE"
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

main "$@"
