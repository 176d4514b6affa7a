#!/usr/bin/env bash
# Plays a stream with ffmpeg, every frame decoded: ffmpeg-play.sh URL SECONDS
# Exit 0: at least SECONDS were decoded without an error. Prints one line.
set -uo pipefail
[ $# = 2 ] && [[ $2 =~ ^[0-9]+(\.[0-9]+)?$ ]] || { echo "usage: ffmpeg-play.sh URL SECONDS" >&2; exit 2; }
command -v ffmpeg >/dev/null || { echo "ffmpeg-play.sh: ffmpeg is absent" >&2; exit 1; }

said=$(mktemp)
trap 'rm -f "$said"' EXIT
reached=$(timeout 90 ffmpeg -nostdin -v warning -xerror -i "$1" -map 0:v? -map 0:a? -progress pipe:1 -nostats -f null - 2>"$said")
code=$?
played=$(sed -n 's/^out_time_us=\([0-9]*\)$/\1/p' <<<"$reached" | tail -1)
# A missing segment is only a warning to ffmpeg; a connection that it opens anew is no fault.
problems=$(grep -v 'keepalive request failed' "$said" | tr '\n' ' ' | cut -c1-300)
awk -v code="$code" -v played="${played:-0}" -v wanted="$2" -v problems="$problems" 'BEGIN {
  played /= 1e6
  good = code == 0 && problems == "" && played >= wanted
  printf "%s: decoded %.2f s of %s s wanted, exit code %d%s\n", good ? "ok" : "FAILED", played, wanted, code, problems == "" ? "" : ": " problems
  exit !good
}'
