//! Files with everything that an operator can set: services as `ipvsadm-save` writes them, mark
//! rules as `vipline mark save` writes them (from `*mangle` to `COMMIT`), and tunables as `sysctl`
//! prints them.
//!
//! A file replaces the parts that it has. Without a command about services, the services stay as
//! they are; without `*mangle`, the mark rules do.

use crate::ipvs::{self, Names, Operation, Rule};
use crate::mark;
use model::{Change, MarkChange, Tunable};

/// The contents of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Commands about services, `--set`, and tunables.
    pub rules: Vec<Rule>,
    /// Whether there is a command about services.
    pub has_services: bool,
    /// The changes of an empty table of mark rules, if there is a `*mangle`; each with its place.
    pub marks: Option<Vec<(Place, MarkChange)>>,
}

/// A line and a column, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {text}", place.line, place.column)]
pub struct SavedError {
    /// Where.
    pub place: Place,
    /// What is wrong, and what was expected.
    pub text: String,
}

/// The part of a tunable's name that all have.
const PREFIX: &str = "net.ipv4.vs.";

/// Reads a file. Empty lines, and lines that begin with `#`, are skipped.
pub fn read(text: &str, names: &dyn Names) -> Result<Saved, SavedError> {
    let mut saved = Saved::default();
    let mut open = None;
    for (text, line) in text.lines().zip(1..) {
        let first = column_of(text, text.trim_start());
        let place = Place { line, column: first };
        match text.trim() {
            "" => {}
            comment if comment.starts_with('#') => {}
            "*mangle" => {
                open = Some(place);
                saved.marks.get_or_insert_default();
            }
            "COMMIT" if open.take().is_some() => {}
            words if open.is_some() => {
                let read = mark::line(words, names).map_err(|mark::UsageError(error)| SavedError {
                    place: Place { line, column: place_of(&error, text).unwrap_or(first) },
                    text: error,
                })?;
                saved.marks.get_or_insert_default().extend(read.into_iter().map(|change| (place, change)));
            }
            words if words.starts_with(PREFIX) => saved.rules.push(tunable(text, line)?),
            _ => {
                let rule = ipvs::rule(text, line, names).map_err(|error| SavedError {
                    place: Place { line, column: error.column },
                    text: error.text,
                })?;
                saved.has_services |=
                    rule.as_ref().is_some_and(|rule| rule.operation != Operation::SetTimeouts);
                saved.rules.extend(rule);
            }
        }
    }
    match open {
        Some(place) => Err(SavedError { place, text: "*mangle: expected a COMMIT at its end".to_owned() }),
        None => Ok(saved),
    }
}

impl Saved {
    /// Whether there is nothing in the file.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.marks.is_none()
    }
}

/// A line `net.ipv4.vs.NAME = VALUE`.
fn tunable(text: &str, line: usize) -> Result<Rule, SavedError> {
    let wrong =
        |at: &str, why: String| SavedError { place: Place { line, column: column_of(text, at) }, text: why };
    let words = text.trim();
    let Some((name, value)) = words.split_once('=') else {
        return Err(wrong(words, format!("{words}: expected NAME = VALUE")));
    };
    let (name, value) = (name.trim(), value.trim());
    let short = name.strip_prefix(PREFIX).unwrap_or(name);
    let Some(found) = Tunable::find(short) else {
        return Err(wrong(name, format!("{name}: there is no such tunable; `vipline sysctl -a` lists all")));
    };
    if !found.takes(value) {
        return Err(wrong(value, format!("{name} cannot be {value:?}; expected {}", found.expected())));
    }
    let change = Change::SetTunable(short.to_owned(), value.to_owned());
    Ok(Rule { line, column: column_of(text, words), operation: Operation::SetTunable, change })
}

/// The column at which `part`, a part of `text`, begins.
fn column_of(text: &str, part: &str) -> usize {
    let before = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    text.get(..before).map_or(1, |before| before.chars().count() + 1)
}

/// The column of the word that an error about mark rules begins with.
fn place_of(error: &str, text: &str) -> Option<usize> {
    let word = error.split(": ").next()?;
    text.split_whitespace().find(|other| *other == word).map(|found| column_of(text, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::Numeric;

    #[test]
    fn each_part_of_a_file_is_read() {
        let text = "# all\n-A -t 10.0.0.1:80 -s rr\n--set 1 2 3\n*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\n\
                    COMMIT\nnet.ipv4.vs.sync_threshold = 4\t60\n";
        let saved = read(text, &Numeric).unwrap();
        assert_eq!(saved.rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [2, 3, 8]);
        assert_eq!(saved.rules[2].change, Change::SetTunable("sync_threshold".into(), "4\t60".into()));
        assert_eq!((saved.has_services, saved.marks.map(|marks| marks.len())), (true, Some(1)));
        let saved = read("--set 1 2 3\n", &Numeric).unwrap();
        assert_eq!((saved.has_services, saved.marks.is_none(), saved.is_empty()), (false, true, false));
        assert!(read("# nothing\n\n", &Numeric).unwrap().is_empty());
    }

    #[test]
    fn errors_name_line_and_column() {
        for (text, said) in [
            ("-A -t bogus -s rr", "1:7: illegal virtual server address[:port] specified"),
            ("\n  ipvsadm -A -t 10.0.0.1:80 -q", "2:29: -q: unknown option"),
            ("-a -t 10.0.0.1:80 -r 10.0.1.1 -w x", "1:34: illegal weight specified"),
            ("-A -t 10.0.0.1:80 -w 1", "1:1: Illegal 'weight' option with the 'add-service' command"),
            ("-D -t 10.0.0.1:80 more", "1:19: unexpected argument more"),
            ("-L", "1:1: Only commands that change rules may stand in a rules file"),
            ("foo", "1:1: Not an ipvsadm command: foo"),
            ("*mangle\n-A PREROUTING -j MARK", "2:15: -j: MARK: expected"),
            ("*mangle\n-A PREROUTING -q", "2:15: -q: "),
            (" *mangle", "1:2: *mangle: expected a COMMIT at its end"),
            ("net.ipv4.vs.nope = 1", "1:1: net.ipv4.vs.nope: there is no such tunable"),
            (
                "net.ipv4.vs.drop_entry = 9",
                "1:26: net.ipv4.vs.drop_entry cannot be \"9\"; expected a whole number from 0 to 3",
            ),
            ("net.ipv4.vs.drop_entry", "1:1: net.ipv4.vs.drop_entry: expected NAME = VALUE"),
        ] {
            let error = read(text, &Numeric).unwrap_err().to_string();
            assert!(error.starts_with(said), "{text:?}: {error}");
        }
    }
}
