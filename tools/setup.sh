#!/bin/sh
# Makes a clone ready: system packages, jemalloc, .venv, build. Does nothing that is already done; needs no make.
#
#   sh tools/setup.sh            as an ordinary user with sudo, or as root
#
# Needs the network once. What cannot be had is said by name; without jemalloc everything works on libc's malloc.
set -eu
cd "$(dirname "$0")/.."
umask 022
start=$(date +%s)
log=$PWD/.setup.log
say() { printf 'setup %3d s: %s\n' $(($(date +%s) - start)) "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

mkdir -p .deps
if command -v flock >/dev/null; then exec 9>.deps/lock; flock 9; fi # two shells at once: the second waits

# ---- 1. system packages ----

missing_packages() {
    while read -r line; do
        case $line in '' | \#*) continue ;; esac
        for package in $(echo "$line" | tr '|' ' '); do
            [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] && continue 2
        done
        printf ' %s' "${line%%|*}"
    done <tools/packages-debian.txt
}

become_root() { # prints the command that makes one root, or fails
    if [ "$(id -u)" = 0 ]; then echo env
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then echo sudo env
    else return 1; fi
}

install_packages() {
    root=$(become_root) || die "these packages are missing; as root run:
    apt-get install --no-install-recommends$missing"
    say "installing$missing"
    # A repository that does not answer is no reason to stop; --no-remove: never take anything away.
    # shellcheck disable=SC2086
    $root apt-get -qq update >"$log" 2>&1 || true
    # shellcheck disable=SC2086
    $root DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends --no-remove $missing \
        >>"$log" 2>&1 </dev/null || { tail -5 "$log" >&2; die "apt-get failed (log: .setup.log); as root run:
    apt-get install --no-install-recommends$missing"; }
}

if command -v dpkg-query >/dev/null; then
    missing=$(missing_packages)
    [ -z "$missing" ] || install_packages
else
    say "not a Debian-like system; you need what tools/packages-debian.txt lists"
fi
command -v python3 >/dev/null || die "python3 is missing"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed; this is $(python3 -V 2>&1)"

# ---- 2. jemalloc, beside the rest: the compiler works while pip waits for the network ----

if [ ! -e .deps/jemalloc/stamp ] && [ ! -e .deps/jemalloc.missing ]; then say "building jemalloc"; fi
sh tools/jemalloc.sh "$PWD/.deps/jemalloc" &
jemalloc=$!

# ---- 3. .venv, made anew when the interpreter changes or the folder has moved ----

requirements() { # of the build, the demo and the tests, from pyproject.toml
    .venv/bin/python - <<'PYTHON'
import tomllib
with open("pyproject.toml", "rb") as file:
    settings = tomllib.load(file)
project, extras = settings["project"], settings["project"]["optional-dependencies"]
wanted = settings["build-system"]["requires"] + project["dependencies"] + extras["demo"] + extras["html"] + extras["test"]
print(*sorted(r for r in wanted if not r.startswith("libperf[")), sep="\n")
PYTHON
}

# CMake's cache and the scripts in .venv name the folder and the interpreter
place="$PWD $(python3 -c 'import sys; print(sys.executable, *sys.version_info[:3])')"
if [ "$(cat .venv/.place 2>/dev/null)" != "$place" ]; then
    say "making .venv"
    rm -rf build .venv
    python3 -m venv .venv
    printf '%s\n' "$place" >.venv/.place
fi
requirements >.deps/requirements.txt
if ! cmp -s .deps/requirements.txt .venv/.requirements; then
    say "fetching Python packages"
    .venv/bin/python -m pip -q --disable-pip-version-check install -r .deps/requirements.txt ||
        { wait $jemalloc || true; die "pip could not fetch (the network is needed once):
    $(tr '\n' ' ' <.deps/requirements.txt)"; }
    cp .deps/requirements.txt .venv/.requirements
    rm -f .venv/.built
fi
wait $jemalloc || [ $? = 3 ] # 3: it cannot be had, and jemalloc.sh has said why

# ---- 4. build, when something that is compiled or described has changed ----

changed() {
    [ -e .venv/.built ] || return 0
    [ -n "$(find setup.py pyproject.toml CMakeLists.txt CMakePresets.json cmake .deps/jemalloc libperf batcher profiler bench \
        bindings/libperf/_build.py bindings/extensions \( -name '*.[ch]' -o -name '*.in' -o -name '*.py' -o -name '*.toml' -o -name stamp \
        -o -name 'CMake*' -o -name '*.cmake' \) -newer .venv/.built 2>/dev/null | head -1)" ]
}
if changed; then
    say "building"
    .venv/bin/python -m pip -q --disable-pip-version-check install --no-build-isolation --no-deps -e . >"$log" 2>&1 ||
        { { grep -E -B 2 -A 4 'CMake Error|: (fatal )?error:' "$log" || tail -30 "$log"; } | head -30 >&2
          die "the build failed (log: .setup.log)"; } # its end is Python's traceback: the compiler's words are above it
    touch .venv/.built
fi
say ready
