//! Every key file that `ssh-keygen` and `openssl` write reads as the same key, with their fingerprints.
//! The files are test-only keys; `fixtures/make.sh` made them.

use std::path::PathBuf;

use httpsig::{KeyError, PrivateKey, PublicKey};

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/keys")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn public_of(name: &str) -> PublicKey {
    let line = fixture(&format!("{name}.pub"));
    PublicKey::parse_openssh(&line).unwrap_or_else(|error| panic!("{name}.pub: {error}"))
}

const ALL: [&str; 9] = [
    "rsa1024", "rsa2048", "rsa3072", "p256", "p384", "p521", "ed25519", "dsa1024", "dsa2048",
];

#[test]
fn fingerprints_agree_with_ssh_keygen() {
    for name in ALL {
        let expected = fixture(&format!("{name}.fingerprints"));
        let key = public_of(name);
        let ours = format!("{}\n{}\n", key.md5_fingerprint(), key.sha256_fingerprint());
        assert_eq!(ours, expected, "{name}");
        for line in expected.lines() {
            assert!(key.has_fingerprint(&line.parse().unwrap()), "{name} {line}");
        }
        assert_eq!(
            key.to_openssh(),
            fixture(&format!("{name}.pub")).trim_end(),
            "{name}"
        );
        assert_eq!(key.comment(), "test only");
        assert_eq!(PublicKey::from_wire(key.wire()).unwrap().wire(), key.wire());
    }
}

#[test]
fn public_files_of_every_format_are_the_same_key() {
    for name in ALL.into_iter().filter(|name| *name != "ed25519") {
        let key = public_of(name);
        let mut files = vec![format!("{name}.spki.pub.pem")];
        if name.starts_with("rsa") {
            files.push(format!("{name}.pkcs1.pub.pem"));
        } else if name.starts_with('p') {
            files.push(format!("{name}.compressed.pub.pem"));
        }
        for file in files {
            let read = PublicKey::parse(&fixture(&file));
            let read = read.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(read.wire(), key.wire(), "{file}");
        }
    }
    let ed25519 = PublicKey::parse(&fixture("ed25519.spki.pub.pem")).unwrap();
    let private = PrivateKey::parse(&fixture("ed25519.pkcs8.pem")).unwrap();
    assert_eq!(ed25519.wire(), private.public().wire());
}

#[test]
fn private_files_of_every_format_are_the_same_key() {
    for name in ALL {
        let key = public_of(name);
        let mut files = vec![format!("{name}.openssh")];
        match name {
            "ed25519" => {}
            // SSH knows no other size than 1024.
            "dsa2048" => {
                files = vec![
                    format!("{name}.pkcs8.pem"),
                    format!("{name}.traditional.pem"),
                ];
            }
            "dsa1024" => {
                files.extend([
                    format!("{name}.pkcs8.pem"),
                    format!("{name}.traditional.pem"),
                ]);
            }
            rsa if rsa.starts_with("rsa") => {
                files.extend([format!("{name}.pkcs8.pem"), format!("{name}.pkcs1.pem")]);
            }
            _ => files.extend([format!("{name}.pkcs8.pem"), format!("{name}.sec1.pem")]),
        }
        for file in files {
            let read = PrivateKey::parse(&fixture(&file));
            let read = read.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(read.public().wire(), key.wire(), "{file}");
        }
    }
}

#[test]
fn line_ends_and_blanks_of_other_systems_do_not_matter() {
    let crlf = fixture("p256.sec1.pem").replace('\n', "\r\n");
    assert!(PrivateKey::parse(&crlf).is_ok());
    let indented = format!(
        "some words\n{}",
        fixture("rsa2048.pkcs8.pem").replace('\n', "  \n")
    );
    assert!(PrivateKey::parse(&indented).is_ok());
    let line = format!("  {}\r\n", fixture("rsa2048.pub").trim());
    assert!(PublicKey::parse_openssh(&line).is_ok());
}

