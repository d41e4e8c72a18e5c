//! Does one kind of work for callgrind to count, and prints how many items of what it was; without
//! a name, prints the names. `scripts/instructions` runs it.

use std::process::ExitCode;

use benches::work;

fn main() -> ExitCode {
    let works = work::all();
    let Some(name) = std::env::args().nth(1) else {
        works.iter().for_each(|work| println!("{}", work.name));
        return ExitCode::SUCCESS;
    };
    let Some(work) = works.iter().find(|work| work.name == name) else {
        eprintln!("instructions: {name:?} is no work; without an argument the names are listed");
        return ExitCode::from(2);
    };
    let Some(items) = (work.run)() else {
        eprintln!(
            "instructions: {name} did not come out as it should: packets lost, or connections left over"
        );
        return ExitCode::FAILURE;
    };
    println!("{items} {}", work.item);
    ExitCode::SUCCESS
}
