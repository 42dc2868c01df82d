# shellcheck shell=bash
# Sourced by the scripts: sets up what they ask for, once, and again only when a lock file has changed.
# Safe to run several times at once. Progress goes to stderr, one line per step that does something.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

step() { printf '  %s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Debian packages, where we may install them; else a sentence that says what is missing.
apt_install() { # REASON PACKAGE...
  local reason=$1
  shift
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "$reason. Install it (on Debian or Ubuntu: sudo apt-get install $*) and run this again."
  fi
  step "apt-get install $*"
  (
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"
  ) >"$root/build/apt.log" 2>&1 </dev/null || die "apt-get could not install $*; see build/apt.log"
}

# Holds build/setup.lock while COMMAND runs, so that two scripts started together do not install twice.
locked() { # COMMAND...
  mkdir -p "$root/build"
  (
    flock 9
    "$@" 9>&-
  ) 9>"$root/build/setup.lock"
}

fits() { # PYTHON: 3.11 or newer, and able to make environments
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() { # prints the newest fitting python on PATH, else the newest that pyenv has
  local candidate
  for candidate in python3.14 python3.13 python3.12 python3.11 python3 \
    $(printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3 | sort -rV); do
    if fits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

# STAMP remembers the digest of the files that COMMAND was last run for.
when_changed() { # STAMP "FILE..." COMMAND...
  local stamp=$1 now
  # shellcheck disable=SC2086
  now=$(cd "$root" && digest $2)
  shift 2
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ] && return
  "$@"
  printf '%s\n' "$now" >"$stamp"
}

install_locked() { # VENV LOCKFILE...
  local venv=$1 lock
  shift
  step "installing $* into $(basename "$venv")"
  for lock in "$@"; do
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r "$root/$lock" \
      || die "pip could not install $lock into $(basename "$venv") (its message stands above)"
  done
}

install_project() { # VENV
  step "installing retainer into $(basename "$1")"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
    --no-build-isolation --editable "$root" || die "pip could not install the project into $(basename "$1")"
}

ensure_python() { # VENV: an environment, still empty
  local venv=$1 found
  "$venv/bin/python" -c '' 2>/dev/null && return
  found=$(find_python) || {
    apt_install "Python 3.11 or newer with its venv module is needed, and none was found" python3 python3-venv
    found=$(find_python) || die "Debian's python3 is older than 3.11; install Python 3.11 or newer (pyenv install 3.12)"
  }
  step "creating $(basename "$venv") with $("$found" --version)"
  rm -rf "$venv"
  "$found" -m venv "$venv" || die "$found could not create $venv"
}

ensure_venv() { # VENV LOCKFILE...: with the project
  local venv=$1
  shift
  ensure_python "$venv"
  when_changed "$venv/.locked" "$*" install_locked "$venv" "$@"
  when_changed "$venv/.project" pyproject.toml install_project "$venv"
}

ensure_foreign_venv() { # VENV LOCKFILE...: without it
  local venv=$1
  shift
  ensure_python "$venv"
  when_changed "$venv/.locked" "$*" install_locked "$venv" "$@"
}

ensure_wrk() {
  command -v wrk >/dev/null || apt_install "Load comes from wrk" wrk
  command -v wrk >/dev/null || die "wrk was installed, but is not on PATH"
}

install_localnet() {
  step "installing Surfpool into tools/localnet"
  (cd "$root/tools/localnet" && npm ci --silent --no-audit --no-fund) || die "npm could not install tools/localnet"
}

node_is_new_enough() { # MAJOR
  command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < process.argv[1] ? 1 : 0)' "$1" 2>/dev/null
}

ensure_localnet() {
  node_is_new_enough 18 || apt_install "The local validator runs in Node 18 or newer, with npm" nodejs npm
  node_is_new_enough 18 || die "node $(node --version) is too old for the local validator; install Node 18 or newer"
  when_changed "$root/tools/localnet/node_modules/.locked" tools/localnet/package-lock.json install_localnet
}

install_mppx() {
  step "installing mppx, a peer to measure against, into tools/bench/mppx"
  (cd "$root/tools/bench/mppx" && npm ci --silent --no-audit --no-fund) || die "npm could not install tools/bench/mppx"
}

ensure_mppx() {
  node_is_new_enough 20 || apt_install "mppx, which requests are measured beside, runs in Node 20 or newer, with npm" nodejs npm
  node_is_new_enough 20 || die "node $(node --version) is too old for mppx; install Node 20 or newer"
  when_changed "$root/tools/bench/mppx/node_modules/.locked" tools/bench/mppx/package-lock.json install_mppx
}

install_panel() {
  step "installing what builds and tests the web panel into provider/panel"
  (cd "$root/provider/panel" && npm ci --silent --no-audit --no-fund) || die "npm could not install provider/panel"
}

# Debian 12 has Node 18, which builds no panel: what apt has is installed only where it is new enough.
apt_has_node() { # MAJOR
  local candidate
  candidate=$(apt-cache policy nodejs 2>/dev/null | sed -n 's/ *Candidate: //p')
  candidate=${candidate%%[.~+-]*}
  case $candidate in '' | *[!0-9]*) return 1 ;; esac
  [ "$candidate" -ge "$1" ]
}

ensure_panel() {
  node_is_new_enough 20 || ! apt_has_node 20 \
    || apt_install "The web panel is built and tested with Node 20 or newer, with npm" nodejs npm
  node_is_new_enough 20 || die "building, testing and linting the web panel needs Node 20.19 or newer with npm, and $(
    command -v node >/dev/null && printf 'node here is %s' "$(node --version)" || printf 'there is no node here'
  ). Install it from nodejs.org or with nvm. Serving and trying the panel needs none: its built page is committed, and scripts/panel, scripts/demo and pip install use that"
  when_changed "$root/provider/panel/node_modules/.locked" provider/panel/package-lock.json install_panel
}

has_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

ensure_chromium() {
  has_chromium >/dev/null 2>&1 || apt_install "Tests of the web panel need Chromium" chromium
  has_chromium >/dev/null 2>&1 || die "Chromium was installed, but is not on PATH"
}

has_postgres() { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; }

ensure_postgres() {
  has_postgres >/dev/null 2>&1 || apt_install "Tests of books that processes share need a PostgreSQL server" postgresql
  has_postgres >/dev/null 2>&1 || die "PostgreSQL was installed, but initdb is neither on PATH nor under /usr/lib/postgresql"
}

has_rust_tools() { cargo fmt --version && cargo clippy --version; }

ensure_rust_tools() {
  has_rust_tools >/dev/null 2>&1 \
    || apt_install "Formatting and lints of the program need cargo with rustfmt and clippy" \
      cargo-web rustc-web rustfmt-web rust-web-clippy libc6-dev gcc
  has_rust_tools >/dev/null 2>&1 || die "cargo is there, but not rustfmt and clippy; rustup component add rustfmt clippy"
}

# What scripts call. Each leaves the named environment complete.
setup_python() { locked ensure_venv "$root/.venv" requirements/dev.txt; }
setup_anchorpy() { locked ensure_venv "$root/.venv-anchorpy" requirements/anchorpy.txt requirements/stock.txt; }
setup_peer() { locked ensure_foreign_venv "$root/.venv-peer" requirements/peer.txt; }
setup_mppx() { locked ensure_mppx; }
setup_wrk() { locked ensure_wrk; }
setup_localnet() { locked ensure_localnet; }
setup_panel() { locked ensure_panel; }
setup_chromium() { locked ensure_chromium; }
setup_postgres() { locked ensure_postgres; }
setup_rust_tools() { locked ensure_rust_tools; }
