#!/usr/bin/env bash
# Build the shop's repository from the patches beside this script, by real commits and merges.
#
#   history.sh TARGET_DIR
#
# Names, mails and dates are those of the patches, so every run gives the same hashes. Prints the last commit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${1:?usage: history.sh TARGET_DIR}
if [ -e "$target" ] && [ -n "$(ls -A "$target")" ]; then
  echo "history.sh: $target is not empty" >&2
  exit 1
fi

# Nobody's own git settings (signing, hooks, line ends) may change a hash.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY

git init --quiet --object-format=sha1 --initial-branch=main "$target"
cd "$target"

# as NAME MAIL DATE COMMAND…: run git as that person at that time.
as() {
  local name=$1 mail=$2 date=$3
  shift 3
  GIT_AUTHOR_NAME=$name GIT_AUTHOR_EMAIL=$mail GIT_AUTHOR_DATE=$date \
    GIT_COMMITTER_NAME=$name GIT_COMMITTER_EMAIL=$mail GIT_COMMITTER_DATE=$date "$@"
}

# apply NN…: commit these patches, each by its author at its date.
apply() {
  local number patch from mail
  for number in "$@"; do
    patch=$(echo "$here/history/$number"-*.patch)
    from=$(sed -n 's/^From: //p' "$patch" | head -n 1)
    mail=${from##*<}
    GIT_COMMITTER_NAME=${from% <*} GIT_COMMITTER_EMAIL=${mail%>} \
      git am --quiet --committer-date-is-author-date "$patch"
  done
}

# merge BRANCH NAME MAIL DATE: merge with a merge commit, into the branch we are on.
merge() {
  as "$2" "$3" "$4" git merge --quiet --no-ff -m "Merge branch '$1'" "$1"
}

apply 01 02 03 04

git switch --quiet --create vouchers
apply 05 06
git switch --quiet main
apply 07
merge vouchers "Mira Lindqvist" mira@example.com 2026-09-30T10:05:00+02:00

apply 08

git switch --quiet --create shipping
apply 09 10
git switch --quiet main
apply 11
merge shipping "Tomas Oyelaran" tomas@example.com 2026-10-12T09:15:20+02:00

apply 12
git tag v1.3.0
apply 13 14 15 16
git tag v1.4.0

git rev-parse HEAD
