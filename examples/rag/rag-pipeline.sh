#!/usr/bin/env bash
# Answers a question from text files with filters only: embed the paragraphs, find the nearest, ask a model.
# usage: rag-pipeline.sh QUESTION FILE...      (MODEL and EMBEDDER name other models)
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: rag-pipeline.sh QUESTION FILE..." >&2; exit 1; }
question=$1
shift
here=$(dirname "$0")
passages=$(mktemp)
trap 'rm -f "$passages"' EXIT

awk 'BEGIN { RS = "" } { gsub(/\n/, " "); print }' "$@" |
  mlxk embed "${EMBEDDER:-starter-embed}" - --batch > "$passages"
mlxk embed "${EMBEDDER:-starter-embed}" --query "$question" |
  "$here/cosine-search.py" "$passages" - --top-k "${TOP_K:-3}" --text |
  mlxk run "${MODEL:-starter}" - "Answer the question from these passages: $question"
