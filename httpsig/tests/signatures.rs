//! Every key type with every hash: signatures that `openssl` made verify here, ours verify too, and
//! neither verifies for another message, hash or key. The keys are test-only; `fixtures/make.sh` made them.

use std::path::PathBuf;

use httpsig::{Algorithm, PrivateKey, PublicKey, Scheme, SignError, VerifyError};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(path: &str) -> Vec<u8> {
    let path = fixtures().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn private(name: &str) -> PrivateKey {
    let text = read(&format!("keys/{name}.pkcs8.pem"));
    PrivateKey::parse(&String::from_utf8_lossy(&text)).expect("fixtures hold keys that can be read")
}

struct Row {
    key: &'static str,
    algorithms: &'static [&'static str],
}

const RSA: &[&str] = &["rsa-sha1", "rsa-sha256", "rsa-sha384", "rsa-sha512"];
const ECDSA: &[&str] = &["ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"];

const DSA: &[&str] = &["dsa-sha1", "dsa-sha256"];

const MATRIX: [Row; 9] = [
    Row {
        key: "rsa1024",
        algorithms: RSA,
    },
    Row {
        key: "rsa2048",
        algorithms: RSA,
    },
    Row {
        key: "rsa3072",
        algorithms: RSA,
    },
    Row {
        key: "p256",
        algorithms: ECDSA,
    },
    Row {
        key: "p384",
        algorithms: ECDSA,
    },
    Row {
        key: "p521",
        algorithms: ECDSA,
    },
    Row {
        key: "ed25519",
        algorithms: &["ed25519-sha512"],
    },
    Row {
        key: "dsa1024",
        algorithms: DSA,
    },
    Row {
        key: "dsa2048",
        algorithms: DSA,
    },
];

#[test]
fn the_matrix_covers_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let rows = MATRIX
            .iter()
            .filter(|row| row.algorithms.contains(&algorithm.name()))
            .count();
        match algorithm.scheme() {
            Scheme::Rsa | Scheme::Ecdsa => assert_eq!(rows, 3, "{algorithm}"),
            Scheme::Ed25519 => assert_eq!(rows, 1, "{algorithm}"),
            Scheme::Dsa => assert_eq!(rows, 2, "{algorithm}"),
        }
    }
}

#[test]
fn openssl_and_we_accept_the_same_signatures() {
    let message = read("message");
    for Row {
        key: name,
        algorithms,
    } in MATRIX
    {
        let key = private(name);
        for algorithm in algorithms {
            let algorithm = Algorithm::parse(algorithm).unwrap();
            let (_, hash) = algorithm.name().split_once('-').unwrap();
            let theirs = read(&format!("signatures/{name}.{hash}"));
            let ours = key.sign(algorithm, &message).unwrap();
            for (who, signature) in [("openssl", theirs), ("httpsig", ours)] {
                let case = format!("{name} {algorithm} by {who}");
                check(key.public(), algorithm, &message, &signature, &case);
            }
        }
    }
}

fn check(key: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8], case: &str) {
    assert_eq!(key.verify(algorithm, message, signature), Ok(()), "{case}");

    let mismatch = Err(VerifyError::Mismatch);
    assert_eq!(
        key.verify(algorithm, b"another", signature),
        mismatch,
        "{case}"
    );
    assert_eq!(key.verify(algorithm, message, b""), mismatch, "{case}");
    assert_eq!(
        key.verify(algorithm, message, &signature[1..]),
        mismatch,
        "{case}"
    );
    let longer = [signature, b"\0"].concat();
    assert_eq!(key.verify(algorithm, message, &longer), mismatch, "{case}");
    for index in 0..signature.len() {
        let mut flipped = signature.to_vec();
        flipped[index] ^= 1;
        // A flipped DER length or sign is as bad as a flipped digit.
        if index % 16 == 0 || index + 1 == signature.len() {
            assert_eq!(
                key.verify(algorithm, message, &flipped),
                mismatch,
                "{case} byte {index}"
            );
        }
    }

    for other in Algorithm::ALL {
        if other == algorithm {
            continue;
        }
        let expected = if other.scheme() == algorithm.scheme() {
            VerifyError::Mismatch
        } else {
            VerifyError::WrongScheme
        };
        assert_eq!(
            key.verify(other, message, signature),
            Err(expected),
            "{case} as {other}"
        );
    }
}

#[test]
fn signatures_of_one_key_are_not_another_keys() {
    for Row {
        key: name,
        algorithms,
    } in MATRIX
    {
        let algorithm = Algorithm::parse(algorithms[0]).unwrap();
        let signature = private(name).sign(algorithm, b"message").unwrap();
        for other in MATRIX.iter().filter(|row| row.key != name) {
            let other = private(other.key);
            assert!(
                other
                    .public()
                    .verify(algorithm, b"message", &signature)
                    .is_err()
            );
        }
    }
}

#[test]
fn keys_refuse_to_sign_with_what_they_cannot_do() {
    let key = private("p256");
    for algorithm in Algorithm::ALL
        .into_iter()
        .filter(|other| other.scheme() != Scheme::Ecdsa)
    {
        assert_eq!(key.sign(algorithm, b""), Err(SignError::WrongScheme));
    }
}

#[test]
fn default_algorithms_follow_the_key() {
    for (name, algorithm) in [
        ("rsa1024", "rsa-sha256"),
        ("p256", "ecdsa-sha256"),
        ("p384", "ecdsa-sha384"),
        ("p521", "ecdsa-sha512"),
        ("ed25519", "ed25519-sha512"),
        ("dsa1024", "dsa-sha1"),
        ("dsa2048", "dsa-sha256"),
    ] {
        assert_eq!(private(name).public().default_algorithm().name(), algorithm);
    }
}

/// Ours must satisfy an implementation that is not ours, where one is on the machine's path; the
/// committed signatures above cover the other direction everywhere.
#[test]
fn openssl_accepts_what_we_sign() {
    let have = std::process::Command::new("openssl")
        .arg("version")
        .output();
    assert!(
        have.is_ok_and(|out| out.status.success()),
        "openssl is needed for this test"
    );
    let dir = tempfile::tempdir().unwrap();
    let message = fixtures().join("message");
    for Row {
        key: name,
        algorithms,
    } in MATRIX
    {
        if name == "ed25519" {
            continue;
        }
        let key = private(name);
        for algorithm in algorithms {
            let algorithm = Algorithm::parse(algorithm).unwrap();
            let (_, hash) = algorithm.name().split_once('-').unwrap();
            let signature = dir.path().join("signature");
            std::fs::write(&signature, key.sign(algorithm, &read("message")).unwrap()).unwrap();
            let output = std::process::Command::new("openssl")
                .args(["dgst", &format!("-{hash}"), "-verify"])
                .arg(fixtures().join(format!("keys/{name}.spki.pub.pem")))
                .arg("-signature")
                .arg(&signature)
                .arg(&message)
                .output()
                .unwrap();
            assert!(output.status.success(), "{name} {algorithm}: {output:?}");
        }
    }
}
