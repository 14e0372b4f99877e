//! What an operator may change about the front door.

use std::time::Duration;

use http::HeaderValue;
use libmanta::moray::DIRECTORY_ENTRIES_MAX;

use crate::forwarded::Network;
use crate::throttle::Throttle;

/// Which of Manta's versions the store looks like to its clients. Source: rest-api.md sections 0.1, 0.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surface {
    /// Jobs, SnapLinks, uploads of ten thousand parts; says `Server: Manta`.
    #[default]
    Manta,
    /// Neither jobs nor SnapLinks, uploads of eight hundred parts; says `Server: Manta/2`.
    Manta2,
}

impl Surface {
    pub(crate) fn server(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Manta => "Manta",
            Self::Manta2 => "Manta/2",
        })
    }
}

/// Uploads in parts.
#[derive(Clone, Debug)]
pub struct Multipart {
    /// Without them neither the routes nor the directory `uploads` exist.
    pub enabled: bool,
    /// How many characters of its id name the directory above that of an upload: 1 to 4. May be changed at
    /// any time; every id says which it was.
    pub prefix_chars: u8,
    /// Least bytes of a part that is not the last. Source: rest-api.md section 5.6.
    pub part_bytes_min: u64,
    /// How long an upload stays after it was committed or aborted.
    pub grace: Duration,
    /// How long what a request left that died while it created an upload is left alone: more than ten
    /// minutes, for the request may still be under way.
    pub orphan_age: Duration,
    /// How often the collector looks for uploads that ended.
    pub collect_interval: Duration,
    /// Commits worked on at once, of one account a quarter of them; at least one. Each reads the parts that did not come in order.
    pub commits_max: usize,
    /// How long a further one, or another one of the same upload, waits before it is told to come back.
    pub commit_wait: Duration,
}

impl Default for Multipart {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix_chars: 3,
            part_bytes_min: 5 << 20,
            grace: Duration::from_secs(300),
            orphan_age: Duration::from_secs(3600),
            collect_interval: Duration::from_secs(60),
            commits_max: 16,
            commit_wait: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Most parts of an upload. Source: rest-api.md section 5.4.
    pub(crate) fn parts_max(&self) -> usize {
        match self.surface {
            Surface::Manta => 10_000,
            Surface::Manta2 => 800,
        }
    }
}

/// Settings; the default of each is what `manta up` runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sent as `x-server-name`; letters, digits, dots and dashes.
    pub server_name: String,
    pub surface: Surface,
    /// Copies of an object whose request names no durability level.
    pub copies_default: u8,
    /// Highest durability level a request may ask for.
    pub copies_max: u8,
    /// Most a chunked upload may carry when it does not say. Source: rest-api.md section 3.1.
    pub chunked_bytes_max: u64,
    /// Entries of a directory beyond which no object is created in it.
    pub directory_entries_max: u64,
    /// Answer a browser's preflight from the rules stored with the entry although it is not signed. Then
    /// anyone can read those rules, wherever they are.
    pub cors_unsigned_preflight: bool,
    /// Where the store is, for rules that ask.
    pub region: Option<String>,
    /// Oldest `Date` a request may carry.
    pub request_age_max: Duration,
    /// Furthest the date of a signed request may be from our clock, either way.
    pub clock_skew_max: Duration,
    /// How long an upload may send nothing.
    pub upload_stall: Duration,
    /// How long a connection may rest between requests.
    pub idle: Duration,
    /// How long a client may take to agree on TLS.
    pub handshake_timeout: Duration,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// How long a client may take to send the head of a request, from its first byte.
    pub head_timeout: Duration,
    /// How long a client may take nothing of a response that is ready for it.
    pub response_stall: Duration,
    /// Least an upload must bring, on average over any `upload_stall` of waiting for it; zero is no limit.
    /// Only time in which the client lets us wait counts, so slow disks harm nobody.
    pub upload_rate_min_bytes_per_s: u64,
    /// Connections served at once; more are told to come back. Fewer where descriptors are short.
    pub connections_max: usize,
    /// Descriptors this process may have open, which bounds the connections too. `None` asks the system
    /// when serving begins.
    pub descriptors_max: Option<u64>,
    /// Changed later by `Handle::set_throttle`.
    pub throttle: Throttle,
    /// Uploads with a body at once; more are told to come back.
    pub uploads_max: usize,
    /// Share of `uploads_max` that one account may hold, in percent; always at least one upload. Where that
    /// leaves nothing for another, what is above an equal part for each is cut.
    pub uploads_per_account_percent: u8,
    /// What is read and thrown away after a refusal, so that the client gets to reading the answer.
    pub drain_bytes_max: u64,
    /// How long that may take.
    pub drain: Duration,
    /// How long requests in flight may go on after `shutdown`.
    pub shutdown_grace: Duration,
    pub multipart: Multipart,
    /// Interactive sessions at once, on jobs of one account a quarter of them, but at least one; more are told to come back.
    pub sessions_max: usize,
    /// Requests that wait for a job at once, of one account a quarter of them; more are answered without a wait.
    pub job_waits_max: usize,
    /// How long nothing may be said in a session before it ends.
    pub session_idle: Duration,
    /// Images (semantic versions) that a job may demand, besides those that jobs can be run on here.
    pub job_images: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: String::from("localhost"),
            surface: Surface::default(),
            copies_default: 2,
            copies_max: 9,
            chunked_bytes_max: 51_200 << 20,
            directory_entries_max: DIRECTORY_ENTRIES_MAX,
            cors_unsigned_preflight: false,
            region: None,
            request_age_max: Duration::from_secs(600),
            clock_skew_max: Duration::from_secs(300),
            upload_stall: Duration::from_secs(45),
            idle: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            head_timeout: Duration::from_secs(30),
            response_stall: Duration::from_secs(120),
            upload_rate_min_bytes_per_s: 1024,
            connections_max: 4096,
            descriptors_max: None,
            throttle: Throttle::default(),
            uploads_max: 512,
            uploads_per_account_percent: 50,
            drain_bytes_max: 64 << 20,
            drain: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(30),
            multipart: Multipart::default(),
            sessions_max: 256,
            job_waits_max: 1024,
            session_idle: Duration::from_secs(30),
            job_images: ["13.1.0", "13.3.4", "13.3.5", "13.3.6", "16.1.0"]
                .map(String::from)
                .into(),
        }
    }
}
