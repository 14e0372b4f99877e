//! Copies in segments that are deleted, made one file and read at the same moment.

use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::segments::{assembled, parts, whole};
use super::*;

/// Stops whoever comes to one step first, from when it is closed until it is opened.
struct Gate {
    closed: Arc<AtomicBool>,
    arrived: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Gate {
    fn at(step: Step) -> (Self, Faults) {
        let closed = Arc::new(AtomicBool::new(false));
        let (arrives, arrived) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let waiting = Mutex::new((arrives, goes_on));
        let here = Arc::clone(&closed);
        let faults = Faults::plan(move |at| {
            if at == step && here.swap(false, Ordering::SeqCst) {
                let (arrives, goes_on) = &*waiting.lock().unwrap();
                // Who is told, and who opens, may be gone when the test has failed.
                let _ = arrives.send(());
                let _ = goes_on.recv();
            }
            Ok(())
        });
        let gate = Self {
            closed,
            arrived,
            go_on,
        };
        (gate, faults)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn wait(&self) {
        let arrived = self.arrived.recv_timeout(Duration::from_secs(10));
        arrived.expect("somebody comes to the gate");
    }

    fn open(self) {
        self.go_on.send(()).unwrap();
    }
}

/// Opens the copy as one file, beside the test. Whether it has the bytes it should have.
fn opening(
    fixture: &Fixture,
    (creator, object_id): (AccountId, ObjectId),
) -> JoinHandle<Result<bool, SharkError>> {
    let local = fixture.shark.local().unwrap();
    tokio::spawn(async move {
        let mut file = local.open_file(creator, object_id).await?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes == whole())
    })
}

async fn nothing_is_left(fixture: &Fixture) {
    let root = fixture.root();
    eventually("nothing is left", || files(&root).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_deleted_at_any_step_of_making_one_file_of_it_is_gone() {
    let attribute = Step::WITH_ATTRIBUTE.map(|step| (true, step));
    let sidecar = Step::WITH_SIDECAR.map(|step| (false, step));
    for (attribute, step) in attribute.into_iter().chain(sidecar) {
        if step == Step::MakeDirectories {
            // The segments are in them.
            continue;
        }
        let (gate, faults) = Gate::at(step);
        let fixture = if attribute {
            Fixture::with(faults)
        } else {
            Fixture::without_attributes(faults)
        };
        let copy = assembled(&fixture).await;
        // Directories that are durable already are no step again.
        fixture.store.node.disk.forget_durable();
        gate.close();
        let opening = opening(&fixture, copy);
        gate.wait();
        assert!(
            fixture.shark.delete(copy.0, copy.1).await.unwrap(),
            "{step:?}"
        );
        gate.open();
        let opened = opening.await.unwrap();
        assert!(
            matches!(opened, Err(SharkError::NoSuchCopy { .. })),
            "{step:?}: {opened:?}"
        );
        nothing_is_left(&fixture).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_made_of_a_copy_at_any_step_of_its_deletion_is_gone() {
    for step in Step::OF_DELETION {
        let (gate, faults) = Gate::at(step);
        let fixture = Fixture::with(faults);
        let copy = assembled(&fixture).await;
        gate.close();
        let shark = Arc::clone(&fixture.shark);
        let deleting = tokio::spawn(async move { shark.delete(copy.0, copy.1).await });
        gate.wait();
        let opened = opening(&fixture, copy).await.unwrap();
        gate.open();
        assert!(deleting.await.unwrap().unwrap(), "{step:?}: {opened:?}");
        nothing_is_left(&fixture).await;
    }
}

/// Whoever removes the files of a directory looks for its readers first. One that has opened the directory but
/// comes too late to be seen must read the one file instead.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_to_segments_while_they_are_removed_reads_the_one_file() {
    let (gate, faults) = Gate::at(Step::EnterSegments);
    let fixture = Fixture::with(faults);
    let copy = assembled(&fixture).await;
    // Keeps the removal from going on to its end.
    let mut reader = fixture
        .shark
        .open(copy.0, copy.1, 0..u64::MAX)
        .await
        .unwrap();
    gate.close();
    let shark = Arc::clone(&fixture.shark);
    let reading = tokio::spawn(async move { get(&shark, copy.0, copy.1, 0..u64::MAX).await });
    gate.wait();
    assert!(opening(&fixture, copy).await.unwrap().unwrap());
    let removed = files(&fixture.root().join("tmp"));
    // As far as it came.
    for name in ["0", "2"] {
        let segment = removed.iter().find(|path| path.ends_with(name)).unwrap();
        fs::remove_file(segment).unwrap();
    }
    gate.open();
    let (bytes, _) = reading.await.unwrap().unwrap();
    assert!(bytes == whole());
    assert_eq!(fixture.store.stats().damaged.get(), 0);

    while let Ok(Some(_)) = reader.read().await {}
    drop(reader);
    let path = fixture.copy(copy.0, copy.1);
    let root = fixture.root();
    eventually("only the one file is left", || {
        files(&root) == [path.clone()]
    })
    .await;
}

/// The first link keeps the bytes of a part, and the second should keep its checksums.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_deleted_between_its_two_links_is_missing_if_its_checksums_went_with_it() {
    for attribute in [true, false] {
        let (gate, faults) = Gate::at(Step::LinkSidecar);
        let fixture = if attribute {
            Fixture::with(faults)
        } else {
            Fixture::without_attributes(faults)
        };
        let (creator, object_id) = (AccountId::random(), ObjectId::random());
        let segments = parts(&fixture.shark, creator).await;
        let first = segments[0].object_id;
        gate.close();
        let shark = Arc::clone(&fixture.shark);
        let assembling =
            tokio::spawn(async move { shark.assemble(creator, object_id, segments).await });
        gate.wait();
        assert!(fixture.shark.delete(creator, first).await.unwrap());
        gate.open();
        let assembled = assembling.await.unwrap();
        if attribute {
            assembled.unwrap();
            let read = get(&fixture.shark, creator, object_id, 0..u64::MAX).await;
            assert!(read.unwrap().0 == whole());
        } else {
            assert!(
                matches!(&assembled, Err(SharkError::NoSuchCopy { object_id, .. }) if *object_id == first),
                "{assembled:?}"
            );
            assert_eq!(fixture.shark.copies(None, 10).await.unwrap().len(), 2);
            assert_eq!(files(&fixture.root().join("tmp")), [] as [PathBuf; 0]);
        }
        assert_eq!(fixture.store.stats().damaged.get(), 0);
    }
}
