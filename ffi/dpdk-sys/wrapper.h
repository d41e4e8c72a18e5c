/*
 * The DPDK headers with the names in build/inventory.rs, and one function for each macro that bindgen cannot see.
 * For inline functions, bindgen writes a shim, and cc compiles it.
 */
#include <rte_config.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_cycles.h>
#include <rte_version.h>

/* rte_errno is a thread-local behind a macro. */
static inline int vipline_errno(void)
{
	return rte_errno;
}
