//! The job a user submits: checked property by property, because the messages name the one that is wrong.
//! Source: marlin.md section 1.1, rest-api.md section 6.2.

use libmanta::VersionRange;
use libmanta::marlin::{JobDefinition, Phase, PhaseKind};
use serde_json::{Map, Value};

use crate::errors::{Error, Result};

const COUNT_MAX: u8 = 128;
/// Phases of a job, and reducers of all its phases together: each costs memory as long as the job lives.
const PHASES_MAX: usize = 100;
const REDUCERS_MAX: u32 = 1024;
const MEMORY_MB: [u32; 7] = [128, 256, 512, 1024, 2048, 4096, 8192];
const DISK_GB: [u32; 10] = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// Reads and checks a definition. `images` are the versions a job may ask for.
pub(crate) fn parse(text: &[u8], operator: bool, images: &[String]) -> Result<JobDefinition> {
    let document: Value = serde_json::from_slice(text).map_err(|error| Error::InvalidContent {
        reason: error.to_string(),
    })?;
    let mut job = match document {
        Value::Object(job) => job,
        Value::Null => return Err(invalid("job must not be null")),
        _ => return Err(invalid("job must be an object")),
    };
    let name = match job.remove("name") {
        None => String::new(),
        Some(Value::String(name)) => name,
        Some(_) => return Err(wrong("name", "must be a string")),
    };
    let transient = match job.remove("transient") {
        None => false,
        Some(Value::Bool(transient)) => transient,
        Some(_) => return Err(wrong("transient", "must be a boolean")),
    };
    let phases = match job.remove("phases") {
        None => return Err(wrong("phases", "is missing and it is required")),
        Some(Value::Array(phases)) if phases.is_empty() => {
            return Err(wrong("phases", "must have at least 1 item"));
        }
        Some(Value::Array(phases)) if phases.len() > PHASES_MAX => {
            return Err(wrong("phases", "must have at most 100 items"));
        }
        Some(Value::Array(phases)) => phases,
        Some(_) => return Err(wrong("phases", "must be an array")),
    };
    let phases = phases
        .into_iter()
        .enumerate()
        .map(|(index, value)| phase(index, value, images))
        .collect::<Result<Vec<_>>>()?;
    let reducers: u32 = phases.iter().map(reducers_of).sum();
    if reducers > REDUCERS_MAX {
        let reason = format!("must have at most {REDUCERS_MAX} reducers in all, not {reducers}");
        return Err(wrong("phases", &reason));
    }
    let options = if operator {
        match job.remove("options") {
            None => None,
            Some(Value::Object(options)) => Some(check_options(options)?),
            Some(_) => return Err(wrong("options", "must be an object")),
        }
    } else {
        None
    };
    refuse_rest("", &job)?;
    Ok(JobDefinition {
        name,
        transient,
        phases,
        options,
    })
}

fn reducers_of(phase: &Phase) -> u32 {
    match phase.kind {
        PhaseKind::Map => 0,
        PhaseKind::Reduce => u32::from(phase.count.unwrap_or(1)),
    }
}

fn check_options(options: Map<String, Value>) -> Result<Map<String, Value>> {
    for (name, value) in &options {
        let property = format!("options.{name}");
        if !["keepIntermediate", "frequentCheckpoint"].contains(&name.as_str()) {
            return Err(wrong(&property, "unsupported property"));
        }
        if !value.is_boolean() {
            return Err(wrong(&property, "must be a boolean"));
        }
    }
    Ok(options)
}

fn phase(index: usize, value: Value, images: &[String]) -> Result<Phase> {
    let at = |property: &str| format!("phases[{index}].{property}");
    let here = format!("phases[{index}]");
    let mut phase = match value {
        Value::Object(phase) => phase,
        Value::Null => return Err(wrong(&here, "must not be null")),
        _ => return Err(wrong(&here, "must be an object")),
    };
    let kind = match phase.remove("type") {
        None => PhaseKind::Map,
        Some(Value::String(kind)) => match kind.as_str() {
            "map" | "storage-map" => PhaseKind::Map,
            "reduce" => PhaseKind::Reduce,
            _ => {
                let reason = "must be one of \"map\", \"reduce\", \"storage-map\"";
                return Err(wrong(&at("type"), reason));
            }
        },
        Some(_) => return Err(wrong(&at("type"), "must be a string")),
    };
    let mut text = |name: &str| match phase.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(&at(name), "must be a string")),
    };
    let exec = match text("exec")? {
        None => return Err(wrong(&at("exec"), "is missing and it is required")),
        Some(exec) if exec.is_empty() => return Err(wrong(&at("exec"), "must not be empty")),
        Some(exec) => exec,
    };
    let init = text("init")?;
    let image = text("image")?;
    if let Some(image) = &image {
        check_image(&at("image"), image, images)?;
    }
    let assets = match phase.remove("assets") {
        None => None,
        Some(Value::Array(assets)) => Some(paths(&at("assets"), assets)?),
        Some(_) => return Err(wrong(&at("assets"), "must be an array")),
    };
    let count = match integer(&mut phase, "count", &at)? {
        None => None,
        Some(count) => match u8::try_from(count) {
            Ok(count @ 1..=COUNT_MAX) => Some(count),
            _ => return Err(wrong(&at("count"), "must be between 1 and 128")),
        },
    };
    let memory = choice(
        integer(&mut phase, "memory", &at)?,
        &MEMORY_MB,
        &at("memory"),
    )?;
    let disk = choice(integer(&mut phase, "disk", &at)?, &DISK_GB, &at("disk"))?;
    let uarg = match phase.remove("uarg") {
        None => None,
        Some(Value::Object(uarg)) => Some(uarg),
        Some(_) => return Err(wrong(&at("uarg"), "must be an object")),
    };
    refuse_rest(&format!("{here}."), &phase)?;
    Ok(Phase {
        kind,
        exec,
        init,
        assets,
        count,
        memory,
        disk,
        image,
        uarg,
    })
}

