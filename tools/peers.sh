#!/bin/sh
# Makes .venv-peers, in which libperf is measured beside other libraries, and installs this libperf into it. Profilers are
# measured in .venv-peers-new, on Python 3.13 or newer: what was promised of ours needs it. Where no such Python is found
# there is none, and they are measured in .venv-peers. Does what has to be done, and the libperf of now each time.
set -eu
cd "$(dirname "$0")/.."
wanted=bench/peers/requirements

install() { # VENV WHAT...
    venv=$1
    shift
    "$venv/bin/python" -m pip -q --disable-pip-version-check install "$@"
}

make_venv() { # VENV PYTHON REQUIREMENTS [WITHOUT-THEIRS]: anew when these have changed; libperf's own come with it
    cat ${4:+"$4"} "$3" | cmp -s - "$1/.requirements" || {
        rm -rf "$1"
        "$2" -m venv "$1"
        install "$1" -r "$3" pytest .
        if [ $# = 4 ]; then install "$1" --no-deps -r "$4"; fi
        cat ${4:+"$4"} "$3" >"$1/.requirements"
    }
    install "$1" --no-deps --force-reinstall .
}

newer_python() { # prints the first that runs and is new enough
    for python in python3 python3.14 python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[34].*/bin/python; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null && echo "$python" && return
    done
    return 1
}

make_venv .venv-peers python3 $wanted.txt $wanted-no-deps.txt
if python=$(newer_python); then
    profilers=$(mktemp)
    trap 'rm -f "$profilers"' EXIT
    awk '/^#/ { ours = /profile_cost/ } ours && !/^#/' $wanted.txt >"$profilers"
    make_venv .venv-peers-new "$python" "$profilers"
else
    echo "no Python 3.13 or newer is found: profilers are measured on $(python3 -V), which our bars are not for" >&2
fi
