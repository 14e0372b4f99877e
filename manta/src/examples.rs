//! The examples that `--help` shows: every command has one, and every one can be called as it stands.
//!
//! A line is read as a shell would: words, quotes, pipes, redirections, comments, and commands in the place
//! of words (`$(…)`), whose output is anybody's guess.

use std::iter::Peekable;
use std::str::Chars;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _};

use crate::cli;

/// Stands for what a command prints.
const SOMETHING: &str = "something";

/// The commands of a line, as words.
fn calls(line: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    read(&mut line.chars().peekable(), &mut calls);
    calls
}

/// Up to the end, or to the parenthesis that ends a command in the place of a word.
fn read(text: &mut Peekable<Chars<'_>>, calls: &mut Vec<Vec<String>>) {
    let mut words: Vec<String> = Vec::new();
    // What goes to or comes from a file is no word of the command.
    let mut is_redirected = false;
    while let Some(&next) = text.peek() {
        match next {
            ' ' => {
                text.next();
            }
            '#' | ')' => break,
            '|' | ';' | '&' => {
                text.next();
                calls.push(std::mem::take(&mut words));
            }
            '<' | '>' => {
                text.next();
                is_redirected = true;
            }
            _ => {
                let word = word(text, calls);
                if !std::mem::take(&mut is_redirected) {
                    words.push(word);
                }
            }
        }
    }
    calls.push(words);
    calls.retain(|words| !words.is_empty());
}

fn word(text: &mut Peekable<Chars<'_>>, calls: &mut Vec<Vec<String>>) -> String {
    let mut word = String::new();
    let mut quote = None;
    while let Some(&next) = text.peek() {
        let ends = matches!(next, ' ' | '|' | ';' | '&' | '<' | '>' | ')');
        if quote.is_none() && ends {
            break;
        }
        text.next();
        match (quote, next) {
            (Some(open), next) if next == open => quote = None,
            (Some('\''), next) => word.push(next),
            (None, '\'' | '"') => quote = Some(next),
            (_, '\\') => word.extend(text.next()),
            (_, '$') if text.peek() == Some(&'(') => {
                text.next();
                read(text, calls);
                assert_eq!(text.next(), Some(')'), "a command that has no end");
                word.push_str(SOMETHING);
            }
            (_, next) => word.push(next),
        }
    }
    assert_eq!(quote, None, "a quote that has no end: {word}");
    word
}

/// What is called by its own name: `manta`, and the client commands.
fn definition(name: &str) -> Option<Command> {
    match name {
        "manta" => Some(crate::everything()),
        name => cli::definitions()
            .into_iter()
            .find(|c| c.get_name() == name),
    }
}

/// The lines behind `Examples:` in what `--help` prints.
fn examples(path: &[String]) -> Vec<String> {
    let words = path.iter().map(String::as_str).chain(["--help"]);
    let definition = definition(&path[0]).expect("the path begins with a command");
    let help = definition.try_get_matches_from(words).unwrap_err();
    assert_eq!(help.kind(), ErrorKind::DisplayHelp, "{path:?}");
    let help = help.to_string();
    let (_, behind) = help.split_once("Examples:\n").unwrap_or_default();
    let lines = behind.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.trim().to_owned()).collect()
}

/// A command and all below it, by the words that call them.
fn paths(above: &[String], command: &Command) -> Vec<Vec<String>> {
    let mut path = above.to_vec();
    path.push(command.get_name().to_owned());
    let below = command.get_subcommands();
    let mut found: Vec<_> = below.flat_map(|below| paths(&path, below)).collect();
    found.push(path);
    found
}

#[test]
fn every_command_has_examples_that_can_be_called() {
    let manta = crate::Arguments::command();
    let all = [manta].into_iter().chain(cli::definitions());
    let all: Vec<_> = all.flat_map(|command| paths(&[], &command)).collect();
    let mut called = 0;
    for path in &all {
        let examples = examples(path);
        let calls: Vec<_> = examples.iter().flat_map(|line| calls(line)).collect();
        assert!(
            calls.iter().any(|words| words.starts_with(path)),
            "{path:?} --help shows no call of it: {examples:#?}"
        );
        for words in &calls {
            called += usize::from(is_understood(words));
        }
    }
    assert!(
        all.len() > 60 && called > all.len(),
        "{called} of {}",
        all.len()
    );
}

/// Parses a call of one of our commands, which must be possible. False for somebody else's.
fn is_understood(words: &[String]) -> bool {
    let Some(definition) = definition(&words[0]) else {
        return false;
    };
    // `manta` takes what it does not know for a command that somebody else may know.
    let below = definition.find_subcommand(words.get(1).unwrap_or(&words[0]));
    assert!(words[0] != "manta" || below.is_some(), "{words:?}");
    if let Err(error) = definition.try_get_matches_from(words) {
        panic!("{words:?}: {error}");
    }
    true
}

#[test]
fn lines_are_read_as_by_a_shell() {
    for (line, expected) in [
        ("a b  c", vec![vec!["a", "b", "c"]]),
        (
            "a 'b c' \"d \\\"e\" f\\ g",
            vec![vec!["a", "b c", "d \"e", "f g"]],
        ),
        (
            "a | b > c; d < e && f # g",
            vec![vec!["a"], vec!["b"], vec!["d"], vec!["f"]],
        ),
        (
            "x=$(a 'b)') c",
            vec![vec!["a", "b)"], vec!["x=something", "c"]],
        ),
        (
            "a \"$(b -c $d)/e\"",
            vec![vec!["b", "-c", "$d"], vec!["a", "something/e"]],
        ),
        ("a 'b' ^^ ''", vec![vec!["a", "b", "^^", ""]]),
        ("# a", vec![]),
    ] {
        assert_eq!(calls(line), expected, "{line}");
    }
}
