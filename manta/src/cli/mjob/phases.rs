//! The two ways to write down the phases of a job.
//!
//! *Options*: `--memory 512 -m 'grep x' --count 2 -r wc`. The order on the command line matters: a property
//! belongs to the next `-m` or `-r` and is forgotten after it.
//!
//! *Expression*: `grep x ^^^^ wc ^ sort`. `^` begins a map phase, `^^` a reduce phase, and every further
//! caret counts a reducer. Properties given as options belong to every phase.

use std::num::NonZeroU32;

use clap::{Arg, ArgAction, ArgMatches, FromArgMatches, value_parser};
use manta_client::resolve_path;

use crate::cli::failure::Failure;
use crate::cli::json_text::{object, quote};

/// The phase options in the order they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct PhaseOptions {
    given: Vec<PhaseOption>,
}

#[derive(Clone, Debug)]
enum PhaseOption {
    Map(String),
    Reduce(String),
    Asset(String),
    Image(String),
    Init(String),
    Count(NonZeroU32),
    Disk(NonZeroU32),
    Memory(NonZeroU32),
}

/// Properties a phase can have besides its command.
#[derive(Clone, Debug, Default)]
struct Properties {
    assets: Vec<String>,
    image: Option<String>,
    init: Option<String>,
    count: Option<NonZeroU32>,
    disk: Option<NonZeroU32>,
    memory: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PhaseType {
    Map,
    Reduce,
}

impl PhaseOptions {
    /// The phases, each a JSON object. `words` is the expression, empty with options.
    pub(super) fn phases(&self, words: &[String], account: &str) -> Result<Vec<String>, Failure> {
        let by_options = self
            .given
            .iter()
            .any(|option| matches!(option, PhaseOption::Map(_) | PhaseOption::Reduce(_)));
        match (by_options, words) {
            (true, []) => self.by_options(account),
            (false, [_, ..]) => self.by_expression(words, account),
            (true, _) => {
                let text = "cannot use -m/-r along with a job expression\n\
                            (did you forget a \"-m\" or \"-r\"?)";
                Err(Failure::Message(text.to_owned()))
            }
            (false, []) => {
                let text = "At least one map or reduce task must be specified";
                Err(Failure::Message(text.to_owned()))
            }
        }
    }

    fn by_options(&self, account: &str) -> Result<Vec<String>, Failure> {
        let mut phases = Vec::new();
        let mut next = Properties::default();
        for option in &self.given {
            match option {
                PhaseOption::Map(exec) => {
                    let properties = std::mem::take(&mut next);
                    phases.push(properties.by_options(PhaseType::Map, exec, None));
                }
                PhaseOption::Reduce(exec) => {
                    let properties = std::mem::take(&mut next);
                    let count = properties.count;
                    phases.push(properties.by_options(PhaseType::Reduce, exec, count));
                }
                property => next.set(property, account)?,
            }
        }
        Ok(phases)
    }

    fn by_expression(&self, words: &[String], account: &str) -> Result<Vec<String>, Failure> {
        let mut properties = Properties::default();
        for option in &self.given {
            properties.set(option, account)?;
        }
        let mut phases = Vec::new();
        let mut exec: Vec<&str> = Vec::new();
        let mut phase_type = PhaseType::Map;
        let mut count = properties.count;
        for word in words {
            let carets = word.len();
            if carets == 0 || word.bytes().any(|byte| byte != b'^') {
                exec.push(word);
                continue;
            }
            if !exec.is_empty() {
                phases.push(properties.by_expression(phase_type, &exec, count));
                exec.clear();
                count = properties.count;
            }
            if carets == 1 {
                phase_type = PhaseType::Map;
            } else {
                phase_type = PhaseType::Reduce;
                let reducers = u32::try_from(carets - 2).unwrap_or(u32::MAX);
                count = NonZeroU32::new(reducers).or(count);
            }
        }
        if !exec.is_empty() {
            phases.push(properties.by_expression(phase_type, &exec, count));
        }
        Ok(phases)
    }
}

impl Properties {
    fn set(&mut self, option: &PhaseOption, account: &str) -> Result<(), Failure> {
        match option {
            PhaseOption::Asset(path) => self.assets.push(resolve_path(path, account)?),
            PhaseOption::Image(image) => self.image = Some(image.clone()),
            PhaseOption::Init(init) => self.init = Some(init.clone()),
            PhaseOption::Count(count) => self.count = Some(*count),
            PhaseOption::Disk(disk) => self.disk = Some(*disk),
            PhaseOption::Memory(memory) => self.memory = Some(*memory),
            PhaseOption::Map(_) | PhaseOption::Reduce(_) => {}
        }
        Ok(())
    }

