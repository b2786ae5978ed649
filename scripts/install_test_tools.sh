#!/bin/sh
# The tests of completions, man pages, HTML and editors run real shells, man, a browser and editors.
# Install those that are missing where that needs no question (root on Debian or Ubuntu); elsewhere
# say so, and their tests skip. Emacs is large: its tests run where it is installed already.
set -eu
missing=
for tool in bash zsh fish man tmux strace vim nvim kak; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
for browser in chromium chromium-browser google-chrome; do
    command -v "$browser" >/dev/null && break
done || missing="$missing chromium"
[ -n "$missing" ] || exit 0
packages=$(printf '%s\n' $missing | sed 's/^man$/man-db/; s/^nvim$/neovim/; s/^kak$/kakoune/')
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    for package in $packages; do
        # Not every distribution has every one.
        install "$package" || echo "not installed: $package; the tests that need it are skipped" >&2
    done
else
    echo "not installed:$missing; the tests that need them are skipped" >&2
fi