fn check_image(property: &str, image: &str, images: &[String]) -> Result<()> {
    // npm takes an empty range for any; here it is an image that was forgotten.
    let range = if image.is_empty() {
        None
    } else {
        VersionRange::parse(image)
    };
    let Some(range) = range else {
        return Err(wrong(
            property,
            &format!("invalid semver range: \"{image}\""),
        ));
    };
    if images.iter().any(|version| range.admits(version)) {
        return Ok(());
    }
    Err(wrong(
        property,
        &format!("unsupported version: \"{image}\""),
    ))
}

fn paths(property: &str, values: Vec<Value>) -> Result<Vec<String>> {
    let mut paths = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::String(path) if path.starts_with('/') => paths.push(path),
            Value::String(_) => {
                return Err(wrong(
                    &format!("{property}[{index}]"),
                    "must be an absolute path",
                ));
            }
            _ => return Err(wrong(&format!("{property}[{index}]"), "must be a string")),
        }
    }
    Ok(paths)
}

/// A whole number, also one written `1.0`. Negative ones and fractions are not integers to anyone here.
fn integer(
    phase: &mut Map<String, Value>,
    name: &str,
    at: &impl Fn(&str) -> String,
) -> Result<Option<u64>> {
    let Some(value) = phase.remove(name) else {
        return Ok(None);
    };
    if let Some(number) = value.as_u64() {
        return Ok(Some(number));
    }
    let whole = value
        .as_f64()
        .filter(|n| n.fract() == 0.0 && (0.0..1e9).contains(n));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is whole and between zero and 1e9"
    )]
    let whole = whole.map(|number| number as u64);
    whole
        .map(Some)
        .ok_or_else(|| wrong(&at(name), "must be an integer"))
}

fn choice(value: Option<u64>, allowed: &[u32], property: &str) -> Result<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    if let Some(choice) = allowed.iter().find(|choice| u64::from(**choice) == value) {
        return Ok(Some(*choice));
    }
    let list: Vec<_> = allowed.iter().map(u32::to_string).collect();
    Err(wrong(
        property,
        &format!("must be one of {}", list.join(", ")),
    ))
}

fn refuse_rest(prefix: &str, rest: &Map<String, Value>) -> Result<()> {
    match rest.keys().next() {
        Some(name) => Err(wrong(&format!("{prefix}{name}"), "unsupported property")),
        None => Ok(()),
    }
}

fn wrong(property: &str, reason: &str) -> Error {
    invalid(&format!("property \"{property}\": {reason}"))
}

