//! `vipline apply` and `vipline reload`: bring the rules to those of a file, all or nothing.

use std::path::Path;

use super::{Failure, odd, say};
use api::words::counted;
use api::{Client, Difference, Reloaded, Request, Response, Wanted};
use lvs::ipvs::{self, Numeric, System, format};
use lvs::mark;
use lvs::saved::{self, Place, Saved, SavedError};
use model::MarkChange;

/// Applies a file. `dry_run` only prints what would be changed.
pub(super) fn apply(dir: &Path, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("{shown}: cannot be read: {error}")))?;
    let saved =
        saved::read(&text, &System::default()).map_err(|error| Failure::new(format!("{shown}:{error}")))?;
    if saved.is_empty() {
        return Err(Failure::new(format!(
            "{shown}: there is nothing in it; expected rules as ipvsadm-save writes them, or the line -C for no services"
        )));
    }
    let response = Client::connect(dir)?.call(&Request::Apply(wanted(&saved, dry_run)))?;
    let wrong = |place: Place, text: String| Failure::new(format!("{shown}:{}", SavedError { place, text }));
    match response {
        Response::Applied(difference) => {
            say(&describe(&difference));
            let made = (difference.rules.len() + difference.marks.len()) as u64;
            let nothing = if dry_run { " would be made" } else { " made" };
            say(&format!("{shown}: {}{nothing}\n", counted(made, "change")));
            for line in &difference.advice {
                super::complain(&format!("note: {line}"));
            }
            Ok(())
        }
        Response::BatchRefused { index, error } => Err(match saved.rules.get(index) {
            Some(rule) => {
                let place = Place { line: rule.line, column: rule.column };
                wrong(place, ipvs::explained(rule.operation, &error))
            }
            None => Failure::new(format!("{shown}: {error}")),
        }),
        Response::MarksRefused { index, error } => {
            Err(match saved.marks.as_ref().and_then(|marks| marks.get(index)) {
                Some((place, _)) => wrong(*place, error.to_string()),
                None => Failure::new(format!("{shown}: {error}")),
            })
        }
        other => Err(odd(&other)),
    }
}

/// Has the daemon read its configuration again.
pub(super) fn reload(dir: &Path) -> Result<(), Failure> {
    match Client::connect(dir)?.call(&Request::Reload)? {
        Response::Reloaded(Reloaded { difference, restart }) => {
            say(&describe(&difference));
            let made = (difference.rules.len() + difference.marks.len()) as u64;
            say(&format!("{} made\n", counted(made, "change")));
            restart.iter().for_each(|line| say(&format!("{line}\n")));
            difference.advice.iter().for_each(|line| super::complain(&format!("note: {line}")));
            Ok(())
        }
        other => Err(odd(&other)),
    }
}

fn wanted(saved: &Saved, dry_run: bool) -> Wanted {
    Wanted {
        replace: saved.has_services,
        rules: saved.rules.iter().map(|rule| rule.change.clone()).collect(),
        marks: saved.marks.as_ref().map(|marks| marks.iter().map(|(_, change)| change.clone()).collect()),
        dry_run,
    }
}

/// The changes as the commands that would make them, one a line.
fn describe(difference: &Difference) -> String {
    let rules = difference.rules.iter().map(|change| format::change(change, &Numeric));
    let marks = difference.marks.iter().map(|change| {
        let words = match change {
            MarkChange::DeleteNumber(number) => format!("-D PREROUTING {number}"),
            MarkChange::Insert(number, rule) => mark::text::insert(*number, rule),
            MarkChange::Append(rule) => mark::text::append(rule),
            MarkChange::Replace(..) | MarkChange::Delete(_) | MarkChange::Flush => format!("{change:?}"),
        };
        format!("mark {words}")
    });
    rules.chain(marks).map(|line| line + "\n").collect()
}
