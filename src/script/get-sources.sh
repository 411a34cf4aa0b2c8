# Fetches the sources. Runs in the helper container, in a POSIX shell. The variables in lower case come from
# GetSources::text, and so do the functions that run git with the job's options: `fetch`, `clean`, `update_submodules`.
# "$@" are the directories that all users must be able to write to.
set -eu
# The user of the build, which the helper does not know, must be able to write to these directories.
umask 0000
# If an earlier job left something else here, a link for example, it is removed.
for path in "$@" "$directory"; do
  if [ -L "$path" ] || [ ! -d "$path" ]; then rm -rf "$path"; fi
done
mkdir -p "$directory" "$@"
chmod 0777 "$directory" "$@"
rm -rf "$directory.tmp"
[ -z "$temporary" ] || mkdir "$temporary"
if [ -n "$certificates" ]; then
  cat /etc/ssl/certs/ca-certificates.crt - >/alloy/certificates.pem 2>/dev/null <<CERTIFICATES || :
$certificates
CERTIFICATES
  export GIT_SSL_CAINFO=/alloy/certificates.pem SSL_CERT_FILE=/alloy/certificates.pem
fi
if [ "$strategy" = none ]; then
  echo 'Skipping Git repository setup'
  exit 0
fi
# If the engine's host is another one, this path may be something else there.
if [ -n "$local" ] && ! git --git-dir="$url" cat-file -e "$sha^{commit}" 2>/dev/null; then
  exit 66
fi
if [ -n "$changes" ] && [ ! -d "$changes/0" ]; then
  exit 66
fi
cd "$directory"

# Removes the contents of a directory below this one, except what is in other volumes.
clear_directory() {
  for entry in "${1:+$1/}"* "${1:+$1/}".[!.]* "${1:+$1/}"..?*; do
    case $kept in
    *"|$entry|"*) ;;
    *"|$entry/"*) clear_directory "$entry" ;;
    # An earlier job may have left a file named `-x`.
    *) rm -rf -- "$entry" ;;
    esac
  done
}

# Nothing that an earlier job left here may run, change what git does, or block it: only plain files and directories are
# opened, and only objects and the refs to them are kept.
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
  # They are read whole.
  find .git/HEAD .git/shallow -size +1024k -exec rm -f {} + 2>/dev/null || :
  [ ! -d .git/objects/pack ] ||
    find .git/objects/pack -mindepth 1 ! -name 'pack-*.pack' ! -name 'pack-*.idx' -prune -exec rm -rf {} +
  grep -Eqx 'ref: refs/heads/[^ ]+|[0-9a-f]{40,64}' .git/HEAD 2>/dev/null || rm -f .git/HEAD
  # Repositories in here, also those of submodules, are created again, and so are files with settings of git.
  set -- -path ./.git -prune
  IFS='|'
  for path in $kept; do
    [ -z "$path" ] || set -- "$@" -o -path "./$path" -prune
  done
  unset IFS
  find . "$@" -o '(' -name .git -o -name .gitattributes -o ! -type f ! -type d ! -type l ')' -prune -exec rm -rf {} +
}

# Keeps the refs that the next fetch updates, all of them in one file, and no others, such as replacements. git reads that
# file whole, and an earlier job may have made it a terabyte long: it is cut before git sees it.
drop_refs() {
  [ -f .git/packed-refs ] || : >.git/packed-refs
  if [ "$depth" = 0 ]; then
    # Only some of them, enough for git to know which objects there are: each costs time.
    head -c 500000 .git/packed-refs | tr -d '\000' |
      LC_ALL=C sed -n -E '/^[0-9a-f]{40,64} refs\/(remotes\/origin|tags)\/[^ ]+$/p' |
      LC_ALL=C sort -u -k 2,2 | head -n 2000 >.git/packed-refs.new
    mv .git/packed-refs.new .git/packed-refs
  else
    rm -f .git/packed-refs
  fi
}

# git trusts an index about the contents of files, and an earlier job may have written it. So a new one is made, which
# compares all files with their objects: unchanged files keep their times, the others are written again.
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
  # Files that the commit's attributes change at a checkout have to be written again.
  for files in attr:eol=crlf exclude,attr:!ident exclude,attr:!filter exclude,attr:!working-tree-encoding; do
    git ls-files -z ":($files)" | xargs -0 -r rm -rf --
  done
}

# A fetch by the coordinator's refspecs updates few refs. The others of an earlier job's tell git which objects there are,
# and then they go. They are called by their commits, so that none can be taken for something else.
hide_refs() {
  [ -f .git/packed-refs ] || return 0
  head -c 500000 .git/packed-refs | tr -d '\000' |
    LC_ALL=C sed -n -E 's/^([0-9a-f]{40,64}) refs\/[^ ]+$/\1 refs\/hidden\/\1/p' |
    LC_ALL=C sort -u | head -n 2000 >.git/packed-refs.new
  mv .git/packed-refs.new .git/packed-refs
}
remove_hidden_refs() {
  git for-each-ref --format='delete %(refname)' refs/hidden | git update-ref --stdin
}

