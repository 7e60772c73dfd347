#!/bin/bash
#
# install-dependencies.sh
#
# Installs from Debian what building, testing and measuring need and this machine lacks: quietly,
# and in no time where all is there.
#
# It starts no service and enables none: what runs on this machine stays as it is. The tests run
# their registry in a box of their own (tests/box/boot).

set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

packages=(
  gcc libc6-dev   # links the programs; compiles the C and assembly parts of zstd and ring
  make            # the Makefile
  systemd dbus    # what the box boots
  libpam-systemd dbus-user-session # user managers in the box
  docker-registry # the registry the tests pull from
  openssl         # its certificate
  skopeo          # reads our store, to see that others can
  busybox-static  # the program in the test images
  netavark aardvark-dns iptables # bridges, published ports and names of containers
  catatonit       # the init of --init
  iproute2        # what the tests see of interfaces
  uidmap          # newuidmap and newgidmap, for containers of ordinary users
  passt           # pasta, the network of ordinary users' containers
  e2fsprogs mount # the disk whose power is cut
  strace          # counts system calls
  podman          # whose containers are updated, whose words and archives are held against ours
  crun runc       # what --runtime runs, and Podman
  buildah         # another who makes and pushes images
)

# Units that a package enables when it is installed, for which this machine's owner did not ask.
declare -A enables=(
  [docker-registry]="docker-registry.service"
  [podman]="podman.socket podman.service podman-restart.service podman-auto-update.timer
    podman-auto-update.service"
)

fail() {
  echo "install-dependencies: $*" >&2
  exit 1
}

command -v dpkg-query apt-get > /dev/null || fail "this is not Debian: install the equivalents of ${packages[*]}"
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2> /dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || fail "missing, and only root can install them: ${missing[*]}"

echo "installing ${missing[*]}"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
wrote_policy=
cleanup() {
  rm -f "$log"
  [ -z "$wrote_policy" ] || rm -f "$policy"
}
trap cleanup EXIT

# Packages ask this program before they start a service; 101 is "no". One that is there stays.
if [ ! -e "$policy" ]; then
  wrote_policy=yes
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

quietly() {
  "$@" > "$log" 2>&1 < /dev/null || { cat "$log" >&2; fail "failed: $*"; }
}
# The lists may be old or missing; they are fetched only where something has to be installed.
quietly apt-get --quiet update
quietly apt-get --quiet --yes --no-install-recommends install "${missing[@]}"

for package in "${missing[@]}"; do
  # shellcheck disable=SC2086 # a list of units
  [ -z "${enables[$package]:-}" ] || quietly systemctl disable ${enables[$package]}
done
