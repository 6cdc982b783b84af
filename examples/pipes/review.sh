#!/bin/sh
# Asks a model to review the staged changes of this git repository, or the changes since a commit:
#
#   review.sh
#   review.sh HEAD~3
#   MODEL=mlx-community/Qwen2.5-Coder-7B-Instruct-4bit review.sh
set -eu

if git diff --quiet "${1:---cached}"; then
  echo "nothing changed" >&2
  exit 1
fi

git diff "${1:---cached}" |
  mlxk run "${MODEL:-starter}" - "Review this change. Name mistakes first, then what could be simpler." --max-tokens 500
