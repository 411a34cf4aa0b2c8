# Puts the sources in place. Runs in the helper container, as a POSIX shell reads it; the variables in lower
# case come from GetSources::text, "$@" are the directories that every user must be able to write to.
set -eu
# Builds run as whatever user their image has.
umask 0000
# Where an earlier job left something else, a link for example, its word on the place does not count.
for path in "$@" "$directory"; do
  if [ -L "$path" ] || [ ! -d "$path" ]; then rm -rf "$path"; fi
done
mkdir -p "$directory" "$@"
chmod 0777 "$directory" "$@"
rm -rf "$directory.tmp"
if [ -n "$certificates" ]; then
  cat /etc/ssl/certs/ca-certificates.crt - >/tmp/certificates.pem 2>/dev/null <<CERTIFICATES || :
$certificates
CERTIFICATES
  export GIT_SSL_CAINFO=/tmp/certificates.pem SSL_CERT_FILE=/tmp/certificates.pem
fi
if [ "$strategy" = none ]; then
  echo 'Skipping Git repository setup'
  exit 0
fi
# On a host that shares no files with ours, the same path may be something else.
if [ -n "$local" ] && ! git --git-dir="$url" cat-file -e "$sha^{commit}" 2>/dev/null; then
  exit 66
fi
if [ -n "$changes" ] && [ ! -d "$changes/0" ]; then
  exit 66
fi
cd "$directory"

# Removes what is in a directory below this one, but not what other volumes hold.
clear_directory() {
  for entry in "${1:+$1/}"* "${1:+$1/}".[!.]* "${1:+$1/}"..?*; do
    case $kept in
    *"|$entry|"*) ;;
    *"|$entry/"*) clear_directory "$entry" ;;
    # An earlier job may have called a file `-x`.
    *) rm -rf -- "$entry" ;;
    esac
  done
}

# What an earlier job left here must not run or lead git, nor keep it waiting: nothing that is no plain file or directory
# is ever opened, and only objects are taken over, and refs to know them by.
take_over() {
  find .git ! -type f ! -type d -exec rm -f {} +
  for entry in .git/* .git/.[!.]* .git/..?*; do
    case ${entry#.git/} in
    objects) [ -d "$entry" ] || rm -f "$entry" ;;
    HEAD | packed-refs | shallow) [ -f "$entry" ] || rm -rf "$entry" ;;
    *) rm -rf "$entry" ;;
    esac
  done
  for entry in .git/objects/* .git/objects/.[!.]* .git/objects/..?*; do
    case ${entry#.git/objects/} in
    [0-9a-f][0-9a-f] | pack) [ -d "$entry" ] || rm -f "$entry" ;;
    *) rm -rf "$entry" ;;
    esac
  done
  [ ! -d .git/objects/pack ] ||
    find .git/objects/pack -mindepth 1 ! -name 'pack-*.pack' ! -name 'pack-*.idx' -prune -exec rm -rf {} +
  grep -Eqx 'ref: refs/heads/[^ ]+|[0-9a-f]{40,64}' .git/HEAD 2>/dev/null || rm -f .git/HEAD
  # Repositories in here, those of submodules too, are made anew, and so are the files that say how git reads others.
  set -- -path ./.git -prune
  IFS='|'
  for path in $kept; do
    [ -z "$path" ] || set -- "$@" -o -path "./$path" -prune
  done
  unset IFS
  find . "$@" -o '(' -name .git -o -name .gitattributes -o ! -type f ! -type d ! -type l ')' -prune -exec rm -rf {} +
}

# Leaves refs that the next fetch brings up to date, and no others: names, replacements. Ours are all in one file.
drop_refs() {
  [ -f .git/packed-refs ] || : >.git/packed-refs
  if [ "$depth" = 0 ]; then
    # Enough of them to know what there is by; an earlier job may have left any number, of which each costs time.
    head -c 4000000 .git/packed-refs |
      sed -n -E '/^[0-9a-f]{40,64} refs\/(remotes\/origin|tags)\/[^ ]+$/p' |
      sort -u -k 2,2 | head -n 2000 >.git/packed-refs.new
    mv .git/packed-refs.new .git/packed-refs
    git for-each-ref --format='' >/dev/null 2>&1 || : >.git/packed-refs
  else
    rm -f .git/packed-refs
  fi
}

# An index is believed about what is in a file. A new one compares them all, so that those that are
# as they should be keep their times, and the others are written again. Each is compared with the object as it is.
compare_files() {
  mkdir -p .git/info
  echo '* -text -eol -ident -filter -working-tree-encoding' >.git/info/attributes
  git read-tree "$sha"
  git ls-files -s | sed -n 's/^160000 [0-9a-f]* 0\t//p' | while read -r path; do
    case $kept in
    *"|$path|"* | *"|$path/"*) ;;
    *) rm -rf "$path" ;;
    esac
  done
  git update-index -q --refresh >/dev/null || :
  rm .git/info/attributes
  [ -n "$(git ls-files .gitattributes '*/.gitattributes')" ] || return 0
  # What the commit's attributes change on its way out has to be written again.
  for files in attr:eol=crlf exclude,attr:!ident exclude,attr:!filter exclude,attr:!working-tree-encoding; do
    git ls-files -z ":($files)" | xargs -0 -r rm -rf --
  done
}

