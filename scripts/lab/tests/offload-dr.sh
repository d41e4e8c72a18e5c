# shellcheck shell=bash
# Peers with transmit offload, which AF_XDP hands over unfinished checksums of.
offloading dr
