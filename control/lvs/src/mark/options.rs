//! The options there are, and a command line taken apart into them. What they mean is the business of others.

use super::parse::UsageError;

/// What the command line asks for: the option that says so, and the words behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Append,
    Check,
    Delete,
    Flush,
    Help,
    Insert,
    List,
    Print,
    Replace,
}

/// An option with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    AndMark,
    Destination,
    DestinationPort,
    DestinationPorts,
    InInterface,
    Jump,
    Match,
    OrMark,
    Ports,
    Protocol,
    SetMark,
    SetXmark,
    Source,
    SourcePort,
    SourcePorts,
    XorMark,
}

/// An option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) opt: Opt,
    /// In the user's spelling.
    pub(super) said: String,
    pub(super) value: String,
    pub(super) negated: bool,
}

/// A command line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verb: Verb,
    /// The verb in the user's spelling.
    pub(super) said: String,
    /// The words behind the verb: chain and number.
    pub(super) words: Vec<String>,
    pub(super) given: Vec<Given>,
    pub(super) line_numbers: bool,
}

const VERBS: [(Verb, [&str; 2]); 9] = [
    (Verb::Append, ["-A", "--append"]),
    (Verb::Check, ["-C", "--check"]),
    (Verb::Delete, ["-D", "--delete"]),
    (Verb::Flush, ["-F", "--flush"]),
    (Verb::Help, ["-h", "--help"]),
    (Verb::Insert, ["-I", "--insert"]),
    (Verb::List, ["-L", "--list"]),
    (Verb::Print, ["-S", "--list-rules"]),
    (Verb::Replace, ["-R", "--replace"]),
];

/// Spellings, and whether `!` may stand before them.
const OPTIONS: [(Opt, &[&str], bool); 16] = [
    (Opt::AndMark, &["--and-mark"], false),
    (Opt::Destination, &["-d", "--destination", "--dst"], true),
    (Opt::DestinationPort, &["--dport", "--destination-port"], true),
    (Opt::DestinationPorts, &["--dports", "--destination-ports"], true),
    (Opt::InInterface, &["-i", "--in-interface"], true),
    (Opt::Jump, &["-j", "--jump"], false),
    (Opt::Match, &["-m", "--match"], false),
    (Opt::OrMark, &["--or-mark"], false),
    (Opt::Ports, &["--ports"], true),
    (Opt::Protocol, &["-p", "--protocol", "--proto"], true),
    (Opt::SetMark, &["--set-mark"], false),
    (Opt::SetXmark, &["--set-xmark"], false),
    (Opt::Source, &["-s", "--source", "--src"], true),
    (Opt::SourcePort, &["--sport", "--source-port"], true),
    (Opt::SourcePorts, &["--sports", "--source-ports"], true),
    (Opt::XorMark, &["--xor-mark"], false),
];

/// What iptables has and what changes nothing here: addresses are always numbers, and nobody is waited for.
const IDLE: [&str; 8] = ["-n", "--numeric", "-v", "--verbose", "-x", "--exact", "-w", "--wait"];

/// Takes a command line apart.
pub(super) fn take_apart(words: &[String]) -> Result<Line, UsageError> {
    let wrong = |text: String| Err(UsageError(text));
    let mut words = words.iter().flat_map(|word| spread(word)).peekable();
    let (mut verb, mut behind, mut given): (Option<(Verb, String)>, _, _) =
        (None, Vec::new(), Vec::<Given>::new());
    let (mut line_numbers, mut negated) = (false, false);
    while let Some(word) = words.next() {
        if word == "!" {
            if negated {
                return wrong("!: twice: expected an option behind it".into());
            }
            negated = true;
            continue;
        }
        let option = OPTIONS.iter().find(|(_, spellings, _)| spellings.contains(&word.as_str()));
        if let Some((opt, _, negatable)) = option {
            let Some(value) = words.next() else {
                return wrong(format!("{word}: expected a value behind it"));
            };
            if negated && !negatable {
                return wrong(format!("! {word}: expected without !: it has no opposite"));
            }
            if *opt != Opt::Match && given.iter().any(|other| other.opt == *opt) {
                return wrong(format!("{word}: given twice: expected once"));
            }
            if value == "!" {
                return wrong(format!("{word}: !: expected ! before {word}"));
            }
            given.push(Given { opt: *opt, said: word, value, negated });
            negated = false;
            continue;
        }
        if negated {
            return wrong(format!("!: {word}: expected an option that has an opposite"));
        }
        if let Some((found, _)) = VERBS.iter().find(|(_, spellings)| spellings.contains(&word.as_str())) {
            if let Some((_, said)) = verb.filter(|_| *found != Verb::Help) {
                return wrong(format!("{word}: {said} is given: expected one command"));
            }
            verb = Some((*found, word));
            while let Some(word) = words.next_if(|word| !word.starts_with('-') && word != "!") {
                behind.push(word);
            }
            continue;
        }
        match word.as_str() {
            "--line-numbers" => line_numbers = true,
            "-t" | "--table" => match words.next().as_deref() {
                Some("mangle") => {}
                other => {
                    return wrong(format!("{word}: {}: expected mangle", other.unwrap_or("nothing")));
                }
            },
            idle if IDLE.contains(&idle) => {}
            _ => return wrong(format!("{word}: not known: expected an option of vipline mark -h")),
        }
    }
    if negated {
        return wrong("!: expected an option behind it".into());
    }
    let Some((verb, said)) = verb else {
        return wrong("no command: expected -A, -I, -R, -D, -C, -F, -L, -S, save or restore".into());
    };
    Ok(Line { verb, said, words: behind, given, line_numbers })
}

/// `--option=value` as two words, and letters run together, as in `-nL`, apart.
fn spread(word: &str) -> Vec<String> {
    if let Some((option, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
        return vec![option.to_owned(), value.to_owned()];
    }
    let letters = word.strip_prefix('-').filter(|letters| letters.len() > 1);
    match letters.filter(|letters| letters.chars().all(|letter| "nvxLSF".contains(letter))) {
        Some(letters) => {
            let mut letters: Vec<_> = letters.chars().collect();
            // The command last: what follows is its own.
            letters.sort_unstable_by_key(char::is_ascii_uppercase);
            letters.into_iter().map(|letter| format!("-{letter}")).collect()
        }
        None => vec![word.to_owned()],
    }
}
