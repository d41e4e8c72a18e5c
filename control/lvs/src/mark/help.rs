//! The output of `vipline mark -h`.

pub(super) const USAGE: &str = "\
Firewall marks in the words of iptables: a service by mark (ipvsadm -A -f MARK) takes the packets with its mark.
The rules are those of the chain PREROUTING of the table mangle. A connection goes through them once.

  vipline mark -A PREROUTING CONDITIONS -j TARGET            append a rule
  vipline mark -I PREROUTING [NUMBER] CONDITIONS -j TARGET   insert one, at the front by default
  vipline mark -R PREROUTING NUMBER CONDITIONS -j TARGET     replace one
  vipline mark -D PREROUTING CONDITIONS -j TARGET            delete the first rule that is equal
  vipline mark -D PREROUTING NUMBER                          delete by number
  vipline mark -C PREROUTING CONDITIONS -j TARGET            exit code 0 if an equal rule exists, 1 if not
  vipline mark -F                                            delete all
  vipline mark -L [PREROUTING [NUMBER]] [--line-numbers]     list as a table
  vipline mark -S [PREROUTING [NUMBER]]                      list as commands
  vipline mark save                                          print all, for restore or iptables-restore
  vipline mark restore [--noflush]                           read rules from stdin: all of them or none

Conditions; ! before one means its opposite:
  -s, --source ADDRESS[/LENGTH|/MASK]       several, separated by commas, make several rules
  -d, --destination ADDRESS[/LENGTH|/MASK]
  -i, --in-interface NAME                   a port's host interface; NAME+ is all that begin with NAME
  -p, --protocol tcp|udp|NUMBER
  --sport PORT[:PORT], --dport PORT[:PORT]
  -m multiport --sports|--dports|--ports PORT[:PORT][,...]

Long options may be shortened, as with iptables. -m comment --comment TEXT, -c PACKETS BYTES, -w, -n, -4,
-P PREROUTING ACCEPT, -Z and -X are accepted and change nothing.

Targets:
  MARK --set-mark VALUE[/MASK]              clear the bits of MASK and set VALUE; also --set-xmark,
                                            --and-mark, --or-mark, --xor-mark; the next rules still apply
  ACCEPT, RETURN                            no more rules apply
";