#[test]
fn what_cannot_be_used_says_why() {
    for file in [
        "encrypted.openssh",
        "encrypted.pkcs8.pem",
        "encrypted.pkcs1.pem",
    ] {
        assert_eq!(
            PrivateKey::parse(&fixture(file)).unwrap_err(),
            KeyError::Encrypted,
            "{file}"
        );
    }
    let unsupported = |result: Result<(), KeyError>| match result {
        Err(KeyError::Unsupported(kind)) => kind,
        other => panic!("expected an unsupported key: {other:?}"),
    };
    let private = |file: &str| PrivateKey::parse(&fixture(file)).map(drop);
    let public = |file: &str| PublicKey::parse(&fixture(file)).map(drop);
    assert!(unsupported(private("secp256k1.sec1.pem")).starts_with("curve "));
    assert!(unsupported(public("secp256k1.spki.pub.pem")).starts_with("curve "));
    assert_eq!(private("rsa2048.pub"), Err(KeyError::NotPrivate));
    assert_eq!(private("rsa2048.spki.pub.pem"), Err(KeyError::NotPrivate));
    assert_eq!(
        private("rsa2048.fingerprints"),
        Err(KeyError::UnknownFormat)
    );
}

#[test]
fn damaged_files_are_errors_and_never_panic() {
    for file in [
        "rsa2048.openssh",
        "p384.pkcs8.pem",
        "p521.sec1.pem",
        "rsa1024.pkcs1.pem",
        "dsa1024.openssh",
        "dsa1024.traditional.pem",
        "dsa2048.pkcs8.pem",
    ] {
        let text = fixture(file);
        for cut in 0..text.len() - 1 {
            // The last line end is not needed; everything else is.
            assert!(
                PrivateKey::parse(&text[..cut]).is_err(),
                "{file} cut at {cut}"
            );
        }
    }
    let line = fixture("p521.pub");
    let encoded_end = line.rfind(" test").unwrap();
    for cut in 0..encoded_end {
        assert!(
            PublicKey::parse_openssh(&line[..cut]).is_err(),
            "cut at {cut}"
        );
    }
}

/// SSH's encoding of a positive number.
fn put(wire: &mut Vec<u8>, number: &[u8]) {
    wire.extend((number.len() as u32).to_be_bytes());
    wire.extend(number);
}

#[test]
fn dsa_numbers_that_make_no_key_are_refused() {
    let wire = public_of("dsa1024").wire().to_vec();
    let mut rest = wire.as_slice();
    let mut fields = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (field, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        fields.push(field.to_vec());
        rest = after;
    }
    assert_eq!(fields.len(), 5);
    let read = |fields: &[Vec<u8>]| {
        let mut wire = Vec::new();
        fields.iter().for_each(|field| put(&mut wire, field));
        PublicKey::from_wire(&wire).map(|key| key.wire().to_vec())
    };
    assert_eq!(read(&fields), Ok(wire));
    let with = |index: usize, number: &[u8]| {
        let mut fields = fields.clone();
        fields[index] = number.to_vec();
        read(&fields).unwrap_err()
    };
    // p, q, g, y: another number is not in the group, a short or long one is not a size of DSA.
    for (index, field) in fields.iter().enumerate().skip(1) {
        let mut other = field.clone();
        *other.last_mut().unwrap() ^= 2;
        assert_eq!(with(index, &other), KeyError::Malformed("DSA"), "{index}");
    }
    assert_eq!(with(3, &[1]), KeyError::Malformed("DSA"));
    assert_eq!(with(4, &[1]), KeyError::Malformed("DSA"));
    assert_eq!(with(4, &[0x7f; 5000]), KeyError::Malformed("DSA"));
    for (index, number) in [
        (1, &[0x7f; 64][..]),
        (1, &[0x7f; 5000]),
        (2, &[0x7f; 2]),
        (2, &[0x7f; 64]),
    ] {
        assert!(
            matches!(with(index, number), KeyError::Unsupported(_)),
            "{index}"
        );
    }
}

#[test]
fn a_generated_key_reads_back() {
    let made = httpsig::generate("made here").unwrap();
    assert!(
        made.private_pem
            .starts_with("-----BEGIN PRIVATE KEY-----\n")
    );
    let private = PrivateKey::parse(&made.private_pem).unwrap();
    let public = PublicKey::parse_openssh(&made.public_openssh).unwrap();
    assert_eq!(private.public().wire(), public.wire());
    assert_eq!(public.md5_fingerprint(), made.md5_fingerprint);
    assert_eq!(public.comment(), "made here");
}
