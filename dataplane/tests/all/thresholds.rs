//! Destinations with more connections than their thresholds allow.

use dataplane::snapshot::dest::Method;
use sched::Dest;
use sched::DestId;
use sched::Edit;
use sched::Kind;

use crate::rig::*;

#[test]
fn only_raising_or_removing_a_threshold_ends_an_overload() {
    let mut rig = Rig::new();
    let service = rig.service(TCP, 80, Kind::Fo);
    rig.dest(service, 11, 80, Method::DirectRoute, 1);
    let dest = rig.dest(service, 12, 80, Method::DirectRoute, 9);
    let edit = |rig: &mut Rig, upper| {
        let info = *rig.snapshot().dest(dest).unwrap();
        rig.master().set_dest(dest, dataplane::snapshot::dest::DestInfo { upper, ..info });
        let list = [(12, dest), (11, DestId::new(0))].map(|(n, id)| Dest {
            id,
            addr: rip(n).into(),
            port: 80,
            weight: if n == 12 { 9 } else { 1 },
            last_weight: 1,
        });
        rig.master().set_dests(service, list.to_vec(), Edit::updated(&list, &list[0])).unwrap();
        rig.publish();
    };
    edit(&mut rig, 4);
    let picks = |rig: &mut Rig, from: u16, n: u16| -> Vec<u8> {
        (from..from + n).map(|cport| rig.syn_to(cport, 80)).collect()
    };
    assert_eq!(picks(&mut rig, 5000, 5), [12, 12, 12, 12, 11]);
    edit(&mut rig, 4);
    assert_eq!(picks(&mut rig, 5010, 1), [11], "the threshold is set to the same value");
    edit(&mut rig, 2);
    assert_eq!(picks(&mut rig, 5020, 1), [11], "lowered");
    edit(&mut rig, 3);
    assert_eq!(
        picks(&mut rig, 5030, 2),
        [12, 11],
        "the raised threshold is below its connections, but one more is let in"
    );
    edit(&mut rig, 0);
    assert_eq!(picks(&mut rig, 5040, 3), [12, 12, 12], "lifted");
}
