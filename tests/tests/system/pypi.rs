//! The unmodified `manta` package of PyPI: `MantaClient`, jobs included.

use anyhow::{Result, ensure};
use tests::home::run_with;
use tests::{Launch, Store};

#[test]
fn the_client_of_pypi() -> Result<()> {
    let store: Store = Launch::new().setting("jobs.zones = 2").start()?;
    let home = store.user()?;
    let printed = run_with(home.python()?.arg("-"), include_bytes!("pypi.py"))?;
    ensure!(printed.ends_with("all is well\n"), "{printed}");
    store.finish()
}
