//! The options, and the parser that splits a command line into them. The grammar is that of getopt
//! as iptables uses it.
//!
//! A long option may be shortened as long as only one option fits. Values may be attached, and
//! short options may be bundled. The known options depend on the words before: `-m multiport` and
//! `-j MARK` add their own. `-p tcp` adds its own at the first option that is not known otherwise.
//! Other modules give the options their meaning.

use std::collections::VecDeque;

use super::parse::UsageError;
use super::value::wrong;

/// The command of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Append,
    Check,
    Delete,
    DeleteChain,
    Flush,
    Help,
    Insert,
    List,
    Policy,
    Print,
    Replace,
    Zero,
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

/// A given option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) opt: Opt,
    /// In the user's spelling.
    pub(super) said: String,
    pub(super) value: String,
    pub(super) negated: bool,
}

/// A command line, split into options.
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

/// The kind of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Verb(Verb),
    /// It has a value and is kept. `!` may stand before it if the flag is set.
    Kept(Opt, bool),
    /// iptables has the option, but here it changes nothing: addresses are always numbers, there is
    /// no lock to wait for, and counters and comments are not kept. It has this many values.
    Idle(usize),
    /// Like `Idle`, with one value. `-m comment` needs it.
    Comment,
    /// Like `Idle`, with two numbers, or with one word that has a comma between the numbers.
    Counters,
    /// A number may follow. It changes nothing.
    Wait,
    Table,
    LineNumbers,
    /// iptables has the option, but the packet path cannot do it.
    Missing,
}

