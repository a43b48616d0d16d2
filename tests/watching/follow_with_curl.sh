#!/usr/bin/env bash
# Follows one stream with curl alone: prints what comes, and after its end comes back with the last id.
#   TOKEN=... follow_with_curl.sh 'http://127.0.0.1:8080/v1/stream?topic=school/71700016000001'
# Between streams stand lines that begin with "---".
part=$(mktemp)
trap 'rm -f "$part"' EXIT
last='' pause_ms=3000 turn=0
while :; do
  turn=$((turn + 1)) url=$1 resume=()
  if [ -n "$last" ]; then
    # Both ways of saying it, in turn.
    if ((turn % 2)); then url="$1&last_event_id=$last"; else resume=(-H "Last-Event-ID: $last"); fi
  fi
  echo '--- begins'
  # Twenty seconds without a byte: that connection is dead.
  curl --silent --fail --no-buffer --noproxy '*' --connect-timeout 5 --speed-time 20 --speed-limit 1 \
    -H "Authorization: Bearer $TOKEN" "${resume[@]}" "$url" | tee "$part"
  printf '\n--- ended %s\n' "${PIPESTATUS[0]}"
  # Only events that came whole count: an empty line ends them.
  read -r pause_ms last < <(awk -v last="$last" -v pause="$pause_ms" '
    /^id: / { id = substr($0, 5) }
    /^retry: / { retry = substr($0, 8) }
    /^$/ { if (id != "") last = id; if (retry != "") pause = retry; id = retry = "" }
    END { print pause, last }' "$part")
  sleep "$((pause_ms / 1000)).$(printf %03d $((pause_ms % 1000)))"
done
