#!/bin/sh
# The tests of completions and man pages run real shells and man. Install those that are missing
# where that needs no question (root on Debian or Ubuntu); elsewhere say so, and their tests skip.
set -eu
missing=
for tool in bash zsh fish man tmux strace; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0
packages=$(printf '%s\n' $missing | sed 's/^man$/man-db/')
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
else
    echo "not installed:$missing; the tests that need them are skipped" >&2
fi
