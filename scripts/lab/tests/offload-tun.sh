# shellcheck shell=bash
# Peers with transmit offload: AF_XDP hands over their packets with unfinished checksums.
offloading tun
