//! How names below a zone's root are resolved: everything there may be a tenant's work.

use rustix::fs::ResolveFlags;

/// Never by way of a link.
pub(crate) const NO_LINKS: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// Nor into another file system.
pub(crate) const INSIDE: ResolveFlags = NO_LINKS.union(ResolveFlags::NO_XDEV);