fn invalid(reason: &str) -> Error {
    Error::InvalidJob {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images() -> Vec<String> {
        vec![String::from("13.3.6"), String::from("16.1.0")]
    }

    fn of(document: &Value, operator: bool) -> Result<JobDefinition> {
        parse(document.to_string().as_bytes(), operator, &images())
    }

    fn reason(document: &Value, operator: bool) -> String {
        match of(document, operator) {
            Err(Error::InvalidJob { reason }) => reason,
            other => panic!("{document}: {other:?}"),
        }
    }

    /// The same for everybody.
    fn message(document: &Value) -> String {
        let reasons = [false, true].map(|operator| reason(document, operator));
        assert_eq!(reasons[0], reasons[1]);
        reasons[0].clone()
    }

    /// Source of this and of what is refused: marlin.md A.5, the cases of `tst.validate`.
    #[test]
    fn the_smallest_and_the_largest_job_are_valid() {
        let small = json!({"name": "", "phases": [{"exec": "wc"}]});
        for operator in [false, true] {
            let small = of(&small, operator).unwrap();
            assert_eq!(small.phases[0].kind, PhaseKind::Map);
        }
        let full = json!({
            "name": "full", "transient": true,
            "phases": [{
                "type": "reduce", "exec": "cat", "init": "true", "assets": ["/a/stor/b"],
                "count": 10, "memory": 512, "disk": 16, "image": ">0.0.0", "uarg": {"x": 1},
            }, {"type": "storage-map", "exec": "wc"}],
        });
        for operator in [false, true] {
            let job = of(&full, operator).unwrap();
            assert_eq!(job.phases[1].kind, PhaseKind::Map);
            assert_eq!(
                serde_json::to_value(&job.phases[0]).unwrap(),
                full["phases"][0]
            );
        }
    }

    #[test]
    fn everything_else_is_refused_and_named() {
        let with = |name: &str, value: Value| {
            let mut phase = json!({"exec": "wc"});
            phase[name] = value;
            json!({"phases": [phase]})
        };
        for (document, expected) in [
            (json!(null), "job must not be null"),
            (json!([]), "job must be an object"),
            (
                json!({}),
                "property \"phases\": is missing and it is required",
            ),
            (
                json!({"phases": 1}),
                "property \"phases\": must be an array",
            ),
            (
                json!({"phases": {}}),
                "property \"phases\": must be an array",
            ),
            (
                json!({"phases": null}),
                "property \"phases\": must be an array",
            ),
            (
                json!({"phases": []}),
                "property \"phases\": must have at least 1 item",
            ),
            (
                json!({"phases": [null]}),
                "property \"phases[0]\": must not be null",
            ),
            (
                json!({"phases": ["x"]}),
                "property \"phases[0]\": must be an object",
            ),
            (
                json!({"phases": [{"exec": "x"}, {}]}),
                "property \"phases[1].exec\": is missing and it is required",
            ),
            (
                json!({"phases": [{"exec": 1}]}),
                "property \"phases[0].exec\": must be a string",
            ),
            (
                json!({"phases": [{"exec": ""}]}),
                "property \"phases[0].exec\": must not be empty",
            ),
            (
                json!({"name": 1, "phases": [{"exec": "x"}]}),
                "property \"name\": must be a string",
            ),
            (
                json!({"phases": [{"exec": "x"}], "junk": 1}),
                "property \"junk\": unsupported property",
            ),
            (
                with("junk", json!(1)),
                "property \"phases[0].junk\": unsupported property",
            ),
            (
                with("count", json!(1000)),
                "property \"phases[0].count\": must be between 1 and 128",
            ),
            (
                with("count", json!(0)),
                "property \"phases[0].count\": must be between 1 and 128",
            ),
            (
                with("count", json!(1.5)),
                "property \"phases[0].count\": must be an integer",
            ),
            (
                with("count", json!(-1)),
                "property \"phases[0].count\": must be an integer",
            ),
            (
                with("memory", json!(122)),
                "property \"phases[0].memory\": must be one of 128, 256, 512, 1024, 2048, 4096, 8192",
            ),
            (
                with("disk", json!(null)),
                "property \"phases[0].disk\": must be an integer",
            ),
            (
                with("assets", json!(null)),
                "property \"phases[0].assets\": must be an array",
            ),
            (
                with("assets", json!([1])),
                "property \"phases[0].assets[0]\": must be a string",
            ),
            (
                with("assets", json!(["x"])),
                "property \"phases[0].assets[0]\": must be an absolute path",
            ),
            (
                with("image", json!(1)),
                "property \"phases[0].image\": must be a string",
            ),
            (
                with("image", json!("")),
                "property \"phases[0].image\": invalid semver range: \"\"",
            ),
            (
                with("image", json!("0.0.1")),
                "property \"phases[0].image\": unsupported version: \"0.0.1\"",
            ),
            (
                with("type", json!("junk")),
                "property \"phases[0].type\": must be one of \"map\", \"reduce\", \"storage-map\"",
            ),
            (
                with("uarg", json!([])),
                "property \"phases[0].uarg\": must be an object",
            ),
        ] {
            assert_eq!(message(&document), expected, "{document}");
        }
    }

    #[test]
    fn phases_and_reducers_are_limited() {
        let map = |phases: usize| json!({"phases": vec![json!({"exec": "x"}); phases]});
        assert_eq!(of(&map(100), false).unwrap().phases.len(), 100);
        assert_eq!(
            message(&map(101)),
            "property \"phases\": must have at most 100 items"
        );
        let reduce = |counts: &[u32]| {
            let phase = |count: &u32| json!({"type": "reduce", "exec": "x", "count": count});
            let mut phases: Vec<_> = counts.iter().map(phase).collect();
            // Means nothing for a map.
            phases.push(json!({"exec": "x", "count": 128}));
            json!({"phases": phases})
        };
        assert!(of(&reduce(&[128; 8]), false).is_ok());
        assert_eq!(
            message(&reduce(&[128, 128, 128, 128, 128, 128, 128, 128, 1])),
            "property \"phases\": must have at most 1024 reducers in all, not 1025"
        );
    }

    #[test]
    fn options_are_for_operators() {
        let document = json!({"phases": [{"exec": "x"}], "options": {"keepIntermediate": true}});
        assert!(of(&document, true).unwrap().options.is_some());
        assert_eq!(
            reason(&document, false),
            "property \"options\": unsupported property"
        );
        let wrong = json!({"phases": [{"exec": "x"}], "options": {"x": true}});
        assert!(of(&wrong, true).is_err());
    }

    #[test]
    fn what_is_not_json_is_another_error() {
        for text in ["", "{", "\u{0}", "{\"phases\":"] {
            let error = parse(text.as_bytes(), false, &images()).unwrap_err();
            assert!(matches!(error, Error::InvalidContent { .. }), "{text}");
        }
    }
}
