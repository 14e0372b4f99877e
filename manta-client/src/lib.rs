//! Client of Manta's public API: signing, retries, streaming
