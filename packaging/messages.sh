#!/usr/bin/env bash
# Collects what is said to people, brings the catalogues up to date, and compiles them.
# New sentences stand empty in resources/locale/*/LC_MESSAGES/leyden.po afterwards: translate them, and call it again.
# `packaging/messages.sh check` changes nothing, and fails where a sentence is missing from the template.
set -euo pipefail
cd "$(dirname "$0")/.."

PYBABEL="${PYBABEL:-.venv/bin/pybabel}"
folder=resources/locale
template="$folder/leyden.pot"

# Without places and dates: a catalogue changes only when a sentence does.
extract() {
    "$PYBABEL" -q extract --keyword=_ --keyword=ngettext:1,2 --no-location --sort-output --no-wrap \
        --project=Leyden --version=1 --copyright-holder="" --output-file="$1" wallet
    sed -i '/^"POT-Creation-Date/d; /^# Copyright/d; /^# FIRST AUTHOR/d' "$1"
}

if [ "${1:-}" = check ]; then
    now="$(mktemp)"
    trap 'rm -f "$now"' EXIT
    extract "$now"
    exec diff -u "$template" "$now"
fi

mkdir -p "$folder"
extract "$template"
for language in de es; do
    file="$folder/$language/LC_MESSAGES/leyden.po"
    mkdir -p "$(dirname "$file")"
    command=update
    [ -f "$file" ] || command=init
    options=()
    [ "$command" = init ] || options=(--no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date)
    "$PYBABEL" -q "$command" --input-file="$template" --output-file="$file" --locale="$language" --no-wrap "${options[@]}"
    sed -i '/^"POT-Creation-Date/d; /^"PO-Revision-Date/d' "$file"
    "$PYBABEL" -q compile --input-file="$file" --output-file="${file%.po}.mo" --locale="$language"
done