missing() {
  echo "ERROR: the commit $sha is not in the repository; was it pushed over?" >&2
  exit "$missing"
}
has_commit() { git cat-file -e "$sha^{commit}" 2>/dev/null; }
fetch() { git fetch -q --force --update-shallow "$@"; }

# What the coordinator would fetch; its stars are git's and not the shell's.
fetch_refspecs() {
  [ -n "$refspecs" ] || return 1
  set -f
  # shellcheck disable=SC2086  # a list
  fetch origin $refspecs || :
  set +f
  has_commit
}

# Who git is stands in its environment, and nowhere else in this container. Where the server says that the repository is
# on another one, git would tell that who it is, too.
if [ -n "${ALLOY_GIT_AUTHORIZATION:-}" ]; then
  next=$((GIT_CONFIG_COUNT + 1))
  export "GIT_CONFIG_KEY_$GIT_CONFIG_COUNT=http.$site/.extraHeader" \
    "GIT_CONFIG_VALUE_$GIT_CONFIG_COUNT=Authorization: Basic $ALLOY_GIT_AUTHORIZATION" \
    "GIT_CONFIG_KEY_$next=http.$site/.followRedirects" "GIT_CONFIG_VALUE_$next=false" \
    GIT_CONFIG_COUNT=$((next + 1))
  unset ALLOY_GIT_AUTHORIZATION
fi

# An earlier job may have fetched as much of the history.
has_history() {
  count=$(git rev-list --count --max-count "$depth" "$sha" 2>/dev/null) && [ "$count" = "$depth" ]
}
fetch_history() {
  { [ -z "$cloned" ] && has_history; } || fetch --no-tags --depth "$depth" origin "$sha" ||
    { [ -z "$local" ] || missing; return 1; }
}

