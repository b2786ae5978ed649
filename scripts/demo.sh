#!/bin/sh
# Complete a real file with the built-in model, showing what is typed and what comes back.
# Nothing is asked of a network, and nothing of the caller's settings changes the text.
set -eu
bigcode=${1:-bigcode}
cd "$(dirname "$0")/.."
case $bigcode in */*) ;; *) bigcode=$(command -v "$bigcode") ;; esac

show() {
    printf '$ %s\n' "$1"
}

show 'cat examples/inventory.py'
cat examples/inventory.py
printf '\n\n'
show 'bigcode complete --echo --until function examples/inventory.py | tail -n 3'
env -i PATH="$PATH" HOME="${HOME:-/}" XDG_CONFIG_HOME=/nonexistent HF_HUB_OFFLINE=1 \
    "$bigcode" complete --echo --until function examples/inventory.py | tail -n 3
printf '\n'
