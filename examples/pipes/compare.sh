#!/bin/sh
# Asks several models the same question:
#
#   compare.sh "What is the capital of France?" starter mlx-community/SmolLM2-1.7B-Instruct-4bit
set -eu

if [ $# -lt 2 ]; then
  echo "usage: compare.sh QUESTION MODEL..." >&2
  exit 1
fi
question=$1
shift

# Replace each model in the list with the command that runs it.
for model; do
  set -- "$@" "mlxk run '$model' -"
  shift
done

printf '%s\n' "$question" | mlx-tee "$@"
