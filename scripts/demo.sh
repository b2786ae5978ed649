#!/bin/sh
# Complete a real file with the built-in model, showing what is typed and what comes back.
set -eu
bigcode=${1:-bigcode}
file=$(dirname "$0")/../examples/inventory.py
printf '$ cat %s\n' "examples/inventory.py"
cat "$file"
printf '\n$ bigcode complete --until block examples/inventory.py\n'
HF_HUB_OFFLINE=1 "$bigcode" complete --until block "$file"
printf '\n'
