# Sourced by the programs beside it, then `need LEVEL`. It makes the repository's own .venv when it is missing or when
# pyproject.toml has changed, for LEVEL `media` (run the pool) or `dev,media,youtube,spotify` (also test, lint and measure
# all of it), and sets $root and $python. All it says goes to stderr: stdout belongs to the program.

program=${0##*/}
root=$(CDPATH='' cd -P -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
python=$root/.venv/bin/python

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() { say "$*"; exit 1; }

need() {
    made_for "$1" && return
    base=$(find_python) || exit 1
    wait_for_turn
    made_for "$1" || make "$1"
    exec 9>&-
}

# A stamp says where the environment was made, with which interpreter, and for which pyproject.toml: a moved or copied
# clone, an upgraded Python and a new dependency are all noticed here, for the price of a few forks.
made_for() {
    place="$(readlink -f -- "$python") $root"
    sum=$(cksum <"$root/pyproject.toml")
    made_place='' made_sum=''
    [ -x "$python" ] || return
    [ -r "$root/.venv/made-for-$1" ] || return
    { read -r made_place && read -r made_sum; } <"$root/.venv/made-for-$1"
    [ "$made_place" = "$place" ] && [ "$made_sum" = "$sum" ]
}

find_python() {
    found=''
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        candidate=$(command -v "$name") || continue
        version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            found=${found:-"$candidate is $version, too old"}
        elif ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            found="$candidate ($version) has no venv: install it (Debian, Ubuntu: apt install python$version-venv)"
        else
            echo "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or newer with venv and pip; ${found:-no python3 was found in PATH}"
}

# The lock is the kernel's, held by descriptor 9 of this shell: it cannot outlive us, and it also covers pip.
wait_for_turn() {
    [ -w "$root" ] && [ -w "$root/pyproject.toml" ] || die "cannot write in $root, where .venv has to be"
    exec 9>>"$root/pyproject.toml"
    lock 'fcntl.LOCK_EX | fcntl.LOCK_NB' 2>/dev/null && return
    say "another program is making $root/.venv; waiting for it"
    lock 'fcntl.LOCK_EX' || die "cannot lock $root/pyproject.toml"
}

lock() { "$base" -c "import fcntl; fcntl.flock(9, $1)"; }

make() {
    started=$(date +%s)
    if [ -n "$made_place" ] && [ "$made_place" != "$place" ] || ! "$python" -c "$is_usable" 2>/dev/null; then
        say "making $root/.venv with $("$base" --version) (only the first time)"
        "$base" -m venv --clear "$root/.venv" || die "cannot make $root/.venv: the reason is above"
    fi
    rm -f "$root"/.venv/made-for-*
    say "installing WorkerHost and what it needs from PyPI [$1]: a minute or two the first time"
    quiet=--quiet
    [ -t 2 ] && quiet=''
    PIP_USER=0 "$python" -m pip install --disable-pip-version-check $quiet --editable "$root[$1]" >&2 ||
        die "pip could not install what pyproject.toml names: the reason is above. Is PyPI reachable?"
    mkdir -p "$root/.venv/types"
    ln -sfn ../.. "$root/.venv/types/workerhost" # lets the type checker find the package whatever the clone is called
    place="$(readlink -f -- "$python") $root"
    for level in media "$1"; do
        printf '%s\n%s\n' "$place" "$sum" >"$root/.venv/made-for-$level"
    done
    say "ready after $(($(date +%s) - started)) s"
}

is_usable='import pip, sys; sys.exit(sys.version_info < (3, 11))'
