//! Zones on Linux: namespaces, cgroups, overlay, seccomp
