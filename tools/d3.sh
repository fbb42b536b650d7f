#!/usr/bin/env bash
# Writes validators/report/html/d3.min.js again: the few modules of D3 that the report's charts need, one after the other.
# They are committed, not installed: a report has to be writable wherever paritygate is. `tools/d3.sh`, with npm at hand.
set -euo pipefail
target="$(cd "$(dirname "$0")/.." && pwd)/validators/report/html/d3.min.js"
modules=(d3-array@3.2.4 d3-color@3.1.0 d3-format@3.1.0 d3-interpolate@3.0.1 d3-time@3.1.0 d3-time-format@4.1.0
  d3-scale@4.0.2 d3-selection@3.0.0 d3-axis@3.0.0) # each after those it needs
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
echo '{}' > "$folder/package.json"
npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error "${modules[@]}" > /dev/null
{
  echo '/*'
  echo 'From D3 (ISC licence), for the charts of report.html. Written by tools/d3.sh; do not edit.'
  echo "${modules[*]}"
  cat "$folder/node_modules/d3-scale/LICENSE"
  echo '*/'
  for module in "${modules[@]}"; do
    name="${module%@*}"
    tail -n +2 "$folder/node_modules/$name/dist/$name.min.js" # without the line of copyright, which links to a page
    echo
  done
} > "$target"
wc -c "$target"
