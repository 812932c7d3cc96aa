#!/usr/bin/env bash
# A worker in Bash (needs jq): one task on stdin, one result on stdout, logs on stderr.
# Types: text.length {"text": TEXT} -> how many characters; text.lines {"text": TEXT} -> how many lines.
# No trap: SIGTERM ends it, and WorkerHost ends what it has started.

fail() { # CODE MESSAGE: 1 may be tried again, 2 may not
    jq -nc --argjson code "$1" --arg message "$2" \
        '{success: false, error: {type: "Invalid", message: $message, retry_possible: ($code == 1)}}'
    exit "$1"
}

IFS= read -r task # a task is one line
problem=$(jq -r 'if type != "object" then "the task is no JSON object"
    elif (.id | type) != "number" then "the task has no id"
    elif (.type | type) != "string" then "the task has no type"
    elif (.params | type) != "object" then "the task has no params"
    elif (.params.text // "" | type) != "string" then "params.text is no text"
    else "" end' <<<"$task" 2>&1) || fail 2 "the task is not JSON: $problem"
[[ -z $problem ]] || fail 2 "$problem"

type=$(jq -r .type <<<"$task")
echo "running $type" >&2 # stdout is for the result alone
case $type in
    text.length) jq -c '{success: true, result: (.params.text // "" | length)}' <<<"$task" || fail 1 "jq failed" ;;
    text.lines) jq -c '{success: true, result: (.params.text // "" | split("\n") | length)}' <<<"$task" || fail 1 "jq failed" ;;
    *) fail 2 "no such type here: $type" ;;
esac
