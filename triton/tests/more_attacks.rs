//! Attacks of zones.md section 10 that need more than one look: from outside, from a neighbour, or with one of two
//! locks on the same door taken away.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;

use common::hostile::*;
use common::*;
use libmanta::triton::{Command, ZoneSpec, Zones as _};

/// What `nsenter` and what it ran had to say.
fn said(output: &std::process::Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// User namespaces are kept from tenant to tenant, and keys with them. With the filter taken off, only then.
#[tokio::test]
async fn rows_1_and_11_behind_the_filter() {
    const USER_KEYRING: i32 = -4;
    let site = Site::new(1).await;
    row!(site, zone, {
        // To the keyrings of the session, of the user, and of the user's sessions.
        let line = "for ring in -3 -4 -5; do attack call add_key @user @mine @secret 6 $ring; done";
        assert_eq!(sh(&mut *zone, line).await.code(), Some(0));
    });
    row!(site, zone, {
        let perl = |call: &str| {
            let names = "$kind = 'user'; $name = 'mine'; $secret = 'secret'; ";
            let line = format!("{names} print {call} < 0 ? \"$!\" : 'found'");
            said(&in_users(&site, &["/usr/bin/perl", "-e", &line]))
        };
        let search = format!(
            "syscall({}, 10, {USER_KEYRING}, $kind, $name, 0)",
            libc::SYS_keyctl
        );
        assert_eq!(perl(&search), "Required key not available");
        // It would be found: this process is as much of the same user as the first tenant's was.
        let add = format!(
            "syscall({}, $kind, $name, $secret, 6, {USER_KEYRING})",
            libc::SYS_add_key
        );
        assert_eq!(perl(&add), "found");
        assert_eq!(perl(&search), "found");

        // Who gets past the filter still makes no user namespace there, though the machine allows it elsewhere.
        let unshare = ["unshare", "--user", "true"];
        let refused = in_users(&site, &unshare);
        assert!(!refused.status.success());
        assert!(
            said(&refused).contains("No space left on device"),
            "{refused:?}"
        );
        let elsewhere = std::process::Command::new(unshare[0])
            .args(&unshare[1..])
            .status();
        assert!(elsewhere.unwrap().success());
        says(&mut *zone, "echo fine", "fine").await;
    });
    site.end().await;
}

/// On a `/usr` made for the purpose and seen by this test alone: a shell, and files that are for all or not.
#[tokio::test]
async fn row_8_private_files_of_the_machine() {
    let site = Site::with(1, |config| {
        // Without programs to make file systems.
        config.scratch = triton::ScratchKind::Tmpfs;
        let top = config.state_dir.parent().unwrap();
        let make = "set -e; cd $1; mkdir -p usr/bin
            { echo /usr/bin/bash; ldd /usr/bin/bash | grep -o '/[^ ]*'; } | while read -r file; do
                file=$(realpath \"${file%/*}\")/${file##*/}
                case $file in /usr/*) cp -L --parents \"$file\" .;; esac
            done
            mkdir -p usr/share/shut usr/share/closed; cd usr/share
            for file in open secret shut/inside closed/inside; do echo content > $file; done
            chmod -R a+rX .; chmod 600 secret; chmod 700 shut; chmod 744 closed";
        let mut shell = std::process::Command::new("bash");
        let made = shell.args(["-c", make, "make"]).arg(top).status();
        assert!(made.unwrap().success());
        rustix::mount::mount_bind(top.join("usr"), "/usr").unwrap();
    })
    .await;
    row!(site, zone, {
        let line = "shopt -s globstar dotglob; cd /usr/share; echo **; echo $(<open)";
        says(&mut *zone, line, "open\ncontent").await;
        for path in ["secret", "shut", "shut/inside", "closed/inside"] {
            let line = format!("echo $(</usr/share/{path})");
            let outcome = sh(&mut *zone, &line).await;
            assert!(outcome.stderr.contains("No such file"), "{outcome:?}");
        }
    });
    site.end().await;
    rustix::mount::unmount("/usr", rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[tokio::test]
async fn rows_3_13_and_26_two_zones_at_once_do_not_meet() {
    let site = Site::new(2).await;
    let name = format!("triton-neighbour-{}", std::process::id());
    row!(site, zone, {
        let mut neighbour = site.zone().await;
        let hold = format!(
            "echo mine > /dev/shm/mine; exec perl -MSocket -e '$| = 1; \
             socket(U, PF_UNIX, SOCK_STREAM, 0); bind(U, pack_sockaddr_un(\"\\0{name}\")) or die \"$!\"; \
             listen(U, 5); \
             socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(4443, INADDR_LOOPBACK)) or die \"$!\"; \
             listen(S, 5); \
             defined shmget(4711, 4096, 01600) or die \"$!\"; \
             print \"r\"; sleep 1000'"
        );
        while_holding(&mut *neighbour, &hold, null(), async {
            // Some processes see the name of the socket: those of one network, and they run.
            let (_, tasks) = inits_and_tasks(&site);
            let sockets = |pid| std::fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
            let see = tasks.iter().filter(|pid| sockets(**pid).contains(&name));
            let (see, tasks) = (see.count(), tasks.len());
            assert!(0 < see && see < tasks, "{see} of {tasks}");

            says(&mut *zone, &format!("attack unix {name}"), "ECONNREFUSED").await;
            let line = format!("grep -c {name} /proc/net/unix || :");
            says(&mut *zone, &line, "0").await;
            let line = "exec 3<>/dev/tcp/127.0.0.1/4443";
            fails(&mut *zone, line, "refused").await;
            says(&mut *zone, "ls -A /dev/shm | wc -l", "0").await;
            let outcome = sh(&mut *zone, "attack call shmget 4711 4096 0").await;
            assert!(outcome.stdout.contains("No such file"), "{outcome:?}");
            let listed = sh(&mut *zone, "echo /proc/[0-9]*; :").await.stdout;
            assert_eq!(listed.split_whitespace().count(), 1, "{listed}");
            // All of it is there to be made once more.
            let line = "attack call shmget 4711 4096 0x3b6; echo ours > /dev/shm/mine; \
                        perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); \
                        bind(S, sockaddr_in(4443, INADDR_LOOPBACK)) or die; print \"bound\"'";
            says(&mut *zone, line, "ok\nbound").await;
        })
        .await;
        drop(neighbour);
    });
    site.end().await;
}

/// Requests that arrive in a network after all who could have sent them are dead. The kernel keeps what a client
/// whose connection is half open sends until there is room for the connection, and that there is once the next
/// tenant's Manta listens: what one tenant asked for would be done in the name of another.
#[tokio::test]
async fn row_26_no_request_outlives_its_tenant() {
    let site = Site::new(1).await;
    let network = || {
        let (inits, _) = inits_and_tasks(&site);
        std::fs::read_link(format!("/proc/{}/ns/net", inits[0])).unwrap()
    };
    let first;
    row!(site, zone, {
        first = network();
        // A client that behaves, and one that goes without waiting for an answer.
        let listeners = zone.listeners().unwrap();
        let serving = std::thread::spawn(move || {
            listeners[0].set_nonblocking(false).unwrap();
            let (mut stream, _) = listeners[0].accept().unwrap();
            std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        });
        let line = "perl -MSocket -e 'for (1..2) { socket(S, PF_INET, SOCK_STREAM, 0); \
                    connect(S, sockaddr_in(80, INADDR_LOOPBACK)) or die; syswrite(S, \"hello\"); \
                    if ($_ == 1) { shutdown(S, 1); print <S> } close(S) }'";
        says(&mut *zone, line, "hello").await;
        serving.join().unwrap();
    });
    row!(site, zone, {
        assert_eq!(network(), first, "a network is made anew for nothing");
        // All may ask to be connected, since the listener's queue is not full yet. The second hundred confirm only
        // with what they have to say, and then there is no room for most of them.
        let line = r#"perl -MSocket=:all -e '
            $SIG{PIPE} = "IGNORE";
            for $to (pack_sockaddr_in(80, INADDR_LOOPBACK), pack_sockaddr_in6(80, IN6ADDR_LOOPBACK)) {
                for (1..200) {
                    socket(my $s, sockaddr_family($to), SOCK_STREAM, 0);
                    setsockopt($s, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1) if $_ > 100;
                    connect($s, $to) or die "$!";
                    push @connected, $s;
                }
            }
            syswrite $_, "DELETE /mine HTTP/1.0\r\n\r\n" for @connected;
            print "asked"'"#;
        says(&mut *zone, line, "asked").await;
    });
    row!(site, zone, {
        assert_ne!(network(), first);
        let line = "for kind in tcp tcp6; do tail -n +2 /proc/net/$kind | wc -l; done";
        says(&mut *zone, line, "1\n1").await;
        // And this one's are heard.
        let listener = zone.listeners().unwrap().remove(0);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "a request of another tenant");
        says(
            &mut *zone,
            "exec 3<>/dev/tcp/127.0.0.1/80; echo sent",
            "sent",
        )
        .await;
        listener.accept().unwrap();
    });
    site.end().await;
}

#[tokio::test]
async fn row_18_whatever_is_memory_counts() {
    let site = Site::new(2).await;
    let out_of_memory = async |line: &str| {
        row!(site, zone, {
            let outcome = sh(&mut *zone, line).await;
            assert!(outcome.exit.out_of_memory, "{line}: {outcome:?}");
        });
    };
    // Each half of it alone would fit into the 256 MiB.
    out_of_memory("head -c 120m /dev/zero > /dev/shm/x && attack eat 200").await;
    out_of_memory(
        "perl -e '$id = shmget(4711, 200 << 20, 01600); $page = \"x\" x (1 << 20); \
         for (0..149) { shmwrite($id, $page, $_ << 20, 1 << 20) or die }' && attack eat 200",
    )
    .await;
    row!(site, zone, {
        says(&mut *zone, "attack eat 200", "ate 200").await;
    });

    // What was read from files is memory too, but can be taken back: no reason to die.
    let spec = ZoneSpec {
        memory_bytes: 128 * MIB,
        disk_bytes: 512 * MIB,
        ..SPEC
    };
    let mut zone = site.host.acquire(spec).await.unwrap();
    let line = "head -c 300m /dev/zero > /tmp/x && cat /tmp/x /tmp/x | wc -c";
    let outcome = sh(&mut *zone, line).await;
    assert_eq!(outcome.stdout, "629145600\n", "{outcome:?}");
    assert!(!outcome.exit.out_of_memory, "{outcome:?}");
    drop(zone);
    site.all_ready().await;

    let (mut hog, mut neighbour) = (site.zone().await, site.zone().await);
    let (hogged, unharmed) = tokio::join!(
        sh(
            &mut *hog,
            "attack eat 1024; attack eat 1024; attack eat 1024"
        ),
        sh(
            &mut *neighbour,
            "attack eat 100 && attack eat 100 && echo unharmed"
        ),
    );
    assert!(hogged.exit.out_of_memory, "{hogged:?}");
    assert_eq!(
        unharmed.stdout, "ate 100\nate 100\nunharmed\n",
        "{unharmed:?}"
    );
    assert!(!unharmed.exit.out_of_memory, "{unharmed:?}");
    drop((hog, neighbour));
    site.all_ready().await;
    site.end().await;
}

/// On a disk of the machine that nobody else writes to.
#[tokio::test]
async fn row_20_endless_output() {
    const SLACK: u64 = 8 * MIB;
    let site = Site::with(1, |config| small_disk(config, "1g")).await;
    let disk = site.directory.path().join("state");
    site.all_ready().await;
    let free = || {
        let figures = rustix::fs::statvfs(&disk).unwrap();
        figures.f_bavail * figures.f_frsize
    };
    let before = free();
    row!(site, zone, {
        let (stdout, stderr) = (
            zone.output_file().await.unwrap(),
            zone.output_file().await.unwrap(),
        );
        let length = || stdout.metadata().unwrap().len() + stderr.metadata().unwrap().len();
        for (line, file) in [("yes >&2", &stderr), ("yes", &stdout)] {
            // The second has no more than what is left to it here.
            file.set_len(0).unwrap();
            let command = Command {
                argv: shell(line),
                env: environment(),
                stdin: null(),
                stdout: stdout.try_clone().unwrap().into(),
                stderr: stderr.try_clone().unwrap().into(),
            };
            let exit = within(120, line, zone.run(command)).await.unwrap();
            assert_eq!(exit.status, libmanta::triton::ExitStatus::Code(1), "{line}");
            let length = length();
            let full = SPEC.disk_bytes / 4 * 3..=SPEC.disk_bytes;
            assert!(full.contains(&length), "{line}: {length}");
            let used = before.saturating_sub(free());
            assert!(used <= SPEC.disk_bytes + SLACK, "{line}: {used} are gone");
        }
        // What it can show to be too much is little of what the machine had.
        assert!(before > 4 * SPEC.disk_bytes, "{before}");
    });
    until("the machine has its disk back", || free() + SLACK >= before).await;
    site.end_with_disk().await;
}

#[tokio::test]
async fn row_24_locks_of_a_task_stop_nobody() {
    let site = Site::new(2).await;
    let object = site.directory.path().join("object");
    std::fs::write(&object, "content\n").unwrap();
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o444)).unwrap();
    row!(site, zone, {
        let mut other = site.zone().await;
        let input = File::open(&object).unwrap();
        let stdin = zone.show_input("/manta/object", Some(input)).await.unwrap();
        let hold = "exec 8</usr/bin/bash && flock -n 8 && flock -n 0 && echo r && sleep 1000";
        while_holding(&mut *zone, hold, stdin.into(), async {
            // It does hold one on the object itself. That is why the store must not rely on any.
            let locked = File::open(&object).unwrap().try_lock();
            let locked = matches!(locked, Err(std::fs::TryLockError::WouldBlock));
            assert!(locked, "the task holds no lock");
            assert_eq!(std::fs::read_to_string(&object).unwrap(), "content\n");
            let input = File::open(&object).unwrap();
            let stdin = other
                .show_input("/manta/object", Some(input))
                .await
                .unwrap();
            let line = "cat; exec 8</usr/bin/bash && flock -n 8 && echo locked";
            let outcome = try_sh(&mut *other, line, stdin.into()).await.unwrap();
            assert_eq!(outcome.stdout, "content\nlocked\n", "{outcome:?}");
            // Nobody's programs are held up.
            File::open("/usr/bin/bash").unwrap().try_lock().unwrap();
            std::fs::remove_file(&object).unwrap();
        })
        .await;
        drop(other);
    });
    site.end().await;
}

/// Where the disk is limited by a project quota, files of another project, or moved elsewhere, would not count.
#[tokio::test]
async fn row_31_no_file_leaves_the_disk() {
    let site = Site::new(1).await;
    row!(site, zone, {
        // FS_IOC_FSSETXATTR; the project is the fourth word. Not the file system's refusal, which comes later and which
        // one with quotas does not make.
        let line = "perl -e 'open F, \">\", \"/tmp/mine\"; $project = pack \"L7\", 0, 0, 0, 4711, 0, 0, 0; \
                    ioctl F, 0x401c5820, $project or die \"$!\\n\"'";
        fails(&mut *zone, line, "Invalid argument").await;
        for call in ["rename", "link"] {
            let line =
                format!("perl -e '{call} \"/tmp/mine\", \"/dev/shm/mine\" or die \"$!\\n\"'");
            fails(&mut *zone, &line, "Invalid cross-device link").await;
        }
        let fill = "said=$(head -c 200m /dev/zero 2>&1 >/tmp/mine) || { rm /tmp/mine; echo $said >&2; exit 1; }";
        fails(&mut *zone, fill, "No space left").await;
    });
    site.end().await;
}
