# Saying, showing, running and asking. In a dry run nothing is run.
# shellcheck shell=bash

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
        say "deploy.sh stopped at: $STEP. Run the same command again: deploy.sh makes what is missing."
        say "New permissions can take Google some minutes."
    fi
}
