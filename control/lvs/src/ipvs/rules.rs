//! Rules files: the output of `ipvsadm-save`, with comments allowed.

use super::command::{Command, Operation};
use super::error::explained;
use super::names::Names;
use super::parse::parse;
use model::{Change, Model};

/// A rule and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The line, counted from 1.
    pub line: usize,
    /// The column of its first word, counted from 1 in characters.
    pub column: usize,
    /// The kind of command.
    pub operation: Operation,
    /// What it changes.
    pub change: Change,
}

/// An error in a rules file, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct RuleError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in characters.
    pub column: usize,
    /// The error, in ipvsadm's words.
    pub text: String,
}

/// Reads a rules file: one command a line, with or without `ipvsadm` before it. Empty lines and
/// lines that begin with `#` are skipped.
pub fn rules(text: &str, names: &dyn Names) -> Result<Vec<Rule>, RuleError> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#'));
    lines.map(|(text, line)| rule(text, line, names)).filter_map(Result::transpose).collect()
}

/// Applies rules, all or none.
pub fn apply_rules(model: &mut Model, rules: &[Rule]) -> Result<(), RuleError> {
    let changes = rules.iter().map(|rule| rule.change.clone()).collect();
    let Err(batch) = model.apply_all(changes) else { return Ok(()) };
    let text = |rule: &Rule| RuleError {
        line: rule.line,
        column: rule.column,
        text: explained(rule.operation, &batch.error),
    };
    Err(rules.get(batch.index).map_or(RuleError { line: 0, column: 0, text: batch.to_string() }, text))
}

/// Reads one line; `None` if it is empty.
pub(crate) fn rule(text: &str, line: usize, names: &dyn Names) -> Result<Option<Rule>, RuleError> {
    let (columns, words): (Vec<_>, Vec<_>) = words(text).filter(|(_, word)| word != "ipvsadm").unzip();
    let Some(first) = columns.first().copied() else { return Ok(None) };
    let wrong = |column, text| RuleError { line, column, text };
    match parse("ipvsadm", &words, names) {
        Ok(Command::Change(operation, change)) => Ok(Some(Rule { line, column: first, operation, change })),
        Ok(_) => Err(wrong(first, "Only commands that change rules may stand in a rules file".into())),
        // ipvsadm's hint to try -h does not fit a file.
        Err(error) if error.text.starts_with("Try ") => {
            Err(wrong(first, format!("Not an ipvsadm command: {}", text.trim())))
        }
        Err(error) => {
            let column = error.word.and_then(|word| columns.get(word)).copied();
            Err(wrong(column.unwrap_or(first), error.text))
        }
    }
}

/// The words of a line, each with its column.
fn words(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut column = 1;
    text.split(char::is_whitespace).filter_map(move |word| {
        let own = column;
        column += word.chars().count() + 1;
        (!word.is_empty()).then(|| (own, word.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::names::Numeric;
    use super::*;
    use model::ModelOptions;

    #[test]
    fn a_saved_table_is_read_and_applied() {
        let text = "# web\n\nipvsadm -A -t 10.0.0.1:80 -s rr\n  -a -t 10.0.0.1:80 -r 10.0.1.1 -m\n#\n";
        let read = rules(text, &Numeric).unwrap();
        assert_eq!(read.iter().map(|rule| rule.line).collect::<Vec<_>>(), [3, 4]);
        let mut model = Model::new(ModelOptions::all());
        apply_rules(&mut model, &read).unwrap();
        assert_eq!((model.service_count(), model.destination_count()), (1, 1));
        let again = apply_rules(&mut model, &read);
        assert_eq!(again, Err(RuleError { line: 3, column: 9, text: "Service already exists".into() }));
    }

    #[test]
    fn errors_name_their_line() {
        for (text, line, said) in [
            ("-A -t 10.0.0.1:80\n-A -t bogus", 2, "illegal virtual server address[:port] specified"),
            ("\n-L", 2, "Only commands that change rules may stand in a rules file"),
            ("foo bar", 1, "Not an ipvsadm command: foo bar"),
            ("-A -q", 1, "-q: unknown option"),
        ] {
            let error = rules(text, &Numeric).unwrap_err();
            assert_eq!((error.line, error.text.as_str()), (line, said));
        }
    }
}