/// The short form if there is one, the long form, and the kind.
type Spelling = (Option<char>, &'static str, Is);

const CORE: [Spelling; 36] = [
    (Some('A'), "append", Is::Verb(Verb::Append)),
    (Some('C'), "check", Is::Verb(Verb::Check)),
    (Some('D'), "delete", Is::Verb(Verb::Delete)),
    (Some('X'), "delete-chain", Is::Verb(Verb::DeleteChain)),
    (Some('F'), "flush", Is::Verb(Verb::Flush)),
    (Some('h'), "help", Is::Verb(Verb::Help)),
    (Some('I'), "insert", Is::Verb(Verb::Insert)),
    (Some('L'), "list", Is::Verb(Verb::List)),
    (Some('P'), "policy", Is::Verb(Verb::Policy)),
    (Some('S'), "list-rules", Is::Verb(Verb::Print)),
    (Some('R'), "replace", Is::Verb(Verb::Replace)),
    (Some('Z'), "zero", Is::Verb(Verb::Zero)),
    (Some('N'), "new-chain", Is::Missing),
    (Some('E'), "rename-chain", Is::Missing),
    (Some('s'), "source", Is::Kept(Opt::Source, true)),
    (None, "src", Is::Kept(Opt::Source, true)),
    (Some('d'), "destination", Is::Kept(Opt::Destination, true)),
    (None, "dst", Is::Kept(Opt::Destination, true)),
    (Some('i'), "in-interface", Is::Kept(Opt::InInterface, true)),
    (Some('j'), "jump", Is::Kept(Opt::Jump, false)),
    (Some('m'), "match", Is::Kept(Opt::Match, false)),
    (Some('p'), "protocol", Is::Kept(Opt::Protocol, true)),
    (Some('t'), "table", Is::Table),
    (Some('n'), "numeric", Is::Idle(0)),
    (Some('v'), "verbose", Is::Idle(0)),
    (Some('x'), "exact", Is::Idle(0)),
    (Some('4'), "ipv4", Is::Idle(0)),
    (Some('c'), "set-counters", Is::Counters),
    (Some('M'), "modprobe", Is::Idle(1)),
    (Some('w'), "wait", Is::Wait),
    (Some('W'), "wait-interval", Is::Wait),
    (None, "line-numbers", Is::LineNumbers),
    (Some('6'), "ipv6", Is::Missing),
    (Some('o'), "out-interface", Is::Missing),
    (Some('f'), "fragment", Is::Missing),
    (Some('g'), "goto", Is::Missing),
];
const PORTS: [Spelling; 8] = [
    (None, "dport", Is::Kept(Opt::DestinationPort, true)),
    (None, "destination-port", Is::Kept(Opt::DestinationPort, true)),
    (None, "sport", Is::Kept(Opt::SourcePort, true)),
    (None, "source-port", Is::Kept(Opt::SourcePort, true)),
    (None, "syn", Is::Missing),
    (None, "tcp-flags", Is::Missing),
    (None, "tcp-option", Is::Missing),
    (None, "chunk-types", Is::Missing),
];
const MULTIPORT: [Spelling; 5] = [
    (None, "dports", Is::Kept(Opt::DestinationPorts, true)),
    (None, "destination-ports", Is::Kept(Opt::DestinationPorts, true)),
    (None, "sports", Is::Kept(Opt::SourcePorts, true)),
    (None, "source-ports", Is::Kept(Opt::SourcePorts, true)),
    (None, "ports", Is::Kept(Opt::Ports, true)),
];
const COMMENT: [Spelling; 1] = [(None, "comment", Is::Comment)];
const MARK: [Spelling; 5] = [
    (None, "and-mark", Is::Kept(Opt::AndMark, false)),
    (None, "or-mark", Is::Kept(Opt::OrMark, false)),
    (None, "set-mark", Is::Kept(Opt::SetMark, false)),
    (None, "set-xmark", Is::Kept(Opt::SetXmark, false)),
    (None, "xor-mark", Is::Kept(Opt::XorMark, false)),
];

/// The matches of `-m` and the targets of `-j`, with the options that they add.
const MATCHES: [(&str, &[Spelling]); 5] =
    [("tcp", &PORTS), ("udp", &PORTS), ("sctp", &PORTS), ("multiport", &MULTIPORT), ("comment", &COMMENT)];
const TARGETS: [(&str, &[Spelling]); 3] = [("MARK", &MARK), ("ACCEPT", &[]), ("RETURN", &[])];
pub(super) const EXPECTED_TARGET: &str = "MARK, ACCEPT or RETURN";
pub(super) const EXPECTED_MATCH: &str = "tcp, udp, sctp, multiport or comment";

/// Splits a command line into options.
pub(super) fn take_apart(words: &[String]) -> Result<Line, UsageError> {
    let mut parser = Parser { words: words.iter().cloned().collect(), ..Parser::default() };
    while let Some(word) = parser.words.pop_front() {
        parser.word(word)?;
    }
    parser.finish()
}

/// A command line that is being parsed.
#[derive(Default)]
struct Parser {
    words: VecDeque<String>,
    verb: Option<(Verb, String)>,
    behind: Vec<String>,
    given: Vec<Given>,
    line_numbers: bool,
    negated: bool,
    /// Whether `--comment` was given. `-m comment` needs it.
    commented: bool,
    /// The options that matches and targets have added.
    brought: Vec<&'static [Spelling]>,
}

impl Parser {
    fn word(&mut self, word: String) -> Result<(), UsageError> {
        if word == "!" {
            if std::mem::replace(&mut self.negated, true) {
                return Err(UsageError("!: twice: expected an option behind it".into()));
            }
            return Ok(());
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, attached) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
            let said = format!("--{name}");
            let is = self.long(name, &said)?;
            return self.take(is, said, attached);
        }
        let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
        if letters.as_str().is_empty() {
            return Err(self.unknown(&word));
        }
        while let Some(letter) = letters.next() {
            let said = format!("-{letter}");
            let known = CORE.iter().find(|(short, ..)| *short == Some(letter));
            let Some((_, _, is)) = known else { return Err(self.unknown(&word)) };
            let rest = letters.as_str();
            // To iptables, `-Ln` means `-L` of a chain `n`. But people type it for `-nL`.
            let flags = matches!(is, Is::Verb(_)) && rest.chars().all(|letter| "nvx".contains(letter));
            if matches!(is, Is::Idle(0)) || flags {
                if rest.is_empty() {
                    return self.take(*is, said, None);
                }
                match is {
                    Is::Verb(verb) => self.command(*verb, said)?,
                    _ => self.take(*is, said, None)?,
                }
                continue;
            }
            let attached = (!rest.is_empty()).then(|| rest.to_owned());
            return self.take(*is, said, attached);
        }
        // Take the words that follow a command in a bundle.
        self.take_behind();
        Ok(())
    }

    /// Finds a long option, which may be shortened.
    fn long(&mut self, name: &str, said: &str) -> Result<Is, UsageError> {
        loop {
            let all = || CORE.iter().chain(self.brought.iter().copied().flatten());
            if let Some((.., is)) = all().find(|(_, long, _)| *long == name) {
                return Ok(*is);
            }
            let mut found: Vec<&Spelling> = all().filter(|(_, long, _)| long.starts_with(name)).collect();
            found.dedup_by_key(|(.., is)| *is);
            match &found[..] {
                [(.., is)] => return Ok(*is),
                [] if self.brings_ports() => self.brought.push(&PORTS),
                [] => {
                    // iptables would need the match or target before this option.
                    let late = [&PORTS[..], &MULTIPORT, &MARK].into_iter().flatten();
                    let exact = late.into_iter().find(|(_, long, _)| *long == name);
                    return exact.map(|(.., is)| *is).ok_or_else(|| self.unknown(said));
                }
                several => {
                    let names: Vec<_> = several.iter().map(|(_, long, _)| format!("--{long}")).collect();
                    return Err(UsageError(format!(
                        "{said}: is short for {}: expected one of them",
                        names.join(" and ")
                    )));
                }
            }
        }
    }

    /// Whether `-p` names a protocol whose options have not been added yet.
    fn brings_ports(&self) -> bool {
        let protocol = self.given.iter().find(|given| given.opt == Opt::Protocol && !given.negated);
        let has_ports = |given: &Given| {
            matches!(given.value.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp" | "6" | "17" | "132")
        };
        protocol.is_some_and(has_ports) && !self.brought.iter().any(|options| options.len() == PORTS.len())
    }

    fn take(&mut self, is: Is, said: String, attached: Option<String>) -> Result<(), UsageError> {
        let negatable = matches!(is, Is::Kept(_, true));
        if self.negated && !negatable {
            return Err(match is {
                Is::Kept(..) => UsageError(format!("! {said}: expected without !: it has no opposite")),
                _ => UsageError(format!("!: {said}: expected an option that has an opposite")),
            });
        }
        match is {
            Is::Verb(verb) => {
                if let Some(chain) = attached {
                    self.words.push_front(chain);
                }
                self.command(verb, said)?;
                self.take_behind();
            }
            Is::Kept(opt, _) => self.keep(opt, said, attached)?,
            Is::Idle(values) => {
                if values > attached.iter().len() {
                    self.value(&said)?;
                }
            }
            Is::Comment => {
                attached.map_or_else(|| self.value(&said), Ok)?;
                self.commented = true;
            }
            Is::Counters => {
                let first = attached.map_or_else(|| self.value(&said), Ok)?;
                let both = match first.split_once(',') {
                    Some((packets, bytes)) => [packets.to_owned(), bytes.to_owned()],
                    None => [first.clone(), self.value(&said)?],
                };
                if let Some(other) = both.iter().find(|number| number.parse::<u64>().is_err()) {
                    return Err(wrong(&said, other, "two numbers"));
                }
            }
            Is::Wait => {
                let number = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                if attached.is_none() && self.words.front().is_some_and(number) {
                    self.words.pop_front();
                }
            }
            Is::Table => match attached.or_else(|| self.words.pop_front()).as_deref() {
                Some("mangle") => {}
                other => return Err(wrong(&said, other.unwrap_or("nothing"), "mangle")),
            },
            Is::LineNumbers => self.line_numbers = true,
            Is::Missing => {
                return Err(UsageError(format!("{said}: not built: expected an option of vipline mark -h")));
            }
        }
        Ok(())
    }

    fn command(&mut self, verb: Verb, said: String) -> Result<(), UsageError> {
        if let Some((_, other)) = self.verb.as_ref().filter(|_| verb != Verb::Help) {
            return Err(UsageError(format!("{said}: {other} is given: expected one command")));
        }
        self.verb = Some((verb, said));
        Ok(())
    }

    fn take_behind(&mut self) {
        while self.words.front().is_some_and(|word| !word.starts_with('-') && word != "!") {
            self.behind.extend(self.words.pop_front());
        }
    }

    fn keep(&mut self, opt: Opt, said: String, attached: Option<String>) -> Result<(), UsageError> {
        let value = attached.map_or_else(|| self.value(&said), Ok)?;
        if opt != Opt::Match && self.given.iter().any(|other| other.opt == opt) {
            return Err(UsageError(format!("{said}: given twice: expected once")));
        }
        if value == "!" {
            return Err(UsageError(format!("{said}: !: expected ! before {said}")));
        }
        let bring = |from: &[(&str, &'static [Spelling])]| {
            from.iter().find(|(name, _)| *name == value).map(|(_, options)| *options)
        };
        match opt {
            Opt::Match => {
                self.brought
                    .extend(Some(bring(&MATCHES).ok_or_else(|| wrong(&said, &value, EXPECTED_MATCH))?));
            }
            Opt::Jump => {
                self.brought
                    .extend(Some(bring(&TARGETS).ok_or_else(|| wrong(&said, &value, EXPECTED_TARGET))?));
            }
            _ => {}
        }
        let negated = std::mem::take(&mut self.negated);
        self.given.push(Given { opt, said, value, negated });
        Ok(())
    }

    fn value(&mut self, said: &str) -> Result<String, UsageError> {
        self.words.pop_front().ok_or_else(|| UsageError(format!("{said}: expected a value behind it")))
    }

    fn unknown(&self, said: &str) -> UsageError {
        if self.negated {
            return UsageError(format!("!: {said}: expected an option that has an opposite"));
        }
        UsageError(format!("{said}: not known: expected an option of vipline mark -h"))
    }

    fn finish(self) -> Result<Line, UsageError> {
        if self.negated {
            return Err(UsageError("!: expected an option behind it".into()));
        }
        let comment = self.given.iter().find(|given| given.opt == Opt::Match && given.value == "comment");
        if let Some(given) = comment.filter(|_| !self.commented) {
            return Err(wrong(&given.said, "comment", "--comment with it"));
        }
        let Self { verb, behind, given, line_numbers, .. } = self;
        let Some((verb, said)) = verb else {
            let expected = "-A, -I, -R, -D, -C, -F, -L, -S, save or restore";
            return Err(UsageError(format!("no command: expected {expected}")));
        };
        Ok(Line { verb, said, words: behind, given, line_numbers })
    }
}
