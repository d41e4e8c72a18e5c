use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn pop(wheel: &mut Wheel, now: Ticks) -> Vec<Due> {
    let mut out = ArrayVec::<_, 32>::new();
    wheel.pop_due(now, &mut out);
    out.to_vec()
}

fn pop_all(wheel: &mut Wheel, now: Ticks) -> Vec<Due> {
    let mut all = Vec::new();
    loop {
        let some = pop(wheel, now);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[test]
fn a_record_comes_when_its_slot_is_over_and_not_earlier() {
    let start = Ticks::new(u32::MAX - 30);
    let mut wheel = Wheel::new(10, start);
    assert_eq!(wheel.schedule(7, start.plus(26)), Some(start.plus(50)));
    assert_eq!(pop(&mut wheel, start.plus(49)), []);
    assert_eq!(pop(&mut wheel, start.plus(50)), [Due { id: 7, at: start.plus(50) }]);
    assert_eq!(pop(&mut wheel, start.plus(5000)), []);
}

#[test]
fn a_far_time_is_cut_to_the_horizon_and_a_past_one_comes_next() {
    let mut wheel = Wheel::new(10, Ticks::new(1000));
    assert_eq!(wheel.schedule(1, Ticks::from_secs(3600)), Some(Ticks::new(1000 + 256 * SLOT_TICKS)));
    assert_eq!(wheel.schedule(2, Ticks::new(3)), Some(Ticks::new(1000 + SLOT_TICKS)));
}

#[test]
fn a_second_record_of_an_id_in_the_same_slot_is_stale_once_the_first_was_handled() {
    let mut wheel = Wheel::new(10, Ticks::new(0));
    let at = wheel.schedule(4, Ticks::new(90)).unwrap();
    assert_eq!(wheel.schedule(4, Ticks::new(80)), Some(at));
    assert_eq!(pop(&mut wheel, at), [Due { id: 4, at }; 2]);
    // Even if the entry's time is past, the new record goes to a later slot.
    assert!(wheel.renew(4, Ticks::new(1)).unwrap().since(at) > 0);
}

#[test]
fn only_an_earlier_slot_takes_a_second_record() {
    let mut wheel = Wheel::new(10, Ticks::new(0));
    let held = wheel.schedule(4, Ticks::new(90)).unwrap();
    for at in [80, 90, 99, 100, 101, 9000] {
        assert_eq!(wheel.hasten(4, Ticks::new(at), held), held);
    }
    assert_eq!(wheel.len(), 1);
    assert_eq!(wheel.hasten(4, Ticks::new(75), held), Ticks::new(75));
    assert_eq!(wheel.len(), 2);
    for n in 0..18 {
        wheel.schedule(n, Ticks::new(900)).unwrap();
    }
    assert_eq!(wheel.hasten(4, Ticks::new(50), Ticks::new(75)), Ticks::new(75));
}

#[test]
fn a_full_wheel_refuses_new_records_and_renews_popped_ones() {
    let mut wheel = Wheel::new(100, Ticks::new(0));
    // Each record is in a slot of its own, as far as there are slots. This gives the most partly
    // filled chunks.
    for n in 0..200 {
        assert!(wheel.schedule(n, Ticks::new(SLOT_TICKS * (n + 1))).is_some());
    }
    assert_eq!(wheel.schedule(9, Ticks::new(1)), None);
    let due = pop(&mut wheel, Ticks::new(10 * SLOT_TICKS));
    assert_eq!(due.len(), 10);
    assert_eq!(wheel.schedule(9, Ticks::new(1)), None);
    for due in due {
        assert!(wheel.renew(due.id, Ticks::new(1)).is_some());
    }
    assert_eq!(wheel.renew(9, Ticks::new(1)), None);
    assert_eq!(wheel.len(), 200);
}

#[test]
fn after_a_jump_of_a_month_all_records_come_at_once() {
    let mut wheel = Wheel::new(1000, Ticks::new(0));
    for n in 0..1000 {
        wheel.schedule(n, Ticks::new(n * 10)).unwrap();
    }
    let later = Ticks::from_secs(30 * 86_400);
    assert_eq!(pop_all(&mut wheel, later).len(), 1000);
    let at = wheel.schedule(1, later.plus(100)).unwrap();
    assert!((100..100 + SLOT_TICKS as i32).contains(&at.since(later)));
}

#[test]
fn two_records_a_connection_cost_at_most_ten_bytes() {
    assert!(Wheel::new(1 << 20, Ticks::new(0)).memory_bytes() <= 10 << 20);
}

#[derive(Clone, Debug)]
enum Op {
    Schedule { id: u32, after: i32 },
    Wait(u32),
    Pop,
}

fn op() -> impl Strategy<Value = Op> {
    let after = prop_oneof![-100..200_i32, 0..10_000_i32];
    prop_oneof![
        6 => (0..40_u32, after).prop_map(|(id, after)| Op::Schedule { id, after }),
        2 => (0..60_u32).prop_map(Op::Wait),
        1 => (0..20_000_u32).prop_map(Op::Wait),
        4 => Just(Op::Pop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Compares the wheel with a sorted list of its records.
    #[test]
    fn records_come_in_order_never_early_never_lost(
        start: u32,
        ops in proptest::collection::vec(op(), 1..300),
    ) {
        let start = Ticks::new(start);
        let (mut now, mut polled, mut emptied) = (start, start, start);
        let mut wheel = Wheel::new(40, start);
        // The ids that are due at a time, in the order in which they were scheduled. The key is in
        // ticks since the start.
        let mut held = BTreeMap::<i32, Vec<u32>>::new();
        let mut owed = 0;
        for op in ops {
            let count = held.values().map(Vec::len).sum::<usize>();
            prop_assert_eq!(wheel.len(), count);
            match op {
                Op::Wait(ticks) => now = now.plus(ticks),
                Op::Schedule { id, after } => {
                    let at = now.plus(after.cast_unsigned());
                    let due = wheel.schedule(id, at);
                    prop_assert_eq!(due.is_some(), count + owed < 80);
                    let Some(due) = due else { continue };
                    let slot = SLOT_TICKS as i32;
                    prop_assert!(due.since(at) >= 0 || due.since(emptied) > 255 * slot, "early");
                    prop_assert!(due.since(at) < slot || due.since(polled) <= slot, "late");
                    held.entry(due.since(start)).or_default().push(id);
                }
                Op::Pop => {
                    let due = pop(&mut wheel, now);
                    owed = due.len();
                    for due in &due {
                        prop_assert!(due.at.not_after(now));
                        let mut first = held.first_entry().unwrap();
                        prop_assert_eq!(due.at.since(start), *first.key());
                        prop_assert_eq!(due.id, first.get_mut().remove(0));
                        if first.get().is_empty() {
                            first.remove();
                        }
                    }
                    polled = now;
                    if due.len() < 32 {
                        emptied = now;
                        let next = held.first_key_value().map(|(at, _)| *at);
                        prop_assert!(next.is_none_or(|at| at > now.since(start)));
                    }
                }
            }
        }
    }
}
