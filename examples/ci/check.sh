#!/usr/bin/env bash
# What CI does for a pull request, and a person before one: everything that this folder's code makes of the sample, on a
# branch of the store, and then what the change does to the newest release, as Markdown on standard output.
#
#   examples/ci/check.sh sample/pr-12 [BASE [DATASET]] > comparison.md
#
# BASE is what is compared with: a branch of the store, or REMOTE/BRANCH as it was fetched; `sample` when left out. A base
# that shows nothing yet is made here, by the code of the commit that this one left $BASE_COMMIT at (origin/main when
# unset). Exit codes: 0 well, 1 something was refused or failed; the Markdown says what either way.
set -euo pipefail

branch=${1:?"name the branch, such as: examples/ci/check.sh sample/pr-12"}
base=${2:-sample}
datasets=(${3:+"$3"})
PATH="$PWD/.venv/bin:$PATH"
export MLOPS_ASSETS_HOME=${MLOPS_ASSETS_HOME:-$PWD/.mlops}
data=${MLOPS_ASSETS_DATA:-$PWD/data}

shows() {
    said=$(mlops-assets show "$1" 2>/dev/null) && ! grep -q "shows nothing yet" <<<"$said"
}

# The base as the code was where this change began: that commit in a folder of its own, with what was delivered here.
make_base() {
    local commit folder there landing
    commit=$(git merge-base HEAD "${BASE_COMMIT:-origin/main}") || {
        echo "$base shows nothing, and its code is not known: set BASE_COMMIT to the commit to compare with." >&2
        exit 1
    }
    folder=$(mktemp -d)
    there=$folder/$(git -C "$data" rev-parse --show-prefix)
    echo "Making $base by the code of commit $commit." >&2
    git worktree add --quiet --detach "$folder" "$commit" >&2
    for landing in "$data"/*/landing; do
        [ -d "$landing" ] || continue
        mkdir -p "$there/$(basename "$(dirname "$landing")")"
        ln -sfn "$(realpath "$landing")" "$there/$(basename "$(dirname "$landing")")/landing"
    done
    (
        cd "$folder/$(git rev-parse --show-prefix)"
        MLOPS_ASSETS_DATA=$there python -m mlops_assets.cli --branch "$base" run "${datasets[@]}"
    ) >&2 || echo "The base was not made in full." >&2
    git worktree remove --force "$folder"
    # where that code knew of no sample, there is nothing to compare with, and that is said
    mlops-assets show "$base" >/dev/null 2>&1 || mlops-assets branch "$base" --empty >&2
}

(
    eval "$(mlops-assets --branch "$branch" env)"
    dagster definitions validate -m mlops_assets.definitions
) >&2

code=0
mlops-assets --branch "$branch" run "${datasets[@]}" >&2 || code=$?

if ! shows "$base"; then make_base; fi
mlops-assets --branch "$branch" diff "$base" "$branch" --markdown ${3:+--asset "$3"}
exit "$code"