# Submodules come from the checkout's own clones of them where those have the commit, else from their
# addresses.
local_submodules() {
  git config --file .gitmodules --get-regexp '^submodule\..*\.path$' 2>/dev/null |
    while read -r key path; do
      name=${key#submodule.} name=${name%.path}
      [ -e "$1/modules/$name/HEAD" ] || continue
      git submodule --quiet init -- "$path"
      address=$(git config "submodule.$name.url")
      git config "submodule.$name.url" "$1/modules/$name"
      if git -c protocol.file.allow=always submodule --quiet update --force -- "$path" 2>/dev/null; then
        if [ "$submodules" = recursive ]; then (cd "$path" && local_submodules "$1/modules/$name"); fi
      else
        git config "submodule.$name.url" "$address"
      fi
    done
}

# A checkout on this host lends its objects until all is checked out; meanwhile they are copied, as they are. That takes
# a part of the time of a pack that is made, sent and indexed, and nothing of an earlier job's objects is believed.
can_borrow() {
  [ -n "$local" ] && [ -n "$checkout" ] && [ "$depth" = 0 ] && [ ! -e "$url/objects/info/alternates" ]
}
borrow() {
  rm -rf .git
  git init -q
  git remote add -- origin "$url"
  mkdir -p .git/objects/info
  echo "$url/objects" >.git/objects/info/alternates
  [ ! -f "$url/shallow" ] || cat "$url/shallow" >.git/shallow
  {
    git --git-dir="$url" for-each-ref --format='%(objectname) refs/remotes/origin/%(refname:lstrip=2)' refs/heads
    git --git-dir="$url" for-each-ref --format='%(objectname) %(refname)' refs/tags
  } >.git/packed-refs
  copy_objects &
  copying=$!
}
# Beside what git looks at until it is whole.
copy_objects() {
  mkdir -p .git/objects.new/info .git/objects.new/pack
  # Loose ones first: one that is packed meanwhile is in a pack then. No pack's index without the pack.
  set -- "$url"/objects/[0-9a-f][0-9a-f]
  [ ! -d "$1" ] || cp -RP "$@" .git/objects.new/ 2>/dev/null
  set -- "$url"/objects/pack/pack-*.idx
  [ ! -f "$1" ] || cp -P "$@" "$url"/objects/pack/pack-*.pack .git/objects.new/pack/ 2>/dev/null
  find .git/objects.new -type d -exec chmod 0777 {} + -o ! -perm -0444 -exec chmod a+r {} +
  [ -z "$(find .git/objects.new ! -type d ! -type f)" ]
}
own_objects() {
  [ -n "$copying" ] || return 0
  if wait "$copying"; then
    rm -r .git/objects
    mv .git/objects.new .git/objects
  else
    # Objects may go while they are copied, where git tidies up there.
    rm -rf .git/objects.new
    git repack -q -a -d
    rm .git/objects/info/alternates
  fi
}

find_commit() {
  git init -q
  git remote add -- origin "$url"
  [ -n "$cloned" ] || drop_refs
  if [ "$depth" = 0 ] || ! fetch_history; then
    set -- '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
    if [ -n "$local" ]; then
      fetch --prune origin "$@" "$sha"
    else
      fetch --prune origin "$@"
      has_commit || {
        fetch origin "$sha" || fetch_refspecs || fetch origin '+refs/pull/*:refs/remotes/pull/*'
        has_commit
      } || missing
    fi
  fi
  # For the next job, which takes over no others.
  git pack-refs --all
}

get_sources() {
  copying=
  if can_borrow; then borrow; else find_commit; fi
  if [ -z "$checkout" ]; then
    echo 'Skipping Git checkout'
    [ -n "$cloned" ] || git read-tree HEAD 2>/dev/null || :
  else
    printf 'Checking out %.8s as %s...\n' "$sha" "$ref_name"
    [ -n "$cloned" ] || compare_files
    # Of several workers none says why it could not write a file; one does.
    git checkout -q --force --detach "$sha" || git -c checkout.workers=1 checkout -q --force --detach "$sha"
    if [ -z "$cloned" ]; then
      set --
      IFS='|'
      for path in $kept; do
        [ -z "$path" ] || set -- "$@" --exclude "/$path"
      done
      unset IFS
      git clean -q -ffdx "$@"
    fi
    own_objects
  fi
  [ "$remote" = "$url" ] || git config remote.origin.url "$remote"
  if [ -n "$checkout" ] && [ "$submodules" != none ] && [ -e .gitmodules ]; then
    recursive=
    if [ "$submodules" = recursive ]; then recursive=--recursive; fi
    echo "Updating${recursive:+ recursively} submodules..."
    if [ -n "$local" ]; then local_submodules "$url"; fi
    # shellcheck disable=SC2086  # one option or none
    git submodule --quiet update --init --force $recursive
    # shellcheck disable=SC2086
    git submodule --quiet sync $recursive
  fi
  if [ -n "$checkout" ] && [ -n "$changes" ]; then
    echo 'Adding uncommitted changes...'
    layers=0
    if [ "$submodules" != none ]; then layers='0 1'; fi
    if [ "$submodules" = recursive ]; then layers='0 1 2'; fi
    for layer in $layers; do
      layer=$changes/$layer
      xargs -0 -r rm -rf -- <"$layer/removed"
      # shellcheck disable=SC2016  # for the inner shell
      xargs -0 -r sh -c 'for path; do
        [ ! -d "$path" ] || find "$path" -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {} +
      done' sh <"$layer/emptied"
      cp -RP "$layer/files/." .
    done
  fi
  if [ -n "$checkout" ] && [ -n "$cloned" ]; then
    # git writes files one after the other, and make takes the later ones for newer. One time for all keeps it
    # from making again what is committed with its sources, `configure` for example.
    find . -name .git -prune -o -type f -print0 | xargs -0 -r -n 5000 -P 4 touch -c -r .git/HEAD
  fi
}

cloned=
if [ "$strategy" = fetch ] && [ -d .git ] && [ ! -L .git ]; then
  echo 'Fetching changes...'
  set +e
  (
    set -e
    missing=67
    take_over
    get_sources
  )
  status=$?
  set -e
  case $status in
  0 | 67) exit $((status > 0)) ;;
  esac
  echo 'What is here cannot be brought up to date.'
fi
cloned=yes missing=1
echo 'Cloning repository...'
# The directory itself stays: the shell of the build may be waiting in it.
clear_directory ''
get_sources
