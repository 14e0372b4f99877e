//! What a host is made of before the first zone, chosen by what this machine has.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use libmanta::triton::{Isolation, ZoneError};

use super::lock_state;
use crate::cgroup::Cgroups;
use crate::config::{Config, ScratchKind};
use crate::during::during;
use crate::image::HostImage;
use crate::library::Library;
use crate::network;
use crate::nursery::Nursery;
use crate::origin::{Images, Origin};
use crate::remove_tree::remove_tree;
use crate::scratch::{Maker, default_bytes, project_quotas};
use crate::slot::{Kept, Slot};
use crate::uids::{Name, UidBlock};
use crate::wire::Flavour;

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) config: Config,
    /// The default size of a disk before it was made to fit.
    pub(super) wanted_disk_bytes: u64,
    pub(super) isolation: Isolation,
    pub(super) flavour: Flavour,
    pub(super) description: String,
    pub(super) lock: File,
    pub(super) directories: [PathBuf; 2],
    pub(super) name: Option<Name>,
    pub(super) uids: Option<UidBlock>,
    pub(super) cgroups: Option<Cgroups>,
    pub(super) maker: Maker,
    pub(super) host: Origin,
    pub(super) images: Images,
    pub(super) slots: Vec<Slot>,
    /// Whose deaths to watch: first uid, and uids per slot.
    pub(super) cores: Option<(u32, u32)>,
}

impl Layout {
    /// Removes what a crashed host left, then makes everything but zones. Blocks.
    pub(super) fn make(mut config: Config) -> Result<Self, ZoneError> {
        let root = rustix::process::geteuid().is_root();
        let isolation = config.isolation.unwrap_or(match root {
            true => Isolation::Zone,
            false => Isolation::UserNamespace,
        });
        let flavour = match isolation {
            Isolation::Zone if root => Flavour::Full,
            Isolation::Zone => {
                return Err(refused(isolation, "only root can make them"));
            }
            Isolation::UserNamespace if root => {
                return Err(refused(
                    isolation,
                    "root's own files would be the zone's: run as root \
                                               with full zones, or as another user",
                ));
            }
            Isolation::UserNamespace => Flavour::Plain,
            Isolation::Process => Flavour::Bare,
        };
        let (state_dir, lock) =
            lock_state(&config.state_dir).map_err(during("lock the state directory"))?;
        config.state_dir = state_dir;
        config.disk_bytes = disk_bytes(config.disk_bytes);
        config.memory_bytes = memory_bytes(config.memory_bytes);
        let wanted_disk_bytes = config.disk_bytes;
        if flavour == Flavour::Full && config.scratch == ScratchKind::Loop {
            let images = config.slots + super::SCRATCHES;
            config.disk_bytes = default_bytes(&config.state_dir, config.disk_bytes, images)
                .map_err(during("read the size of the disk"))?;
        }
        let number = fnv(config.state_dir.as_os_str().as_encoded_bytes());
        let name = crate::cgroup::name(number);
        let taken = match flavour {
            Flavour::Full => Some(Name::take(number).map_err(during("take the host's name"))?),
            Flavour::Plain | Flavour::Bare => None,
        };
        let image = config.state_dir.join("image");
        remove_tree(&image).map_err(during("remove the old image"))?;
        let scratch = config.state_dir.join("scratch");
        remove_tree(&scratch).map_err(during("remove old scratch"))?;
        std::fs::create_dir(&scratch).map_err(during("make the scratch directory"))?;

        let cgroups = match (flavour, Cgroups::open(number, config.slots)) {
            (Flavour::Bare, _) => None,
            (_, Ok(cgroups)) => Some(cgroups),
            (Flavour::Plain, Err(_)) if config.allow_unlimited => None,
            (Flavour::Plain, Err(error)) => {
                let why = format!("there is no delegated cgroup to limit memory with ({error})");
                return Err(refused(isolation, &why));
            }
            (Flavour::Full, Err(error)) => return Err(refused(isolation, &error.to_string())),
        };
        if let (Flavour::Full, Some(cgroups)) = (flavour, &cgroups) {
            cgroups.sweep(|host| Name::take_if_dead(host).ok().flatten());
        }
        let (maker, quota) = maker(&config, flavour, &scratch, &name)?;

        let host_image = HostImage {
            flavour,
            tools: config.tools.as_deref(),
            usr_local: config.usr_local,
            version: config.host_version,
        };
        let built = host_image
            .build(&image)
            .map_err(during("build the image"))?;
        let uids = match flavour {
            Flavour::Full => Some(UidBlock::take().map_err(during("take user ids"))?),
            Flavour::Plain | Flavour::Bare => None,
        };
        let bases: Vec<u32> = match &uids {
            Some(uids) => (0..config.slots).map(|slot| uids.base(slot)).collect(),
            None => Vec::new(),
        };
        let started = Nursery::start(config.zygote.clone(), built.clone(), bases.clone());
        let (nursery, keeper, users) = match started {
            Ok(started) => started,
            Err(error) => {
                // Nothing of use stays behind a refusal.
                if let Some(cgroups) = &cgroups {
                    let _ = cgroups.remove();
                }
                let _ = remove_tree(&image);
                return Err(refused(isolation, &error.to_string()));
            }
        };

        let own = rustix::process::geteuid().as_raw();
        let mut users = users.into_iter();
        let mut slots = Vec::new();
        for index in 0..config.slots {
            let name = format!("zone{index}");
            let kept = users
                .next()
                .map(|user_namespace| {
                    Ok(Kept {
                        user_namespace,
                        network: network::make()?,
                    })
                })
                .transpose()
                .map_err(|error: io::Error| {
                    refused(isolation, &format!("make a network namespace: {error}"))
                })?;
            let cgroup = cgroups
                .as_ref()
                .map(|cgroups| cgroups.slot(&name))
                .transpose()
                .map_err(during("make a cgroup"))?;
            let uid_base = bases.get(index).copied().unwrap_or(own);
            let cgroup = cgroup.map(Into::into);
            slots.push(Slot {
                index,
                name,
                uid_base,
                kept,
                cgroup,
            });
        }
        let cores = uids
            .as_ref()
            .map(|uids| (uids.base(0), uids.base(1) - uids.base(0)));
        let images = Images {
            host_version: config.host_version,
            library: match flavour {
                Flavour::Full | Flavour::Plain => config.images.clone().map(Library::new),
                Flavour::Bare => None,
            },
            program: config.zygote.clone(),
            host: built,
            tools: config.tools.clone(),
        };
        let description = format!(
            "{} {} ({name}), cgroups: {}{quota}",
            config.slots,
            match flavour {
                Flavour::Full => "zones",
                Flavour::Plain => "user-namespace zones",
                Flavour::Bare => "plain process groups, NO separation",
            },
            match &cgroups {
                Some(cgroups) => cgroups.layout(),
                None => "none, resource limits only",
            },
        );
        Ok(Self {
            config,
            wanted_disk_bytes,
            isolation,
            flavour,
            description,
            lock,
            directories: [image, scratch],
            name: taken,
            uids,
            cgroups,
            maker,
            host: Origin::host(nursery, keeper),
            images,
            slots,
            cores,
        })
    }
}