    /// The ecosystem's tool writes its keys in another order for each way; `--dry-run` shows it.
    fn by_options(&self, kind: PhaseType, exec: &str, count: Option<NonZeroU32>) -> String {
        let fields = [
            ("assets", self.assets()),
            ("count", count.map(|count| count.to_string())),
            ("disk", self.disk.map(|disk| disk.to_string())),
            ("exec", Some(quote(exec))),
            ("image", self.image.as_deref().map(quote)),
            ("init", self.init.as_deref().map(quote)),
            ("memory", self.memory.map(|memory| memory.to_string())),
            ("type", Some(quote(kind.name()))),
        ];
        object(
            fields
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        )
    }

    fn by_expression(&self, kind: PhaseType, words: &[&str], count: Option<NonZeroU32>) -> String {
        // One reducer is what there is without a count.
        let count = count.filter(|count| kind == PhaseType::Reduce && count.get() > 1);
        let fields = [
            ("exec", Some(quote(&words.join(" ")))),
            ("disk", self.disk.map(|disk| disk.to_string())),
            ("image", self.image.as_deref().map(quote)),
            ("init", self.init.as_deref().map(quote)),
            ("memory", self.memory.map(|memory| memory.to_string())),
            ("type", Some(quote(kind.name()))),
            ("count", count.map(|count| count.to_string())),
            ("assets", self.assets()),
        ];
        object(
            fields
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        )
    }

    fn assets(&self) -> Option<String> {
        let quoted: Vec<String> = self.assets.iter().map(|asset| quote(asset)).collect();
        (!quoted.is_empty()).then(|| format!("[{}]", quoted.join(",")))
    }
}

impl PhaseType {
    fn name(self) -> &'static str {
        match self {
            PhaseType::Map => "map",
            PhaseType::Reduce => "reduce",
        }
    }
}

