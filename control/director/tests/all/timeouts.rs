//! The timeouts that `--set` changes have defaults in two places: the model lists its own, and a
//! worker starts with those of the packet path.

use dataplane::conn::tcp::TcpState;
use dataplane::snapshot::tunables::Tunables;
use dataplane::time::Ticks;
use model::Timeouts;

#[test]
fn the_defaults_that_are_listed_are_those_that_workers_start_with() {
    let (listed, used) = (Timeouts::default(), Tunables::default());
    let tcp = |state: TcpState| used.tcp_timeouts[state as usize] / Ticks::PER_SECOND;
    assert_eq!(listed.tcp, tcp(TcpState::Established));
    assert_eq!(listed.tcp_fin, tcp(TcpState::FinWait));
    assert_eq!(listed.udp, used.udp_timeout / Ticks::PER_SECOND);
}
