//! A real ssh-agent signs with every kind of key it can hold, and the signatures are what the server
//! checks. The keys are httpsig's test-only keys.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use httpsig::Fingerprint;
use manta_client::{Agent, KeySearch};

/// An agent in the foreground, stopped with the test.
struct RunningAgent {
    process: Child,
    directory: tempfile::TempDir,
}

impl RunningAgent {
    fn start() -> RunningAgent {
        let directory = tempfile::tempdir().unwrap();
        let process = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(directory.path().join("socket"))
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent is needed for this test (openssh-client)");
        let agent = RunningAgent { process, directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(agent.socket()).is_err() {
            assert!(Instant::now() < deadline, "ssh-agent does not listen");
            std::thread::yield_now();
        }
        agent
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn add(&self, key: &Path) {
        // ssh-add refuses keys that others may read, as they are in a checkout.
        let private = self.directory.path().join("key");
        std::fs::copy(key, &private).unwrap();
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        let output = Command::new("ssh-add")
            .arg(&private)
            .env("SSH_AUTH_SOCK", self.socket())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn signs_with_every_kind_of_key() {
    let keys = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../httpsig/tests/fixtures/keys");
    let running = RunningAgent::start();
    let agent = Agent::new(running.socket());
    assert!(agent.keys().await.unwrap().is_empty());

    let names = ["rsa2048", "p256", "p384", "p521", "ed25519"];
    for name in names {
        running.add(&keys.join(format!("{name}.openssh")));
    }
    let held = agent.keys().await.unwrap();
    assert_eq!(held.len(), names.len());
    for key in &held {
        let (algorithm, signature) = agent.sign(key, b"date: now").await.unwrap();
        assert_eq!(algorithm, key.default_algorithm(), "{key:?}");
        assert_eq!(
            key.verify(algorithm, b"date: now", &signature),
            Ok(()),
            "{key:?}"
        );
    }

    // The search finds a key there by either of its fingerprints.
    let fingerprints = std::fs::read_to_string(keys.join("p384.fingerprints")).unwrap();
    for line in fingerprints.lines() {
        let wanted: Fingerprint = line.parse().unwrap();
        let search = KeySearch {
            key_id: Some(wanted),
            agent: Some(agent.clone()),
            ..KeySearch::default()
        };
        let signer = search.signer("alice", None).await.unwrap();
        assert!(signer.key_id().starts_with("/alice/keys/"));
    }

    // A key that the agent does not hold.
    let other = std::fs::read_to_string(keys.join("rsa3072.pub")).unwrap();
    let other = httpsig::PublicKey::parse_openssh(&other).unwrap();
    assert!(agent.sign(&other, b"x").await.is_err());
}