/// Written by hand because derived options do not remember the order in which they were given.
impl clap::Args for PhaseOptions {
    fn augment_args(command: clap::Command) -> clap::Command {
        let text =
            |id: &'static str, short: Option<char>, value: &'static str, help: &'static str| {
                let arg = Arg::new(id)
                    .long(id)
                    .value_name(value)
                    .help(help)
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true);
                match short {
                    Some(short) => arg.short(short),
                    None => arg,
                }
            };
        let number = |id: &'static str, value: &'static str, help: &'static str| {
            text(id, None, value, help).value_parser(value_parser!(NonZeroU32))
        };
        command
            .next_help_heading("Phases")
            .arg(text("map", Some('m'), "CMD", "Add a map phase"))
            .arg(text("reduce", Some('r'), "CMD", "Add a reduce phase"))
            .next_help_heading(
                "Phase properties (of the next -m or -r; of every phase of an expression)",
            )
            .arg(text(
                "asset",
                Some('s'),
                "OBJECT",
                "Object to place in the zones",
            ))
            .arg(text(
                "image",
                None,
                "RANGE",
                "Compute image, a semver range",
            ))
            .arg(text(
                "init",
                None,
                "CMD",
                "Command to run before the first task",
            ))
            .arg(number("count", "N", "Number of reducers"))
            .arg(number("disk", "GB", "Disk space"))
            .arg(number("memory", "MB", "Memory"))
            .next_help_heading(None)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PhaseOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<PhaseOptions, clap::Error> {
        type Make<T> = fn(T) -> PhaseOption;
        let mut given: Vec<(usize, PhaseOption)> = Vec::new();
        let texts: [(&str, Make<String>); 5] = [
            ("map", PhaseOption::Map),
            ("reduce", PhaseOption::Reduce),
            ("asset", PhaseOption::Asset),
            ("image", PhaseOption::Image),
            ("init", PhaseOption::Init),
        ];
        for (id, make) in texts {
            given.extend(occurrences::<String>(matches, id).map(|(at, text)| (at, make(text))));
        }
        let numbers: [(&str, Make<NonZeroU32>); 3] = [
            ("count", PhaseOption::Count),
            ("disk", PhaseOption::Disk),
            ("memory", PhaseOption::Memory),
        ];
        for (id, make) in numbers {
            let found = occurrences::<NonZeroU32>(matches, id);
            given.extend(found.map(|(at, number)| (at, make(number))));
        }
        given.sort_by_key(|(at, _)| *at);
        Ok(PhaseOptions {
            given: given.into_iter().map(|(_, option)| option).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Each value of an option with its place on the command line.
fn occurrences<'a, T: Clone + Send + Sync + 'static>(
    matches: &'a ArgMatches,
    id: &str,
) -> impl Iterator<Item = (usize, T)> + use<'a, T> {
    let places = matches.indices_of(id).into_iter().flatten();
    let values = matches.get_many::<T>(id).into_iter().flatten().cloned();
    places.zip(values)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: PhaseOptions,
        words: Vec<String>,
    }

    fn phases(words: &[&str]) -> Result<Vec<String>, String> {
        let line = Line::try_parse_from([&["x"], words].concat()).map_err(|e| e.to_string())?;
        line.options
            .phases(&line.words, "alice")
            .map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn properties_belong_to_the_next_phase_only() {
        let made = phases(&[
            "--count",
            "9",
            "--memory",
            "512",
            "-s",
            "~~/stor/a",
            "-s",
            "/b/stor/c",
            "-m",
            "grep x",
            "-r",
            "-n",
            "--count",
            "2",
            "--disk",
            "16",
            "--init",
            "true",
            "--image",
            "1.x",
            "--reduce",
            "wc",
        ]);
        assert_eq!(
            made.unwrap(),
            [
                r#"{"assets":["/alice/stor/a","/b/stor/c"],"exec":"grep x","memory":512,"type":"map"}"#,
                r#"{"exec":"-n","type":"reduce"}"#,
                r#"{"count":2,"disk":16,"exec":"wc","image":"1.x","init":"true","type":"reduce"}"#,
            ]
        );
    }

    #[test]
    fn carets_separate_and_count() {
        assert_eq!(
            phases(&["--memory", "512", "grep", "foo", "^^^^", "wc", "^", "sort"]).unwrap(),
            [
                r#"{"exec":"grep foo","memory":512,"type":"map"}"#,
                r#"{"exec":"wc","memory":512,"type":"reduce","count":2}"#,
                r#"{"exec":"sort","memory":512,"type":"map"}"#,
            ]
        );
        assert_eq!(
            phases(&["^^", "wc"]).unwrap(),
            [r#"{"exec":"wc","type":"reduce"}"#]
        );
        assert_eq!(
            phases(&["--count", "3", "-s", "/a/stor/x", "^^", "wc", "^^^", "cat"]).unwrap(),
            [
                r#"{"exec":"wc","type":"reduce","count":3,"assets":["/a/stor/x"]}"#,
                r#"{"exec":"cat","type":"reduce","assets":["/a/stor/x"]}"#,
            ]
        );
        // A caret inside a word is the command's own.
        assert_eq!(
            phases(&["grep ^x"]).unwrap(),
            [r#"{"exec":"grep ^x","type":"map"}"#]
        );
    }

    #[test]
    fn the_two_ways_do_not_mix() {
        assert!(
            phases(&["-m", "foo", "bar"])
                .unwrap_err()
                .contains("along with a job expression")
        );
        assert!(
            phases(&[])
                .unwrap_err()
                .contains("At least one map or reduce")
        );
        assert!(phases(&["--memory", "0", "-m", "x"]).is_err());
    }
}
