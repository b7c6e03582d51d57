#!/bin/sh
# Makes seeds of the recordings: all that one side sent, preceded by a byte that says how it is cut.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/stream
for recording in ../tests/wire/*.hex; do
	for side in 'C>S' 'S>C'; do
		hex=$(grep "^[0-9]* $side " "$recording" | cut -d' ' -f3 | tr -d '\n') || continue
		printf 'ff%s' "$hex" | xxd -r -p >"corpus/stream/$(basename "$recording" .hex).${side%%>*}"
	done
done
