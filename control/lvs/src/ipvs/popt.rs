//! A scanner of command lines that behaves like `libpopt`. Short options may be bundled. A value
//! may be in the same word or the next. Long names are never abbreviated. Other words may stand
//! anywhere.

/// One word of a grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec<T> {
    long: &'static str,
    short: char,
    takes: Takes,
    token: T,
}

impl<T> Spec<T> {
    pub(super) const fn new(long: &'static str, short: char, takes: Takes, token: T) -> Self {
        Self { long, short, takes, token }
    }
}

/// What may follow an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// The next word, even if it begins with a dash.
    Word,
    /// The next word unless it begins with a dash.
    WordOrNothing,
}

/// popt's error for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Unknown,
    NoArgument,
    UnwantedArgument,
}

impl Problem {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown option",
            Self::NoArgument => "missing argument",
            Self::UnwantedArgument => "option does not take an argument",
        }
    }
}

/// A scan of one command line.
pub(super) struct Scanner<'a, T: 'static> {
    words: &'static [Spec<T>],
    args: &'a [String],
    next: usize,
    /// The rest of a bundle of short options.
    bundle: &'a str,
    /// Words that are no options, in order.
    leftovers: Vec<&'a str>,
    /// A short option that takes no value from now on.
    pub(super) bare: Option<char>,
}

impl<'a, T: Copy> Scanner<'a, T> {
    pub(super) fn new(words: &'static [Spec<T>], args: &'a [String]) -> Self {
        Self { words, args, next: 0, bundle: "", leftovers: Vec::new(), bare: None }
    }

    /// The next option and its value; `None` when there are no more.
    pub(super) fn option(&mut self) -> Result<Option<(T, Option<&'a str>)>, Problem> {
        loop {
            if let Some(short) = self.bundle.chars().next() {
                self.bundle = &self.bundle[short.len_utf8()..];
                return self.short(short).map(Some);
            }
            let Some(word) = self.args.get(self.next) else { return Ok(None) };
            self.next += 1;
            if word == "--" {
                self.leftovers.extend(self.args[self.next..].iter().map(String::as_str));
                self.next = self.args.len();
            } else if let Some(long) = word.strip_prefix("--") {
                return self.long(long).map(Some);
            } else if let Some(bundle) = word.strip_prefix('-').filter(|bundle| !bundle.is_empty()) {
                self.bundle = bundle;
            } else {
                self.leftovers.push(word);
            }
        }
    }

    /// The last word read, as popt names it in error messages.
    pub(super) fn word(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|last| self.args.get(last)).map_or("", String::as_str)
    }

    /// The place of that word among the arguments.
    pub(super) fn place(&self) -> Option<usize> {
        self.next.checked_sub(1)
    }

    /// The scanned words that are no options.
    pub(super) fn leftovers(self) -> Vec<&'a str> {
        self.leftovers
    }

    fn short(&mut self, short: char) -> Result<(T, Option<&'a str>), Problem> {
        let spec =
            self.words.iter().find(|spec| spec.short == short && short != '\0').ok_or(Problem::Unknown)?;
        let takes = if self.bare == Some(short) { Takes::Nothing } else { spec.takes };
        if takes == Takes::Nothing {
            let wanted = !self.bundle.starts_with('=');
            return if wanted { Ok((spec.token, None)) } else { Err(Problem::UnwantedArgument) };
        }
        let rest = std::mem::take(&mut self.bundle);
        let value = match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => self.value(takes)?,
            None => Some(rest),
        };
        Ok((spec.token, value))
    }

    fn long(&mut self, word: &'a str) -> Result<(T, Option<&'a str>), Problem> {
        let (name, given) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let spec = self.words.iter().find(|spec| spec.long == name).ok_or(Problem::Unknown)?;
        match (spec.takes, given) {
            (Takes::Nothing, Some(_)) => Err(Problem::UnwantedArgument),
            (Takes::Nothing, None) => Ok((spec.token, None)),
            (_, Some(value)) => Ok((spec.token, Some(value))),
            (takes, None) => Ok((spec.token, self.value(takes)?)),
        }
    }

    /// The next word as a value.
    fn value(&mut self, takes: Takes) -> Result<Option<&'a str>, Problem> {
        let word = self.args.get(self.next).map(String::as_str);
        match (takes, word) {
            (Takes::WordOrNothing, Some(word)) if word.starts_with('-') => Ok(None),
            (Takes::WordOrNothing, None) => Ok(None),
            (_, None) => Err(Problem::NoArgument),
            (_, Some(word)) => {
                self.next += 1;
                Ok(Some(word))
            }
        }
    }
}
