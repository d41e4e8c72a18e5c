//! Rules from a file: the output of `save` or iptables-save, or `-A` lines alone.

use super::parse::{Command, UsageError, parse};
use crate::ipvs::Names;
use model::{MarkChange, MarkTable};

/// Reads a file of rules. Returns each change with its line, counted from 1. A `*mangle` without a
/// `COMMIT` is an error: the file was cut off.
pub fn script(text: &str, names: &dyn Names) -> Result<Vec<(usize, MarkChange)>, UsageError> {
    let mut changes = Vec::new();
    let mut open = None;
    for (number, line) in (1..).zip(text.lines()) {
        match line.trim() {
            "*mangle" => open = Some(number),
            "COMMIT" => open = None,
            _ => {}
        }
        let read = self::line(line.trim(), names);
        let read = read.map_err(|UsageError(text)| UsageError(format!("line {number}: {text}")))?;
        changes.extend(read.into_iter().map(|change| (number, change)));
    }
    match open {
        Some(number) => Err(UsageError(format!("line {number}: *mangle: expected a COMMIT at its end"))),
        None => Ok(changes),
    }
}

/// Whether a file contains no rules. That is more likely a mistake than the wish to delete all
/// rules.
pub(super) fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#'))
}

/// Reads a file of rules into a table: all of them, or none.
pub fn load(text: &str, names: &dyn Names, table: &mut MarkTable) -> Result<(), UsageError> {
    let (lines, changes): (Vec<_>, Vec<_>) = script(text, names)?.into_iter().unzip();
    table.apply_all(changes).map_err(|refused| {
        let line = lines.get(refused.index).copied().unwrap_or_default();
        UsageError(format!("line {line}: {}", refused.error))
    })
}

/// Reads one line of a file. Lines of chains without rules, and comments, make no change.
pub(crate) fn line(line: &str, names: &dyn Names) -> Result<Vec<MarkChange>, UsageError> {
    let expected = "expected -A PREROUTING … or another change of rules";
    let words = split(line);
    let words = match words.split_first() {
        // iptables-save -c puts counters before rules.
        Some((first, rest)) if first.starts_with('[') && first.ends_with(']') => rest,
        _ => &words,
    };
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    let policy = match (first.strip_prefix(':'), first.as_str()) {
        (_, "COMMIT" | "*mangle") => return Ok(Vec::new()),
        _ if first.starts_with('#') => return Ok(Vec::new()),
        _ if first.starts_with('*') => {
            return Err(UsageError(format!("{first}: expected *mangle, the only table there is")));
        }
        // Every table lists all its chains. Lines of chains without rules are skipped.
        (Some("PREROUTING"), _) => words.get(1),
        (Some(_), _) => return Ok(Vec::new()),
        (None, "-P" | "--policy") if words.get(1).is_some_and(|chain| chain == "PREROUTING") => words.get(2),
        _ => {
            return match parse(words, names)? {
                Command::Change(changes) => Ok(changes),
                _ => Err(UsageError(format!("{first}: {expected}"))),
            };
        }
    };
    match policy.map(String::as_str) {
        Some("ACCEPT") => Ok(Vec::new()),
        other => Err(UsageError(format!("{first}: {}: expected ACCEPT", other.unwrap_or("nothing")))),
    }
}

/// Splits a line into words. Like comments of iptables-save, a word in double quotes may contain
/// blanks, and a \\ before special characters.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut begun, mut quoted) = (String::new(), false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            '\\' if quoted => word.extend(letters.next()),
            _ if letter.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::Numeric;

    #[test]
    fn lines_are_split_as_iptables_restore_does() {
        assert_eq!(
            split(r#" -A  x --comment "two \"words\" -j" "" y "#),
            ["-A", "x", "--comment", "two \"words\" -j", "", "y"]
        );
    }

    #[test]
    fn comments_of_iptables_save_are_skipped() {
        let line = r#"-A PREROUTING -p tcp -m comment --comment "the web -j" -m tcp --dport 80 -j MARK --set-xmark 0x5/0xffffffff"#;
        assert_eq!(script(line, &Numeric).map(|changes| changes.len()), Ok(1));
    }
}
