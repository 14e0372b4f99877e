//! The environment of a command. Source: marlin.md section 7.2.
//!
//! One variable is ours: `LANG=C.UTF-8`, because tools that count characters or sort should treat the text
//! of today as what it is, whatever the host's locale.

use crate::agent::{TaskSpec, What};
use crate::names;

/// Where programs are, unless the image says something else.
const PROGRAMS: &str = "/opt/local/bin:/opt/local/sbin:\
                        /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What variables of ours begin with, those included that this task has not.
const RESERVED: &[&str] = &["MANTA_", "mc_"];

/// Which command of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Init,
    Exec,
}

/// The exact environment. `input_file` is where the input appears, for map tasks; `image` is what the image of
/// the zone adds, which may say where programs are, and otherwise nothing that we say.
pub(crate) fn environment(
    task: &TaskSpec,
    purpose: Purpose,
    tools_dir: &str,
    manta_url: &str,
    input_file: Option<&str>,
    image: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let of_image = image.iter().find(|(name, _)| name == "PATH");
    let programs = of_image.map_or(PROGRAMS, |(_, path)| path);
    let path = format!("{tools_dir}:{programs}");
    let mut env: Vec<(&str, String)> = vec![
        ("HOME", "/root".to_owned()),
        ("PATH", path),
        ("LANG", "C.UTF-8".to_owned()),
        ("MANTA_URL", manta_url.to_owned()),
        ("MANTA_NO_AUTH", "true".to_owned()),
        ("MANTA_USER", task.job.login().to_owned()),
        ("MANTA_JOB_ID", task.job.id().to_string()),
        ("MANTA_OUTPUT_BASE", task.names().output_base()),
        ("DTRACE_DOF_INIT_DISABLE", "1".to_owned()),
    ];
    if purpose == Purpose::Exec {
        match &task.what {
            What::Map { input, .. } => {
                let name = input.name.to_string();
                let file = input_file.map_or_else(|| names::input_path(&name).0, str::to_owned);
                env.push(("MANTA_INPUT_OBJECT", name.clone()));
                env.push(("MANTA_INPUT_FILE", file.clone()));
                env.push(("mc_input_key", name));
                env.push(("mc_input_file", file));
            }
            What::Reduce { index, .. } => env.push(("MANTA_REDUCER", index.to_string())),
        }
    }
    let ours = env.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let others = image.into_iter().filter(|(name, _)| {
        !ours.contains(&name.as_str()) && !RESERVED.iter().any(|start| name.starts_with(start))
    });
    let others: Vec<_> = others.collect();
    env.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(others)
        .collect()
}