/// A size that a file system can have.
pub(super) fn disk_bytes(wanted: u64) -> u64 {
    // Below, ext4 has hardly room for itself.
    const LEAST: u64 = 16 << 20;
    wanted.clamp(LEAST, i64::MAX as u64) & !0xfff
}

/// A limit that zone init and a shell fit into.
pub(super) fn memory_bytes(wanted: u64) -> u64 {
    const LEAST: u64 = 32 << 20;
    wanted.clamp(LEAST, i64::MAX as u64) & !0xfff
}

/// How scratches are made here, and what to say about it.
fn maker(
    config: &Config,
    flavour: Flavour,
    scratch: &Path,
    name: &str,
) -> Result<(Maker, String), ZoneError> {
    if flavour != Flavour::Full {
        return Ok((Maker::Directories(scratch.to_owned()), String::new()));
    }
    let quota = match project_quotas(scratch) {
        Ok(()) => ", project quotas present but not used".to_owned(),
        Err(why) => format!(", no project quotas ({why})"),
    };
    let maker = match config.scratch {
        ScratchKind::Tmpfs => Maker::Tmpfs,
        ScratchKind::Loop => Maker::images(scratch, name.to_owned()).map_err(|error| {
            let why = format!("no loop devices to limit disks with ({error})");
            refused(Isolation::Zone, &why)
        })?,
    };
    Ok((maker, quota))
}

fn refused(isolation: Isolation, what: &str) -> ZoneError {
    ZoneError::Unsupported(refusal(isolation, what))
}

/// What failed, the probable reason, and the ways out. Source: zones.md section 11.
pub(super) fn refusal(isolation: Isolation, what: &str) -> String {
    let kind = match isolation {
        Isolation::Zone => "zones",
        Isolation::UserNamespace => "user-namespace zones",
        Isolation::Process => "plain processes",
    };
    let hint = match isolation {
        Isolation::UserNamespace => format!("; {}", user_namespace_hint(what)),
        Isolation::Zone | Isolation::Process => String::new(),
    };
    format!(
        "jobs cannot run in {kind} on this machine: {what}{hint}. Ways out: run as root with the rights of \
         a full machine; allow what is missing; or do without jobs. Objects are served in any case"
    )
}

/// The usual suspects, looked up rather than guessed.
fn user_namespace_hint(what: &str) -> String {
    let zero = |path: &str| std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "0");
    let one = |path: &str| std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1");
    if zero("/proc/sys/user/max_user_namespaces") {
        return "the sysctl user.max_user_namespaces is 0".to_owned();
    }
    if zero("/proc/sys/kernel/unprivileged_userns_clone") {
        return "the sysctl kernel.unprivileged_userns_clone is 0".to_owned();
    }
    if one("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") {
        return "AppArmor forbids it: the sysctl kernel.apparmor_restrict_unprivileged_userns is 1, or \
                install a profile for this program that allows userns"
            .to_owned();
    }
    if what.contains("cgroup") {
        return "start it with systemd-run --user --scope -p Delegate=yes, or allow tasks without limits"
            .to_owned();
    }
    "a container's seccomp filter or security module probably forbids it".to_owned()
}

/// FNV-1a: a short name for a long path, the same on every start.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
