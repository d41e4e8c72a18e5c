//! Does one kind of work for callgrind to count, and prints the number and the kind of its items.
//! Without an argument, prints the names of all work. `scripts/instructions` runs it.

use std::process::ExitCode;

use benches::work;

fn main() -> ExitCode {
    let works = work::all();
    let Some(name) = std::env::args().nth(1) else {
        works.iter().for_each(|work| println!("{}", work.name));
        return ExitCode::SUCCESS;
    };
    let Some(work) = works.iter().find(|work| work.name == name) else {
        eprintln!("instructions: {name:?}: no such work; without an argument all names are listed");
        return ExitCode::from(2);
    };
    let Some(items) = (work.run)() else {
        eprintln!("instructions: {name}: wrong result: packets were lost, or connections were left over");
        return ExitCode::FAILURE;
    };
    println!("{items} {}", work.item);
    ExitCode::SUCCESS
}
