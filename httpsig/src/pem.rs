//! PEM armour: the block of a file that holds a key.
//!
//! Tolerant about line lengths and line ends, because key files are edited and mailed. `openssl ecparam`
//! writes the curve's parameters as a block of their own before the key; that block is passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One block of a PEM file.
pub(crate) struct PemBlock {
    /// What stands in the `BEGIN` line, such as `RSA PRIVATE KEY`.
    pub(crate) label: String,
    /// The old OpenSSL way to encrypt a key: `Proc-Type: 4,ENCRYPTED` above the base64.
    pub(crate) encrypted: bool,
    pub(crate) der: Vec<u8>,
}

/// The first block that can be a key. `None` when there is none, or when it is damaged.
pub(crate) fn find_key_block(text: &str) -> Option<PemBlock> {
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = marker(line, "-----BEGIN ") else {
            continue;
        };
        if label == "EC PARAMETERS" {
            continue;
        }
        let mut encrypted = false;
        let mut encoded = String::new();
        for line in lines.by_ref() {
            if let Some(end) = marker(line, "-----END ") {
                if end != label {
                    return None;
                }
                // What is encrypted the old way is base64 too, but nothing here can read it.
                let der = STANDARD.decode(&encoded).ok()?;
                return Some(PemBlock {
                    label: label.to_owned(),
                    encrypted,
                    der,
                });
            }
            if line.contains(':') {
                encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
            } else {
                encoded.push_str(line);
            }
        }
    }
    None
}

fn marker<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.strip_prefix(prefix)?.strip_suffix("-----")
}
