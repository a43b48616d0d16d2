# Debian packages, installed where they are missing. Sourced by .ci/run.

# A mirror that is busy for a moment must not fail a run.
patiently() {
  local attempt
  for attempt in 1 2 3 4; do
    "$@" && return
    echo "failed: $*; attempt $attempt of 4" >&2
    sleep $((attempt * 5))
  done
  return 1
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # RUNLEVEL=1: what brings a service with it must not start it; the tests start their own, on ports of their own.
  patiently apt-get -qq update
  RUNLEVEL=1 patiently apt-get -qq install --yes --no-install-recommends "$@" > /dev/null
}

# install_packages COMMAND=PACKAGE...: the packages whose command is not there.
install_packages() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" > /dev/null || missing+=("${pair##*=}")
  done
  if ((${#missing[@]})); then
    echo "installing ${missing[*]}"
    apt_install "${missing[@]}"
  fi
  for pair in "$@"; do
    command -v "${pair%%=*}"
  done
}

# install_fonts PACKAGE: a page without any font shows boxes.
install_fonts() {
  test -n "$(fc-list)" || apt_install "$1"
  echo "fonts: $(fc-list | wc -l)"
}
