//! `-R`: commands from stdin, one a line.

use super::command::Command;
use super::execute::{Console, Exit, execute};
use super::parse::{parse, try_help};
use api::Ask;

/// Runs every line of stdin. After a refusal, its message is printed and the next line runs. A line
/// that is no command ends the run. The exit code is that of the last line.
pub(super) fn restore(client: &mut dyn Ask, console: &mut Console<'_>) -> Exit {
    let mut exit = Exit::SUCCESS;
    loop {
        let mut line = Vec::new();
        match console.stdin.read_until(b'\n', &mut line) {
            Ok(0) => return exit,
            Ok(_) => {}
            Err(error) => {
                console.complain(&format!("stdin: {error}"));
                return Exit::with(1);
            }
        }
        let line = String::from_utf8_lossy(&line);
        let words: Vec<String> = line
            .split([' ', '\t', '\n', '\r'])
            .filter(|word| !word.is_empty() && *word != "ipvsadm")
            .map(str::to_owned)
            .collect();
        if words.is_empty() {
            continue;
        }
        exit = match parse(console.program, &words, console.names) {
            Ok(Command::Restore) => {
                let error = try_help(console.program);
                console.complain(&error.text);
                Exit { code: error.exit, end: true }
            }
            Ok(command) => execute(command, client, console),
            Err(error) => {
                console.complain(&error.text);
                Exit { code: error.exit, end: error.fatal }
            }
        };
        if exit.end {
            return exit;
        }
    }
}
