#!/usr/bin/env bash
# run.sh BUILD SECONDS: each target in BUILD for its share of the time, beginning with its seeds in corpus/. What is new
# stays in BUILD/NAME, so that a later run goes on from there; a finding goes to BUILD/findings. RUN is put in front.
set -euo pipefail
build=$1 seconds=$2
here=$(cd "$(dirname "$0")" && pwd)
names=(decode tables damage trellis)
share=$((seconds / ${#names[@]} > 0 ? seconds / ${#names[@]} : 1))
mkdir -p "$build/findings"

# Memory is limited, so that an allocation without bounds is a finding.
limits=(-max_total_time="$share" -timeout=20 -malloc_limit_mb=64 -len_control=10 -max_len=1500)
faults=(-e 'broken promise' -e 'ERROR' -e 'runtime error' -e 'Assertion')
counts='s/.*#\([0-9]*\).*cov: \([0-9]*\).*corp: \([0-9]*\).*/\1 inputs, \2 edges, \3 inputs kept, nothing found/'

for name in "${names[@]}"; do
    mkdir -p "$build/$name"
    log=$build/$name.log
    if ! ${RUN:-} "$build/fuzz_$name" "${limits[@]}" -artifact_prefix="$build/findings/$name-" "$build/$name" \
        "$here/corpus/$name" >"$log" 2>&1; then
        grep -a -B 2 -A 25 -m 1 "${faults[@]}" "$log" >&2 || tail -n 30 "$log" >&2
        echo "fuzz_$name found a fault; see native/fuzz/README.md. To run it again: $build/fuzz_$name FILE, one of" >&2
        find "$build/findings" -name "$name-*" >&2
        exit 1
    fi
    echo "fuzz_$name: $(grep -a DONE "$log" | sed "$counts")"
done
