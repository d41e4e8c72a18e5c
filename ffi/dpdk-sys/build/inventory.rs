//! The parts of DPDK that Vipline uses: the allowlist for bindgen, and the libraries to link.
//!
//! Names are regular expressions that must match the whole name. The types that a listed function
//! or type mentions are included automatically. Add a line here before you call something new;
//! remove the line with its last caller.

/// Functions, exported or inline. The inline ones get a shim.
pub(crate) const FUNCTIONS: &[&str] = &[
    // the environment layer
    "rte_eal_cleanup",
    "rte_eal_get_runtime_dir",
    "rte_eal_init",
    "rte_openlog_stream",
    "rte_strerror",
    "rte_version",
    "vipline_errno",
    // logical cores
    "rte_eal_get_lcore_state",
    "rte_eal_remote_launch",
    "rte_eal_wait_lcore",
    "rte_get_main_lcore",
    "rte_get_next_lcore",
    "rte_get_tsc_hz",
    "rte_lcore_id",
    "rte_rdtsc",
    // devices that come and go
    "rte_bus_name",
    "rte_dev_probe",
    "rte_devargs_parse",
    "rte_devargs_reset",
    "rte_eal_hotplug_remove",
    "rte_eth_dev_count_avail",
    "rte_eth_iterator_cleanup",
    "rte_eth_iterator_init",
    "rte_eth_iterator_next",
    // packet memory
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_pktmbuf_alloc",
    "rte_pktmbuf_alloc_bulk",
    "rte_pktmbuf_free",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    // a port's set-up
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_info_get",
    "rte_eth_dev_is_valid_port",
    "rte_eth_dev_rss_hash_conf_get",
    "rte_eth_dev_rss_reta_query",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_link_get_nowait",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    // a port's counters
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    // a port's packets
    "rte_eth_rx_burst",
    "rte_eth_tx_burst",
];

/// Types that no listed function mentions.
pub(crate) const TYPES: &[&str] = &["rte_eth_rx_mq_mode", "rte_lcore_state_t"];

/// Constants.
pub(crate) const VARS: &[&str] = &[
    "RTE_DEV_NAME_MAX_LEN",
    "RTE_EAL_PMD_PATH",
    "RTE_ETH_(RX|TX)_OFFLOAD_.*",
    "RTE_ETH_LINK_(UP|FULL_DUPLEX)",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_ETH_RETA_GROUP_SIZE",
    "RTE_ETH_RSS_.*",
    "RTE_ETH_SPEED_NUM_UNKNOWN",
    "RTE_MAX_ETHPORTS",
    "RTE_MAX_LCORE",
    "RTE_MBUF_F_(RX|TX)_.*",
    "RTE_PKTMBUF_HEADROOM",
];

/// Prefixes of constants that are bits of a 64-bit field.
pub(crate) const FLAGS: &[&str] =
    &["RTE_ETH_RSS_", "RTE_ETH_RX_OFFLOAD_", "RTE_ETH_TX_OFFLOAD_", "RTE_MBUF_F_RX_", "RTE_MBUF_F_TX_"];

/// Packed structs inside packed structs, which Rust cannot express; we never read their fields.
pub(crate) const OPAQUE: &[&str] = &["rte_arp_.*", "rte_ecpri.*", "rte_gtp_psc_.*", "rte_l2tpv2_.*"];

/// The libraries that hold FUNCTIONS. Drivers are plugins that DPDK loads by itself.
pub(crate) const LIBRARIES: &[&str] = &[
    "rte_bus_vdev",
    "rte_eal",
    "rte_ethdev",
    "rte_kvargs",
    "rte_mbuf",
    "rte_mempool",
    "rte_net",
    "rte_ring",
];
