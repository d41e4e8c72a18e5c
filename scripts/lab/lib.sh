# shellcheck shell=bash
# Loads all of the lab, for scripts that need it.
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=scripts/lab/base.sh
. "$here/base.sh"
# shellcheck source=scripts/lab/topology.sh
. "$here/topology.sh"
# shellcheck source=scripts/lab/checks.sh
. "$here/checks.sh"
# shellcheck source=scripts/lab/director.sh
. "$here/director.sh"
# shellcheck source=scripts/lab/traffic.sh
. "$here/traffic.sh"
