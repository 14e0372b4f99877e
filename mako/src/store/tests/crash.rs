//! A process that is killed before any step of a write or deletion, and what the next one finds.
//!
//! The test starts itself again as the process that dies: `the_process_that_dies` is that process when it
//! is told where to die, and otherwise a test like any other, which lives.
//!
//! What is *not* shown here is that synced bytes survive a crash of the machine: a killed process loses
//! nothing that the kernel has. The order of steps is tested above, and the system tests replay traces.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::*;

const SELF: &str = "store::tests::crash::the_process_that_dies";
const STEP: &str = "MAKO_TEST_DIES_AT";
const DIRECTORY: &str = "MAKO_TEST_DIRECTORY";
const ATTRIBUTE: &str = "MAKO_TEST_ATTRIBUTE";

const CREATOR: &str = "bc8cd146-fecb-11e1-bd8a-bb6f54b49808";
const OBJECT: &str = "07112233-4455-6677-8899-aabbccddeeff";

const SEGMENTS: &str = "MAKO_TEST_SEGMENTS";

/// Off while what is not under test is prepared.
static MORTAL: AtomicBool = AtomicBool::new(false);

fn names() -> (AccountId, ObjectId) {
    (CREATOR.parse().unwrap(), OBJECT.parse().unwrap())
}

#[tokio::test]
async fn the_process_that_dies() {
    let deadly = std::env::var(STEP).ok();
    let dir = tempfile::tempdir().unwrap();
    let home = std::env::var_os(DIRECTORY).map_or(dir.path().to_owned(), PathBuf::from);
    let dies_at = deadly.clone();
    let faults = Faults::plan(move |step| {
        if MORTAL.load(Ordering::SeqCst) && dies_at.as_deref() == Some(&format!("{step:?}")) {
            rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )?;
        }
        Ok(())
    });
    let store = Store::open_with(config(&home), faults).unwrap();
    if std::env::var_os(ATTRIBUTE).is_some_and(|value| value == "no") {
        store.node.disk.set_attributes(false);
    }
    let shark = Arc::clone(&store) as Arc<dyn Shark>;
    let (creator, object_id) = names();
    let dies_in = |steps: &[Step]| {
        let names = steps.iter().map(|step| Some(format!("{step:?}")));
        names.into_iter().any(|name| name == deadly)
    };
    if dies_in(&Step::OF_SEGMENTS) && std::env::var_os(SEGMENTS).is_some() {
        let segments = super::segments::parts(&shark, creator).await;
        MORTAL.store(true, Ordering::SeqCst);
        shark.assemble(creator, object_id, segments).await.unwrap();
    }
    if dies_in(&Step::OF_DELETION) {
        let segments = super::segments::parts(&shark, creator).await;
        shark.assemble(creator, object_id, segments).await.unwrap();
        // As if it had been killed before that, too, while it made one file of them.
        let whole = super::segments::whole().into();
        put(&shark, creator, object_id, &whole, 1 << 20)
            .await
            .unwrap();
        MORTAL.store(true, Ordering::SeqCst);
        shark.delete(creator, object_id).await.unwrap();
    }
    MORTAL.store(true, Ordering::SeqCst);
    for size in [3000, 2_000_000] {
        put(&shark, creator, object_id, &content(9, size), 100_000)
            .await
            .unwrap();
        shark.delete(creator, object_id).await.unwrap();
    }
    assert_eq!(deadly, None, "it should have died");
}

/// Runs a process that dies before `step` of what `variables` tell it to do.
fn kill_before(step: Step, dir: &Path, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", SELF, "--nocapture"])
        .env(STEP, format!("{step:?}"))
        .env(DIRECTORY, dir)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let signal = output.status.signal();
    assert_eq!(signal, Some(libc::SIGKILL), "{step:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_before_any_step_leaves_a_whole_copy_or_none() {
    let attribute = Step::WITH_ATTRIBUTE.map(|step| ("yes", step));
    let sidecar = Step::WITH_SIDECAR.map(|step| ("no", step));
    for (attribute, step) in attribute.into_iter().chain(sidecar) {
        let dir = tempfile::tempdir().unwrap();
        kill_before(step, dir.path(), &[(ATTRIBUTE, attribute)]);

        let store = Store::open(config(dir.path())).unwrap();
        let shark = Arc::clone(&store) as Arc<dyn Shark>;
        let root = dir.path().join("shark");
        assert_eq!(files(&root.join("tmp")), [] as [PathBuf; 0], "{step:?}");
        let (creator, object_id) = names();
        let named = [Step::SyncDirectory, Step::SyncParents, Step::Done].contains(&step);
        match get(&shark, creator, object_id, 0..u64::MAX).await {
            Ok((bytes, _)) => assert!(named && content(9, 3000) == bytes, "{step:?}"),
            Err(SharkError::NoSuchCopy { .. }) => assert!(!named, "{step:?}"),
            Err(error) => panic!("{step:?}: {error}"),
        }
        // What the sweep would do.
        for copy in shark.copies(None, 10).await.unwrap() {
            assert!(shark.delete(copy.creator, copy.object_id).await.unwrap());
        }
        assert_eq!(files(&root), [] as [PathBuf; 0], "{step:?}");
        put(&shark, creator, object_id, &content(8, 10), 10)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_before_any_step_leaves_all_segments_and_the_whole_or_nothing_of_it() {
    for step in Step::OF_SEGMENTS {
        let dir = tempfile::tempdir().unwrap();
        kill_before(step, dir.path(), &[(SEGMENTS, "yes")]);

        let store = Store::open(config(dir.path())).unwrap();
        let shark = Arc::clone(&store) as Arc<dyn Shark>;
        let root = dir.path().join("shark");
        assert_eq!(files(&root.join("tmp")), [] as [PathBuf; 0], "{step:?}");
        let (creator, object_id) = names();
        let named = [Step::SyncDirectory, Step::SyncParents, Step::Done].contains(&step);
        match get(&shark, creator, object_id, 0..u64::MAX).await {
            Ok((bytes, _)) => assert!(named && bytes == super::segments::whole(), "{step:?}"),
            Err(SharkError::NoSuchCopy { .. }) => assert!(!named, "{step:?}"),
            Err(error) => panic!("{step:?}: {error}"),
        }
        // The segments are whatever they were, and can be put together now.
        let copies = shark.copies(None, 10).await.unwrap();
        assert_eq!(copies.len(), 3 + usize::from(named), "{step:?}");
        for copy in copies {
            assert!(shark.delete(copy.creator, copy.object_id).await.unwrap());
        }
        assert_eq!(files(&root), [] as [PathBuf; 0], "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_deletes_leaves_a_whole_copy_that_can_be_deleted() {
    for step in Step::OF_DELETION {
        let dir = tempfile::tempdir().unwrap();
        kill_before(step, dir.path(), &[]);
        let store = Store::open(config(dir.path())).unwrap();
        let shark = Arc::clone(&store) as Arc<dyn Shark>;
        let (creator, object_id) = names();
        let (bytes, _) = get(&shark, creator, object_id, 0..u64::MAX).await.unwrap();
        assert!(bytes == super::segments::whole(), "{step:?}");
        assert!(shark.delete(creator, object_id).await.unwrap(), "{step:?}");
        assert_eq!(shark.copies(None, 10).await.unwrap().len(), 3, "{step:?}");
    }
}
