//! One line for each thing that can be wrong with a configuration: where it is, what it is, and
//! what was expected.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}:{line}:{column}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong, and what was expected.
        what: String,
    },
}

/// A configuration file's text. It can tell the line and column of a byte.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error about the part of the text at `span`.
    pub(super) fn error(&self, span: Range<usize>, what: impl Into<String>) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        ConfigError::Invalid {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: what.into(),
        }
    }

    /// An error of the TOML parser or of serde, in the words of this program.
    pub(super) fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let said = error.message().lines().collect::<Vec<_>>().join("; ");
        let key = self.key_at(&span);
        let expected = key.as_deref().and_then(expected);
        let what = match (expected, key) {
            _ if said.starts_with("unknown field") => said
                .replacen("unknown field", "unknown key", 1)
                .replacen(", expected", "; expected", 1)
                .replace("`http`, ", ""),
            _ if said == "duplicate key" => format!("the key `{}` is here twice", self.slice(&span)),
            _ if said.starts_with("missing field") => missing(&said),
            (Some(expected), Some(key)) => {
                format!(
                    "`{key}` cannot be {}; expected {expected}",
                    complaint(&said).unwrap_or(self.slice(&span))
                )
            }
            _ => said,
        };
        self.error(span, what)
    }

    fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The key whose value `span` lies in.
    fn key_at(&self, span: &Range<usize>) -> Option<String> {
        fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
            let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
            for (key, value) in table.iter() {
                match value.get_ref() {
                    DeValue::Table(inner) => {
                        if let Some(found) = find(inner, span) {
                            return Some(found);
                        }
                    }
                    DeValue::Array(items) => {
                        let inner = items.iter().filter_map(|item| match item.get_ref() {
                            DeValue::Table(inner) => find(inner, span),
                            _ => None,
                        });
                        if let Some(found) = inner.into_iter().next() {
                            return Some(found);
                        }
                    }
                    _ => {}
                }
                if holds(value.span()) {
                    return Some(key.get_ref().to_string());
                }
            }
            None
        }
        find(DeTable::parse(self.text).ok()?.get_ref(), span)
    }
}

/// What is expected as each key's value.
const EXPECTED: &[(&str, &str)] = &[
    ("addresses", "a list of addresses with their prefix lengths, as in [\"192.0.2.1/24\"]"),
    ("control_cpus", "a list of CPU numbers, as in [0]"),
    ("cpus", "a list of CPU numbers, as in [2]"),
    ("device", "a string such as \"af_xdp:eth0\" or \"0000:03:00.0\""),
    ("host_interface", "a string of at most 15 bytes"),
    ("log_level", "\"error\", \"warn\", \"info\", \"debug\" or \"trace\""),
    ("marks", "a string: the path of a file, relative to this one"),
    ("max_connections", "a whole number from 1 to 134217728"),
    ("max_destinations", "a whole number from 1 to 16777216"),
    ("memory_mb", "a whole number of megabytes"),
    ("mh_table_index", "a whole number from 8 to 17"),
    ("name", "a string, as in \"wan\""),
    ("poll", "\"adaptive\" or \"busy\""),
    ("port", "one [[port]] section for each port"),
    ("routes", "a list of routes, as in [\"default via 192.0.2.254\"]"),
    ("rules", "a string: the path of a file, relative to this one"),
    ("rx_checksum", "\"trust\" or \"verify\""),
    ("state_dir", "a string: the path of a directory, relative to this file"),
    ("sysctl", "a section [sysctl] with a line NAME = VALUE for each tunable"),
];

fn expected(key: &str) -> Option<&'static str> {
    EXPECTED.iter().find(|(name, _)| *name == key).map(|(_, expected)| *expected)
}

/// The line for serde's `missing field`. `port` has a section of its own; all other keys belong to
/// a port.
fn missing(said: &str) -> String {
    let key = said.split('`').nth(1).unwrap_or_default();
    match expected(key) {
        Some(expected) if key != "port" => format!("this [[port]] has no `{key}`; expected {expected}"),
        _ => said.to_owned(),
    }
}

/// What serde found in the file. It says `invalid type: string "x", expected u32`, and the type
/// `u32` means nothing to the reader.
fn complaint(said: &str) -> Option<&str> {
    ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .find_map(|start| said.strip_prefix(start))
        .and_then(|found| found.split(", expected ").next())
}