missing() {
  echo "ERROR: the commit $sha is not in the repository; was it pushed over?" >&2
  exit "$missing"
}
has_commit() { git cat-file -e "$sha^{commit}" 2>/dev/null; }

# The refspecs of the coordinator. Their stars are for git, not for the shell.
fetch_refspecs() {
  [ -n "$refspecs" ] || return 1
  set -f
  # shellcheck disable=SC2086  # a list
  fetch "$@" origin $refspecs || :
  set +f
  has_commit
}

# Nothing but what the coordinator says, so much of its history, and the tags in that: then commits are described and
# compared as everywhere else. Its refs may be gone by now.
fetch_only_refspecs() {
  set --
  if [ "$depth" != 0 ]; then
    set -- --depth "$depth"
  elif [ -s .git/shallow ]; then
    set -- --unshallow
  fi
  fetch_refspecs "$@" || { fetch "$@" origin "$sha" && has_commit; }
}

# git's credentials are in its environment, and nowhere else in this container. Redirects are refused: git would send the
# credentials to the other server, too.
if [ -n "${ALLOY_GIT_AUTHORIZATION:-}" ]; then
  next=$((GIT_CONFIG_COUNT + 1))
  export "GIT_CONFIG_KEY_$GIT_CONFIG_COUNT=http.$site/.extraHeader" \
    "GIT_CONFIG_VALUE_$GIT_CONFIG_COUNT=Authorization: Basic $ALLOY_GIT_AUTHORIZATION" \
    "GIT_CONFIG_KEY_$next=http.$site/.followRedirects" "GIT_CONFIG_VALUE_$next=false" \
    GIT_CONFIG_COUNT=$((next + 1))
  unset ALLOY_GIT_AUTHORIZATION
fi

# An earlier job may have fetched this much of the history.
has_history() {
  count=$(git rev-list --count --max-count "$depth" "$sha" 2>/dev/null) && [ "$count" = "$depth" ]
}
fetch_history() {
  { [ -z "$cloned" ] && has_history; } || fetch --no-tags --depth "$depth" origin "$sha" ||
    { [ -z "$local" ] || missing; return 1; }
}

# Submodules are cloned from the checkout's clones of them if these have the commit, else from their addresses.
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

# A checkout on this host lends its objects until everything is checked out. They are copied meanwhile, which is faster
# than to make, send and index a pack. Objects of an earlier job are not used.
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
# The copy is made where git does not look, and moved when it is complete.
copy_objects() {
  mkdir -p .git/objects.new/info .git/objects.new/pack
  # Loose objects first: if one is packed meanwhile, the pack has it. A pack before its index.
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
    # Objects may disappear while they are copied, if git collects garbage there.
    rm -rf .git/objects.new
    git repack -q -a -d
    rm .git/objects/info/alternates
  fi
}

find_commit() {
  [ -n "$cloned" ] || if [ -n "$by_refspecs" ]; then hide_refs; else drop_refs; fi
  git init -q ${object_format:+--object-format="$object_format"}
  # One that git cannot read would keep it from all of them.
  [ -n "$cloned" ] || git for-each-ref --format='' >/dev/null 2>&1 || : >.git/packed-refs
  git remote add -- origin "$url"
  if [ -n "$by_refspecs" ] && fetch_only_refspecs; then
    :
  elif [ "$depth" = 0 ] || ! fetch_history; then
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
  [ -n "$cloned" ] || [ -z "$by_refspecs" ] || remove_hidden_refs
  # For the next job, which keeps no other refs.
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
    # With several workers, git does not say why a file could not be written; with one it does.
    git checkout -q --force --detach "$sha" || git -c checkout.workers=1 checkout -q --force --detach "$sha"
    if [ -z "$cloned" ]; then
      set --
      IFS='|'
      for path in $kept; do
        [ -z "$path" ] || set -- "$@" --exclude "/$path"
      done
      unset IFS
      clean "$@"
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
    { [ -n "$submodule_depth" ] && update_submodules --depth "$submodule_depth" $recursive; } ||
      update_submodules $recursive
    # shellcheck disable=SC2086
    git submodule --quiet sync $recursive
    if [ -n "$job_settings" ]; then
      export job_settings
      # shellcheck disable=SC2016  # for the inner shell
      git submodule --quiet foreach --recursive 'printf %s "$job_settings" >>"$(git rev-parse --git-dir)/config"'
    fi
  fi
  [ -z "$job_settings" ] || printf %s "$job_settings" >>.git/config
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
    # git writes files one after the other, and make treats later ones as newer. With the same time for all, make does not
    # rebuild committed files from their sources, `configure` for example.
    find . -name .git -prune -o -type f -print0 | xargs -0 -r -n 5000 -P 4 touch -c -r .git/HEAD
  fi
}

if [ "$strategy" = empty ]; then
  echo 'Skipping Git repository setup and creating an empty build directory'
  clear_directory ''
  exit 0
fi
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
# The directory itself is kept: the shell of the build may be waiting in it.
clear_directory ''
get_sources
