#!/usr/bin/env bash
# install.sh SET...   install what the tests with real servers need, from Debian's packages
#
# Sets: postgres kafka libvirt netlab browser alertmanager files lint peers. A set whose programs are there already costs
# nothing. Needs root and a package registry; without them it says what is missing and exits 1.
set -euo pipefail
say() { echo "install: $*" >&2; }
declare -A PACKAGES=(
  [postgres]="postgresql"
  [kafka]="openjdk-17-jre-headless maven"
  [libvirt]="libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 nasm iproute2 softflowd"
  [netlab]="softflowd pmacct fprobe openvswitch-switch tshark iperf3 iputils-ping ethtool socat jq iproute2 python3"
  [browser]="chromium fonts-dejavu-core"
  [alertmanager]="prometheus-alertmanager"
  [files]="libreoffice-calc-nogui qpdf poppler-utils"
  [lint]="shellcheck"
  [peers]="nfdump nfdump-sflow pmacct fastnetmon jq curl"
)
declare -A PROGRAMS=(
  [postgres]="" # its programs are in a folder of their own: looked for below
  [kafka]="java mvn"
  [libvirt]="libvirtd virsh qemu-system-x86_64 nasm ip softflowd"
  [netlab]="softflowd pmacctd fprobe ovs-vswitchd socat jq ip python3 ethtool"
  [browser]="chromium"
  [alertmanager]="prometheus-alertmanager"
  [files]="soffice qpdf pdftotext pdftoppm"
  [lint]="shellcheck"
  [peers]="nfcapd sfcapd nfdump nfacctd sfacctd fastnetmon jq curl"
)
present() {
  local p
  [ "$1" != postgres ] || { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; return; }
  for p in ${PROGRAMS[$1]}; do command -v "$p" >/dev/null || return 1; done
}
wanted=()
for set in "$@"; do
  [ -n "${PACKAGES[$set]:-}" ] || { say "no set $set (have: ${!PACKAGES[*]})"; exit 2; }
  present "$set" || wanted+=("$set")
done
[ ${#wanted[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  say "missing: ${wanted[*]}. Install ${wanted[*]/*/} by hand or run this as root on Debian 12 or newer"
  exit 1
fi
list=()
for set in "${wanted[@]}"; do
  for package in ${PACKAGES[$set]}; do
    # A Java or Maven that came by another way is good enough.
    case $package in openjdk-*) command -v java >/dev/null && continue ;; maven) command -v mvn >/dev/null && continue ;; esac
    list+=("$package")
  done
done
say "installing ${list[*]}"
export DEBIAN_FRONTEND=noninteractive
exec 9>/tmp/hostmeter-install.lock
flock 9
# Nothing that a package would start is wanted: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; trap 'rm -f $policy' EXIT; fi
apt-get -qq update >&2
apt-get -qq install -y --no-install-recommends "${list[@]}" >&2
for set in "${wanted[@]}"; do present "$set" || { say "installed $set, but its programs are still missing"; exit 1; }; done
