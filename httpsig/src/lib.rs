//! Keys, fingerprints and HTTP signatures: parse, sign, verify
