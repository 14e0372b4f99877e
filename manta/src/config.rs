//! Settings of an all-in-one store: a TOML file (`--config`), then the command line on top of it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libmanta::Version;
use serde::Deserialize;

use crate::throttle::Throttle;

/// The preset that `manta up` starts from. Every setting, with its unit and its effect, is documented there.
const PRESET: &str = include_str!("../../etc/embedded.toml");

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    #[serde(default)]
    pub(crate) listen_insecure: Option<SocketAddr>,
    #[serde(default)]
    pub(crate) tls: Option<Tls>,
    pub(crate) surface: SurfaceSetting,
    #[serde(default)]
    pub(crate) account: Option<String>,
    pub(crate) storage: Storage,
    pub(crate) metadata: Metadata,
    pub(crate) http: Http,
    pub(crate) throttle: Throttle,
    pub(crate) multipart: Multipart,
    pub(crate) jobs: JobSettings,
    pub(crate) housekeeping: Housekeeping,
    #[serde(default)]
    pub(crate) auth_token: Option<AuthToken>,
}

/// Keys for tokens in the format of the reference.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthToken {
    key: String,
    iv: String,
    salt: String,
    #[serde(default = "week_s")]
    max_age_s: u64,
}

fn week_s() -> u64 {
    mahi::Config::TOKEN_LIFE_DEFAULT.as_secs()
}

impl AuthToken {
    pub(crate) fn keys(&self) -> Result<mahi::AuthToken> {
        let max_age = Duration::from_secs(self.max_age_s);
        mahi::AuthToken::parse(&self.key, &self.iv, &self.salt, max_age).context(
            "auth_token: key and iv must be 32 hexadecimal digits, salt 16 \
             (as printed by openssl enc -aes-128-cbc -k PASSWORD -P)",
        )
    }
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthToken")
            .field("max_age_s", &self.max_age_s)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storage {
    #[serde(default)]
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) copies_default: u8,
    pub(crate) copies_max: u8,
    pub(crate) utilisation_max_percent: u8,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metadata {
    pub(crate) shards: NonZeroUsize,
    pub(crate) directory_entries_max: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) upload_stall_ms: u64,
    pub(crate) idle_ms: u64,
    pub(crate) request_age_max_s: u64,
    pub(crate) streaming_size_max_mib: u64,
    pub(crate) connections_max: usize,
    pub(crate) uploads_max: usize,
    pub(crate) uploads_per_account_percent: u8,
    pub(crate) upload_rate_min_bytes_per_s: u64,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) cors_unsigned_preflight: bool,
    #[serde(default)]
    pub(crate) region: Option<String>,
}

/// PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificates: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SurfaceSetting {
    /// Jobs, SnapLinks, uploads of ten thousand parts; `Server: Manta`.
    Manta,
    /// What the second version answers; `Server: Manta/2`.
    Manta2,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Multipart {
    pub(crate) enabled: bool,
    pub(crate) prefix_dir_len: u8,
    pub(crate) part_bytes_min: u64,
    pub(crate) grace_s: u64,
    pub(crate) collect_interval_s: NonZeroU64,
    pub(crate) commits_max: NonZeroUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IsolationSetting {
    /// Zones as root, user namespaces otherwise, refusal where neither works.
    Auto,
    /// Plain processes, no separation.
    Process,
    /// No jobs.
    Off,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobSettings {
    pub(crate) isolation: IsolationSetting,
    pub(crate) zones: NonZeroUsize,
    pub(crate) input_idle_close_ms: u64,
    pub(crate) hog_grace_ms: u64,
    pub(crate) hog_kill_ms: u64,
    pub(crate) perturb: bool,
    pub(crate) host_version: Version,
    pub(crate) images: Vec<Version>,
    pub(crate) image_idle_ms: u64,
    /// Shares by login.
    pub(crate) weights: HashMap<String, NonZeroU32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Housekeeping {
    pub(crate) delete_grace_ms: u64,
    pub(crate) collect_interval_ms: u64,
    pub(crate) sweep_interval_ms: u64,
}

/// What the command line may override.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) listen_insecure: Option<SocketAddr>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) surface: Option<SurfaceSetting>,
    pub(crate) account: Option<String>,
    pub(crate) storage: Vec<PathBuf>,
    pub(crate) copies: Option<u8>,
    pub(crate) isolation: Option<IsolationSetting>,
}

impl Config {
    /// Preset, then the file, then the command line; then everything is checked, before any port is bound.
    pub(crate) fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self> {
        let mut table: toml::Table = PRESET.parse().context("understand the built-in preset")?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read {}", path.display()))?;
            let own: toml::Table = text
                .parse()
                .with_context(|| format!("understand {}", path.display()))?;
            merge(&mut table, own);
        }
        let mut config: Self = table.try_into().context("understand the configuration")?;
        if let Some(data_dir) = overrides.data_dir {
            config.data_dir = data_dir;
        }
        if let Some(listen) = overrides.listen {
            config.listen = listen;
        }
        config.listen_insecure = overrides.listen_insecure.or(config.listen_insecure);
        match (overrides.tls_cert, overrides.tls_key) {
            (Some(certificates), Some(key)) => config.tls = Some(Tls { certificates, key }),
            (None, None) => {}
            _ => bail!("--tls-cert and --tls-key go together"),
        }
        if let Some(surface) = overrides.surface {
            config.surface = surface;
        }
        config.account = overrides.account.or(config.account);
        if !overrides.storage.is_empty() {
            config.storage.directories = overrides.storage;
        }
        if let Some(copies) = overrides.copies {
            config.storage.copies_default = copies;
        }
        if let Some(isolation) = overrides.isolation {
            config.jobs.isolation = isolation;
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let storage = &self.storage;
        ensure!(
            (1..=9).contains(&storage.copies_max),
            "storage.copies_max must be between 1 and 9"
        );
        ensure!(
            (1..=storage.copies_max).contains(&storage.copies_default),
            "copies must be between 1 and {}",
            storage.copies_max
        );
        ensure!(
            (1..=100).contains(&storage.utilisation_max_percent),
            "storage.utilisation_max_percent must be between 1 and 100"
        );
        ensure!(
            (1..=100).contains(&self.http.uploads_per_account_percent),
            "http.uploads_per_account_percent must be between 1 and 100"
        );
        self.trusted_proxies()?;
        self.throttle.check()?;
        ensure!(
            (1..=4).contains(&self.multipart.prefix_dir_len),
            "multipart.prefix_dir_len must be between 1 and 4"
        );
        if let Some(account) = &self.account {
            ensure!(
                libmanta::Login::parse(account).is_some(),
                "\"{account}\" is not a login: a letter, then letters, digits, _ - . @"
            );
        }
        if let Some(auth_token) = &self.auth_token {
            auth_token.keys()?;
        }
        Ok(())
    }
}

impl Config {
    pub(crate) fn trusted_proxies(&self) -> Result<Vec<muskie::Network>> {
        let networks = self.http.trusted_proxies.iter();
        networks
            .map(|network| network.parse().context("http.trusted_proxies"))
            .collect()
    }

    /// Whether the same store, started with `other`, would differ in what cannot be changed while it runs.
    pub(crate) fn needs_restart_for(&self, other: &Self) -> bool {
        let changed_already = Self {
            throttle: other.throttle.clone(),
            ..self.clone()
        };
        changed_already != *other
    }
}

fn merge(base: &mut toml::Table, own: toml::Table) {
    for (key, value) in own {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(own)) => merge(base, own),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preset_is_complete_and_valid() {
        let config = Config::load(None, Overrides::default()).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.storage.copies_default, 2);
    }

    #[test]
    fn the_command_line_wins_and_is_checked() {
        let overrides = Overrides {
            copies: Some(3),
            ..Overrides::default()
        };
        assert_eq!(
            Config::load(None, overrides)
                .unwrap()
                .storage
                .copies_default,
            3
        );
        let overrides = Overrides {
            copies: Some(10),
            ..Overrides::default()
        };
        let error = Config::load(None, overrides).unwrap_err().to_string();
        assert!(error.contains("between 1 and 9"), "{error}");
        let overrides = Overrides {
            account: Some("1x".into()),
            ..Overrides::default()
        };
        assert!(Config::load(None, overrides).is_err());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let overrides = Overrides {
            tls_cert: Some("cert.pem".into()),
            ..Overrides::default()
        };
        assert!(Config::load(None, overrides).is_err());
    }

    #[test]
    fn only_what_can_change_while_running_needs_no_restart() {
        let config = Config::load(None, Overrides::default()).unwrap();
        let mut other = config.clone();
        other.throttle.concurrency = 7;
        assert!(!config.needs_restart_for(&other));
        other.http.uploads_max += 1;
        assert!(config.needs_restart_for(&other));
        other.http.trusted_proxies = vec!["10.0.0.0/40".into()];
        assert!(other.check().is_err());
    }

    #[test]
    fn unknown_settings_are_refused() {
        let path = std::env::temp_dir().join(format!("manta-config-{}.toml", std::process::id()));
        std::fs::write(&path, "[http]\nidle_msec = 3\n").unwrap();
        let error = format!(
            "{:#}",
            Config::load(Some(&path), Overrides::default()).unwrap_err()
        );
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("idle_msec"), "{error}");
    }
}
