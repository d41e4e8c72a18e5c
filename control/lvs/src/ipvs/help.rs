//! The output of `-h` and `-v`.

/// The line of `-v`. It gives the compatible version of ipvsadm, because scripts look for it.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

/// The text of `-h`, for a program called `program`.
pub(super) fn usage(program: &str) -> String {
    let lines = USAGE.lines().map(|line| match line.strip_prefix("  % ") {
        Some(rest) => format!("  {program} {rest}\n"),
        None => format!("{line}\n"),
    });
    std::iter::once(VERSION.to_owned()).chain(lines).collect()
}

const USAGE: &str = "\
Usage:
  % -A|E virtual-service [-s scheduler] [-p [timeout]] [-M netmask] [--pe persistence_engine] [-b sched-flags]
  % -D virtual-service
  % -C
  % -R
  % -S [-n]
  % -a|e virtual-service -r server-address [options]
  % -d virtual-service -r server-address
  % -L|l [virtual-service] [options]
  % -Z [virtual-service]
  % -P|Q virtual-service -z local-address
  % -G [virtual-service]
  % --set tcp tcpfin udp
  % -h

Commands (short or long):
  -A --add-service      add a virtual service
  -E --edit-service     replace all settings of a virtual service
  -D --delete-service   delete a virtual service and its servers
  -C --clear            delete everything
  -R --restore          read commands from stdin
  -S --save             print the table as commands for -R
  -a --add-server       add a real server
  -e --edit-server      replace all settings of a real server
  -d --delete-server    delete a real server
  -L -l --list          list the table
  -Z --zero             zero counters, of one service or of all
  -P --add-laddr        add a local address to a service (fullnat)
  -Q --del-laddr        delete a local address of a service (fullnat)
  -G --get-laddr        list local addresses (fullnat)
     --set              set the timeouts of connections, in seconds; 0 keeps a timeout as it is
  -h --help             this text
  -v --version          the version

virtual-service:
  -t --tcp-service host[:port]    -u --udp-service host[:port]
     --sctp-service host[:port]   -f --fwmark-service mark (then -6 --ipv6 for IPv6)

Services:
  -s --scheduler name      rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos lt wlt wrt
                           (default wlc)
  -p --persistent [secs]   clients stay with their server (default 360)
  -M --netmask mask        clients of one network stay together; a prefix length for IPv6
     --pe engine           persistence engine: sip
  -o --ops                 schedule every datagram by itself (UDP)
  -b --sched-flags list    flag-1,flag-2,flag-3 or sh-fallback,sh-port,mh-fallback,mh-port

Servers:
  -r --real-server host[:port]
  -g --gatewaying          direct routing (default)
  -i --ipip                tunnel
  -m --masquerading        NAT
  -b --fullnat             NAT of both ends
     --tun-type type       ipip (default), gue or gre
     --tun-port port       port of a gue tunnel
     --tun-nocsum --tun-csum --tun-remcsum
                           checksum of a gue or gre tunnel
  -w --weight n            capacity, 0 for no new connections (default 1)
  -x --u-threshold n       no new connections once there are n connections
  -y --l-threshold n       new connections again below n connections

Listings:
  -n --numeric             addresses and ports as numbers
  -c --connection          connections
     --timeout             timeouts of connections
     --daemon              synchronization daemons
     --stats               counters              --rate       rates
     --thresholds          thresholds            --tun-info   tunnels
     --persistent-conn     persistent connections; with -c, data of persistence engines
  -X --exact               whole numbers instead of K, M, G
     --nosort              show the order of the table
     --sort                sorted (default)
";
