//! What `vipline mark -h` prints.

pub(super) const USAGE: &str = "\
Firewall marks in iptables' words: services by mark (ipvsadm -A -f MARK) take the packets that bear theirs.
The rules are those of the chain PREROUTING of the table mangle. They are asked once a connection.

  vipline mark -A PREROUTING CONDITIONS -j TARGET            append a rule
  vipline mark -I PREROUTING [NUMBER] CONDITIONS -j TARGET   insert one, at the front unless told
  vipline mark -R PREROUTING NUMBER CONDITIONS -j TARGET     replace one
  vipline mark -D PREROUTING CONDITIONS -j TARGET            delete the first that says this
  vipline mark -D PREROUTING NUMBER                          delete by number
  vipline mark -C PREROUTING CONDITIONS -j TARGET            is there one that says this? exit code 0 or 1
  vipline mark -F                                            delete all
  vipline mark -L [PREROUTING [NUMBER]] [--line-numbers]     list as a table
  vipline mark -S [PREROUTING [NUMBER]]                      list as commands
  vipline mark save                                          print all, for restore or iptables-restore
  vipline mark restore [--noflush]                           read rules from stdin: all of them or none

Conditions, ! before any of them for its opposite:
  -s, --source ADDRESS[/LENGTH|/MASK]       several with commas between them make several rules
  -d, --destination ADDRESS[/LENGTH|/MASK]
  -i, --in-interface NAME                   a port's host interface; with + behind it, all that begin so
  -p, --protocol tcp|udp|NUMBER
  --sport PORT[:PORT], --dport PORT[:PORT]
  -m multiport --sports|--dports|--ports PORT[:PORT][,...]

Long options may be cut short, as with iptables. -m comment --comment TEXT, -c PACKETS BYTES, -w, -n, -4,
-P PREROUTING ACCEPT, -Z and -X are taken and change nothing.

Targets:
  MARK --set-mark VALUE[/MASK]              clear the bits of MASK and set VALUE; also --set-xmark,
                                            --and-mark, --or-mark, --xor-mark; the next rules are still asked
  ACCEPT, RETURN                            ask no more rules
";
