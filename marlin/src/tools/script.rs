//! Keys that JavaScript makes of lines: with a function of the user's, or from the properties of objects.
//!
//! Objects are read in JavaScript even where the user brings no code of his own, so that keys are what they
//! would be there: `1.0` is `1`, a list is its members with commas between them. There is the language and
//! nothing else: no `require`, no files, no network. A function that never returns is not stopped, as little
//! as any other command of the task is.

use rquickjs::convert::Coerced;
use rquickjs::{
    CatchResultExt, CaughtError, Context, FromJs, Function, Null, Persistent, Runtime, Value,
};
use thiserror::Error;

/// Takes `keys.js` its arguments and gives back the function that it makes.
const KEYS: &str = include_str!("keys.js");
/// A quarter of what a zone has unless its phase asks for more.
const MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// About what Node has; the main thread of a process has eight times as much.
const STACK_BYTES_MAX: usize = 1024 * 1024;

/// What JavaScript threw, or that it ran out of memory.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct ScriptError(String);

/// Where the key of a line comes from.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// Body of a function of `line`, in full or as one expression.
    pub(super) body: Option<&'a str>,
    /// Names of properties, used when there is no body.
    pub(super) paths: Vec<Vec<&'a str>>,
    pub(super) delimiter: &'a str,
    /// Whether lines are objects.
    pub(super) json: bool,
    /// Whether a key may be a number.
    pub(super) numbers: bool,
}

/// A function from a line to its key.
pub(super) struct Script {
    // Dropped before the context it belongs to.
    key_of: Persistent<Function<'static>>,
    context: Context,
}

impl Script {
    /// Errors: the body is no JavaScript.
    pub(super) fn new(source: Source<'_>) -> Result<Self, ScriptError> {
        let started = Runtime::new().and_then(|runtime| {
            runtime.set_memory_limit(MEMORY_BYTES_MAX);
            runtime.set_max_stack_size(STACK_BYTES_MAX);
            Context::full(&runtime)
        });
        let context = started.map_err(|error| ScriptError(error.to_string()))?;
        let key_of = context.with(|ctx| {
            let make = || -> rquickjs::Result<_> {
                let make: Function<'_> = ctx.eval(KEYS)?;
                let Source {
                    paths,
                    delimiter,
                    json,
                    numbers,
                    ..
                } = source;
                let key_of: Function<'_> = match source.body {
                    Some(body) => make.call((body, paths, delimiter, json, numbers))?,
                    None => make.call((Null, paths, delimiter, json, numbers))?,
                };
                Ok(Persistent::save(&ctx, key_of))
            };
            make().catch(&ctx).map_err(thrown)
        })?;
        Ok(Self { key_of, context })
    }

    /// The key of a line. Errors: the function threw, or its result can be no key.
    pub(super) fn key_of(&self, line: &str) -> Result<String, ScriptError> {
        self.context.with(|ctx| {
            let key_of = self.key_of.clone().restore(&ctx);
            let key = key_of.and_then(|key_of| key_of.call((line,)));
            key.catch(&ctx).map_err(thrown)
        })
    }
}

/// The message as JavaScript would print it.
fn thrown(error: CaughtError<'_>) -> ScriptError {
    let printed = |value: Value<'_>| {
        let ctx = value.ctx().clone();
        match Coerced::<String>::from_js(&ctx, value) {
            Ok(Coerced(text)) => text,
            Err(error) => {
                // Not even that it can do; what it threw now does not matter.
                drop(ctx.catch());
                error.to_string()
            }
        }
    };
    ScriptError(match error {
        CaughtError::Exception(exception) => printed(exception.into_value()),
        CaughtError::Value(value) => printed(value),
        CaughtError::Error(error) => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(body: &str) -> Source<'_> {
        Source {
            body: Some(body),
            paths: Vec::new(),
            delimiter: "\t",
            json: false,
            numbers: false,
        }
    }

    fn error(source: Source<'_>, line: &str) -> String {
        let key = Script::new(source).and_then(|script| script.key_of(line));
        key.unwrap_err().to_string()
    }

    #[test]
    fn a_body_is_a_function_of_the_line() {
        for (body, key) in [
            ("line.toUpperCase()", "ÄB"),
            ("line.toUpperCase();", "ÄB"),
            ("var x = line; return x + 1", "äb1"),
            ("this.line", "äb"),
            ("'\\ud800'", "\u{fffd}"),
        ] {
            let script = Script::new(source(body)).unwrap();
            assert_eq!(script.key_of("äb").unwrap(), key, "{body}");
            assert_eq!(script.key_of("äb").unwrap(), key, "{body}, again");
        }
    }

    #[test]
    fn properties_are_printed_as_javascript_does() {
        let line =
            r#"{"a": {"b": 1.0, "0": null}, "c": [1, "x"], "d": 1e21, "e": "", "f": true, "g": 0}"#;
        for (paths, key) in [
            (&["a.b"][..], "1"),
            (&["c", "a.b"], "1,x\t1"),
            (&["d", "nothing", "f"], "1e+21\ttrue"),
            (&["e", "f"], "true"),
            (&["f", "e"], "true\t"),
            (&["a.0", "a.nothing.deeper"], "null"),
            (&["g.x", "a"], "0\t[object Object]"),
            (&["nothing"], ""),
        ] {
            let paths = paths.iter().map(|path| path.split('.').collect()).collect();
            let source = Source {
                body: None,
                paths,
                json: true,
                ..source("")
            };
            assert_eq!(Script::new(source).unwrap().key_of(line).unwrap(), key);
        }
    }

    #[test]
    fn what_is_thrown_is_told() {
        for (body, json, expected) in [
            ("nothing.x", false, "ReferenceError: nothing is not defined"),
            (
                "throw new Error('bad ' + line); return ''",
                false,
                "Error: bad 7",
            ),
            ("throw 'text'; return ''", false, "text"),
            (
                "1",
                false,
                "TypeError: the key must be a string, but is number: 1",
            ),
            ("if (line", false, "SyntaxError: "),
            ("}); (", false, "SyntaxError: "),
            ("this.x.y", true, "TypeError: "),
            ("(function f() { return f() + 1 })()", false, "RangeError: "),
        ] {
            let source = Source {
                json,
                ..source(body)
            };
            let error = error(source, "7");
            assert!(error.starts_with(expected), "{body}: {error}");
        }
        let json = Source {
            json: true,
            ..source("'x'")
        };
        assert_eq!(
            error(json, "{\"x\""),
            "SyntaxError: input is not json: {\"x\""
        );
    }

    #[test]
    fn memory_has_an_end() {
        let all = "const all = []; for (;;) all.push(line.repeat(1000000) + all.length); return ''";
        let error = error(source(all), "x");
        assert!(error.contains("memory"), "{error}");
    }
}
