//! Finds the few words of a long log that say why a call failed.

/// Picks the words out of what DPDK and its libraries logged: the kernel's words first, then those
/// of libbpf and libxdp, then DPDK's. One line; `None` if there is nothing to quote.
pub(crate) fn pick(text: &str) -> Option<String> {
    let mut kernel = Vec::new();
    let mut libraries = Vec::new();
    let mut dpdk = None;
    let mut in_verifier_log = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.contains(VERIFIER_BEGINS) || line.contains(VERIFIER_ENDS) {
            in_verifier_log = line.contains(VERIFIER_BEGINS);
        } else if in_verifier_log {
        } else if let Some((_, words)) = line.split_once(KERNEL) {
            add(&mut kernel, words);
        } else if LIBRARIES.iter().any(|library| line.starts_with(library)) {
            if FAILURES.iter().any(|failure| line.contains(failure)) {
                add(&mut libraries, line);
            }
        } else if dpdk.is_none() && !NOISE.iter().any(|noise| line.contains(noise)) {
            dpdk = Some(without_origin(line));
        }
    }
    let words: Vec<_> = kernel.into_iter().chain(libraries).chain(dpdk).collect();
    if words.is_empty() { None } else { Some(words.join("; ").chars().take(LONGEST_LINE).collect()) }
}

/// Adds a line once: set-up is tried more than once, so lines repeat. Keeps at most two lines.
fn add<'a>(lines: &mut Vec<&'a str>, line: &'a str) {
    if !lines.contains(&line) && lines.len() < 2 {
        lines.push(line);
    }
}

/// Removes the words that name the place in DPDK's source, such as `EAL: ` or
/// `rte_pmd_init_internals(): `, and the final full stop.
fn without_origin(line: &str) -> &str {
    let mut line = line;
    while let Some((origin, rest)) = line.split_once(": ")
        && (origin.ends_with("()") || origin.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    {
        line = rest;
    }
    line.trim_end_matches('.')
}

const KERNEL: &str = "Kernel error message: ";
const VERIFIER_BEGINS: &str = "BEGIN PROG LOAD LOG";
const VERIFIER_ENDS: &str = "END PROG LOAD LOG";
const LIBRARIES: &[&str] = &["libbpf: ", "libxdp: "];
/// Words by which libbpf and libxdp report a failure. Their other lines explain nothing.
const FAILURES: &[&str] = &["Error", "error", "ailed", "Couldn't", "couldn't", "not supported", "ermission"];
/// Lines that add nothing to the error they would be quoted in.
const NOISE: &[&str] = &[
    "cannot attach the device",
    "Cannot attach",
    "Failed to attach device",
    "Driver cannot",
    "cannot initialize",
    "Usage: ",
];
const LONGEST_LINE: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_taken_off() {
        assert_eq!(without_origin("EAL: Cannot init memory"), "Cannot init memory");
        assert_eq!(without_origin("ETHDEV: some_function(): eth0: no such: thing"), "eth0: no such: thing");
        assert_eq!(without_origin("plain."), "plain");
    }

    #[test]
    fn the_kernels_words_come_first_and_once() {
        let said = "libbpf: elf: skipping unrecognized data section(8) .xdp_run_config\n\
                    libxdp: No bpffs found at /sys/fs/bpf\n\
                    libbpf: Kernel error message: veth: Peer MTU is too large to set XDP\n\
                    libxdp: Error attaching XDP program to ifindex 5: Numerical result out of range\n\
                    xsk_configure(): Failed to create xsk socket.\n\
                    libbpf: Kernel error message: veth: Peer MTU is too large to set XDP\n\
                    eth_rx_queue_setup(): Failed to configure xdp socket\n";
        let words = "veth: Peer MTU is too large to set XDP; \
                     libxdp: Error attaching XDP program to ifindex 5: Numerical result out of range; \
                     Failed to create xsk socket";
        assert_eq!(pick(said).as_deref(), Some(words));
    }

    #[test]
    fn the_verifiers_log_is_left_out() {
        let said = "libbpf: prog 'xsk_def_prog': BPF program load failed: Permission denied\n\
                    libbpf: prog 'xsk_def_prog': -- BEGIN PROG LOAD LOG --\n\
                    R1 type=ctx error expected=fp\n\
                    -- END PROG LOAD LOG --\n";
        let words = "libbpf: prog 'xsk_def_prog': BPF program load failed: Permission denied";
        assert_eq!(pick(said).as_deref(), Some(words));
    }

    #[test]
    fn chatter_explains_nothing() {
        assert_eq!(
            pick("libxdp: Falling back to loading single prog without dispatcher\n\nUsage: vipline\n"),
            None
        );
    }
}
