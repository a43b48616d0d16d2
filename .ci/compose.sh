# Docker Compose without an engine: it reads and checks docker-compose.yml all the same. Sourced by .ci/run.

COMPOSE_VERSION=v5.5.1

compose() {
  if docker compose version > /dev/null 2>&1; then
    docker compose "$@"
  else
    docker-compose "$@"
  fi
}

# Where none is installed, build the release from its Go module (about 90 s on two cores, once a machine).
provide_compose() {
  if ! compose version > /dev/null 2>&1; then
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/score-streaming/compose-$COMPOSE_VERSION
    test -x "$folder/docker-compose" || build_compose "$folder"
    export PATH="$folder:$PATH"
  fi
  compose version
}

build_compose() {
  local module=github.com/docker/compose/v5 source
  source=$(mktemp -d)
  echo "building Docker Compose $COMPOSE_VERSION with $(go version)"
  # Not `go install`, which refuses modules with exclude directives. The versions of all dependencies follow from this
  # one (minimal version selection), and Go checks them all against its checksum database.
  cat > "$source/go.mod" << MODULE
module compose-from-source
go 1.26
require $module $COMPOSE_VERSION
MODULE
  (
    cd "$source"
    export GOFLAGS="-mod=mod -buildvcs=false"
    patiently go mod download "$module"
    go build -trimpath -ldflags "-s -w -X $module/internal.Version=$COMPOSE_VERSION" -o docker-compose "$module/cmd"
  ) > "$source/log" 2>&1 || {
    tail -20 "$source/log"
    return 1
  }
  mkdir -p "$1"
  mv "$source/docker-compose" "$1/docker-compose"
  rm -rf "$source"
}
