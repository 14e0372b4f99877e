//! Disks that fail: at every step, wholly, or because they are full.

use super::*;

/// Faults that a test can switch on and off.
#[derive(Clone, Default)]
struct Switch(Arc<Mutex<Option<(Step, i32)>>>);

impl Switch {
    fn set(&self, fault: Option<(Step, i32)>) {
        *self.0.lock().unwrap() = fault;
    }

    fn faults(&self) -> Faults {
        let switch = self.clone();
        Faults::plan(move |step| match *switch.0.lock().unwrap() {
            Some((at, errno)) if at == step => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        })
    }
}

fn steps() -> Vec<(bool, Step)> {
    let attribute = Step::WITH_ATTRIBUTE.map(|step| (true, step));
    let sidecar = Step::WITH_SIDECAR.map(|step| (false, step));
    attribute.into_iter().chain(sidecar).collect()
}

fn fixture(attribute: bool, faults: Faults) -> Fixture {
    if attribute {
        Fixture::with(faults)
    } else {
        Fixture::without_attributes(faults)
    }
}

#[tokio::test]
async fn an_error_at_any_step_leaves_nothing_and_stops_writing_until_a_probe_succeeds() {
    for size in [10, 2_000_000] {
        for (attribute, step) in steps() {
            let switch = Switch::default();
            let fixture = fixture(attribute, switch.faults());
            switch.set(Some((step, libc::EIO)));
            let (creator, object_id) = (AccountId::random(), ObjectId::random());
            let bytes = content(1, size);
            let failed = put(&fixture.shark, creator, object_id, &bytes, 100_000).await;
            assert!(
                matches!(failed, Err(SharkError::Io { .. })),
                "{step:?}: {failed:?}"
            );
            assert!(fixture.store.fault().is_some(), "{step:?}");
            let temporaries = fixture.root();
            eventually("nothing is left", || files(&temporaries).is_empty()).await;
            assert_eq!(fixture.shark.copies(None, 10).await.unwrap(), []);

            switch.set(None);
            eventually("it is probed", || fixture.shark.capacity().writable).await;
            put(&fixture.shark, creator, object_id, &bytes, 100_000)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_disk_at_any_step_leaves_nothing_and_is_no_failure() {
    for size in [10, 2_000_000] {
        for (attribute, step) in steps() {
            if step == Step::SetAttribute {
                // Not the disk, as far as anybody can tell: the next test has this one.
                continue;
            }
            let switch = Switch::default();
            let fixture = fixture(attribute, switch.faults());
            switch.set(Some((step, libc::ENOSPC)));
            let (creator, object_id) = (AccountId::random(), ObjectId::random());
            let bytes = content(1, size);
            let refused = put(&fixture.shark, creator, object_id, &bytes, 100_000).await;
            assert!(
                matches!(refused, Err(SharkError::NotEnoughSpace { .. })),
                "{step:?}: {refused:?}"
            );
            assert_eq!(fixture.store.fault(), None, "{step:?}");
            let root = fixture.root();
            eventually("nothing is left", || files(&root).is_empty()).await;
            switch.set(None);
            eventually("space is measured again", || {
                fixture.shark.capacity().writable
            })
            .await;
        }
    }
}

#[tokio::test]
async fn readers_see_errors_of_the_disk_as_such() {
    let switch = Switch::default();
    let fixture = Fixture::with(switch.faults());
    let (creator, object_id) = fixture.put(&content(1, 1_000_000)).await;
    let whole = 0..u64::MAX;
    let mut reader = fixture.shark.open(creator, object_id, whole).await.unwrap();
    switch.set(Some((Step::Read, libc::EIO)));
    let error = read_all(&mut reader).await.unwrap_err();
    assert!(matches!(error, SharkError::Io { .. }), "{error:?}");
    assert!(reader.read().await.unwrap().is_none());
    let error = get(&fixture.shark, creator, object_id, 0..1)
        .await
        .unwrap_err();
    assert!(matches!(error, SharkError::Io { .. }), "{error:?}");
    assert_eq!(fixture.store.stats().damaged.get(), 0);
    assert_eq!(fixture.store.stats().disk_errors.get(), 2);
}

#[tokio::test]
async fn a_directory_that_is_gone_at_the_start_is_waited_for_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let known = || Config {
        may_create: false,
        ..config(dir.path())
    };
    let root = dir.path().join("shark");
    let away = dir.path().join("away");
    drop(Store::open(config(dir.path())).unwrap());
    fs::rename(&root, &away).unwrap();
    for is_mount_point in [false, true] {
        if is_mount_point {
            fs::create_dir(&root).unwrap();
        }
        let store = Store::open(known()).unwrap();
        assert!(!store.capacity().writable);
        assert!(store.fault().is_some());
        let listed = root.read_dir().map_or(0, Iterator::count);
        assert_eq!(listed, 0, "nothing is made in its place");
    }
    let store = Store::open(known()).unwrap();
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !store.capacity().writable {
        assert!(Instant::now() < deadline, "{:?}", store.fault());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_node_whose_directory_is_gone_says_so_and_works_when_it_is_back() {
    let fixture = Fixture::new();
    let bytes = content(1, 10);
    let (creator, object_id) = fixture.put(&bytes).await;
    let aside = fixture.dir.path().join("aside");
    fs::rename(fixture.root(), &aside).unwrap();

    let put_failed = put(&fixture.shark, creator, ObjectId::random(), &bytes, 10).await;
    assert!(
        !matches!(put_failed, Ok(()) | Err(SharkError::NotEnoughSpace { .. })),
        "{put_failed:?}"
    );
    assert!(!fixture.root().exists(), "it must not be made again");
    eventually("it takes no copies", || !fixture.shark.capacity().writable).await;
    // None of these may pass for "there is none", or its deletion would be forgotten.
    assert!(matches!(
        get(&fixture.shark, creator, object_id, 0..1).await,
        Err(SharkError::Io { .. })
    ));
    assert!(fixture.shark.delete(creator, object_id).await.is_err());
    assert!(fixture.shark.copies(None, 1).await.is_err());

    // An empty directory, such as the place where a disk should be mounted, is not the node.
    fs::create_dir(fixture.root()).unwrap();
    let missed = fixture.store.stats().disk_errors.get();
    assert!(fixture.shark.delete(creator, object_id).await.is_err());
    assert!(fixture.store.stats().disk_errors.get() > missed);
    fixture.store.node.probe();
    assert!(!fixture.shark.capacity().writable);
    assert_eq!(fs::read_dir(fixture.root()).unwrap().count(), 0);
    fs::remove_dir(fixture.root()).unwrap();

    fs::rename(&aside, fixture.root()).unwrap();
    eventually("it takes copies", || fixture.shark.capacity().writable).await;
    let (read, _) = get(&fixture.shark, creator, object_id, 0..10)
        .await
        .unwrap();
    assert!(read == bytes);
    fixture.put(&bytes).await;
}

#[tokio::test]
async fn a_node_replaced_by_a_copy_of_its_directory_is_locked_anew() {
    let fixture = Fixture::new();
    fixture.put(&content(1, 10)).await;
    let root = fixture.root();
    fs::rename(&root, fixture.dir.path().join("aside")).unwrap();
    drop(Store::open(config(fixture.dir.path())).unwrap());
    fixture.store.node.probe();
    eventually("it is taken over", || fixture.shark.capacity().writable).await;
    let locked = Store::open(config(fixture.dir.path())).unwrap_err();
    assert!(matches!(locked, OpenError::Locked { .. }), "{locked:?}");
    fixture.put(&content(1, 10)).await;
}

/// Runs `test` on a thread that has its mounts to itself; they are gone when it ends, whatever happens.
/// Fails, and says why, when this process may not mount.
fn with_own_mounts(test: impl FnOnce() + Send) {
    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    assert!(
        rustix::process::geteuid().is_root(),
        "real mounts need root: run this test as root, or leave it out by name"
    );
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: only this thread's view of the mounts and its working directory change. Threads that
            // it starts inherit them, and no other thread shares them.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", private).unwrap();
            test()
        });
        thread.join().unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_small_file_system_fills_up_and_empties_again() {
    use rustix::mount::{MountFlags, mount};

    let dir = tempfile::tempdir().unwrap();
    with_own_mounts(|| {
        mount("none", dir.path(), "tmpfs", MountFlags::empty(), c"size=8m").unwrap();
        runtime().block_on(async {
            let mut config = config(dir.path());
            config.utilisation_max_percent = 100;
            let store = Store::open(config).unwrap();
            let shark = Arc::clone(&store) as Arc<dyn Shark>;
            let creator = AccountId::random();

            // Somebody else takes the space between admission and writing.
            let hint = SizeHint::Exactly(4_000_000);
            let object_id = ObjectId::random();
            let mut writer = shark.create(creator, object_id, hint).await.unwrap();
            let hog = dir.path().join("hog");
            let _ = fs::write(&hog, vec![1; 9_000_000]);
            let mut result = Ok(());
            for _ in 0..40 {
                result = writer.write(content(1, 100_000)).await;
                if result.is_err() {
                    break;
                }
            }
            if result.is_ok() {
                result = writer.commit().await;
            } else {
                drop(writer);
            }
            assert!(
                matches!(result, Err(SharkError::NotEnoughSpace { .. })),
                "{result:?}"
            );
            assert!(!shark.capacity().writable, "it is known to be full");
            assert_eq!(store.fault(), None);
            let refused = shark.create(creator, object_id, SizeHint::Exactly(1)).await;
            assert!(matches!(refused, Err(SharkError::NotEnoughSpace { .. })));
            let root = dir.path().join("shark");
            eventually("nothing is left", || files(&root).is_empty()).await;

            fs::remove_file(&hog).unwrap();
            eventually("it takes copies", || shark.capacity().writable).await;
            put(&shark, creator, object_id, &content(2, 1_000_000), 100_000)
                .await
                .unwrap();
            store.close().await;
        });
    });
}

#[test]
fn a_disk_that_becomes_read_only_serves_reads() {
    use rustix::mount::{MountFlags, mount_bind, mount_remount};

    let dir = tempfile::tempdir().unwrap();
    with_own_mounts(|| {
        mount_bind(dir.path(), dir.path()).unwrap();
        let remount = |flags| mount_remount(dir.path(), MountFlags::BIND | flags, c"").unwrap();
        runtime().block_on(async {
            let bytes = content(1, 10);
            let creator = AccountId::random();
            let object_id = ObjectId::random();
            let store = Store::open(config(dir.path())).unwrap();
            let shark = Arc::clone(&store) as Arc<dyn Shark>;
            put(&shark, creator, object_id, &bytes, 10).await.unwrap();

            remount(MountFlags::RDONLY);
            let other = ObjectId::random();
            let failed = put(&shark, creator, other, &bytes, 10).await;
            assert!(matches!(failed, Err(SharkError::Io { .. })), "{failed:?}");
            assert!(!shark.capacity().writable);
            let (read, _) = get(&shark, creator, object_id, 0..10).await.unwrap();
            assert!(read == bytes);
            assert!(shark.delete(creator, object_id).await.is_err());

            // The process starts again while it is so.
            store.close().await;
            drop((store, shark));
            let store = Store::open(config(dir.path())).unwrap();
            let shark = Arc::clone(&store) as Arc<dyn Shark>;
            assert!(!shark.capacity().writable);
            let (read, _) = get(&shark, creator, object_id, 0..10).await.unwrap();
            assert!(read == bytes);

            remount(MountFlags::empty());
            eventually("it takes copies", || shark.capacity().writable).await;
            put(&shark, creator, other, &bytes, 10).await.unwrap();
            assert!(shark.delete(creator, object_id).await.unwrap());
            store.close().await;
        });
    });
}

#[tokio::test]
async fn only_one_probe_runs_at_a_time() {
    let fixture = Fixture::new();
    fixture.store.node.space.failed(String::from("told so"));
    eventually("it is probed", || fixture.shark.capacity().writable).await;
    assert!(fixture.store.node.purged.load(Ordering::Relaxed));
}
