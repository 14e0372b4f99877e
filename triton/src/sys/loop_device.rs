//! Loop devices: the ioctls of `linux/loop.h`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use super::check;

const LOOP_CLR_FD: u64 = 0x4c01;
const LOOP_CONFIGURE: u64 = 0x4c0a;
const LOOP_CTL_REMOVE: u64 = 0x4c81;
const LOOP_CTL_GET_FREE: u64 = 0x4c82;
/// The device forgets its file when its last user closes it, so that nothing survives a crash of ours.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Reads and writes bypass the page cache of the host: the file system on the device has its own.
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Configuration {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// The number of a device that was free a moment ago. Another process may be faster: see [`configure`].
pub(crate) fn get_free(control: &File) -> io::Result<u32> {
    // SAFETY: takes no argument.
    check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }.into())
        .map(|number| number as u32)
}

/// Gives `device` the content of `file`, under `label`. Errors: `EBUSY` when somebody else has it already.
pub(crate) fn configure(device: &File, file: impl AsFd, label: &str) -> io::Result<()> {
    // SAFETY: all-zero is a valid `loop_config`.
    let mut configuration: Configuration = unsafe { std::mem::zeroed() };
    configuration.fd = file.as_fd().as_raw_fd() as u32;
    // Direct I/O wants the sector size of the file system below; 4,096 suits every common one.
    configuration.block_size = 4096;
    configuration.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    for (slot, byte) in configuration.info.file_name[..63]
        .iter_mut()
        .zip(label.bytes())
    {
        *slot = byte;
    }
    let call = |configuration: &Configuration| {
        // SAFETY: `configuration` has the kernel's layout and outlives the call.
        check(
            unsafe {
                libc::ioctl(
                    device.as_raw_fd(),
                    LOOP_CONFIGURE,
                    std::ptr::from_ref(configuration),
                )
            }
            .into(),
        )
        .map(drop)
    };
    match call(&configuration) {
        // The file system below cannot do direct I/O.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            configuration.info.flags = LO_FLAGS_AUTOCLEAR;
            call(&configuration)
        }
        result => result,
    }
}

/// Takes the file away from `device`, at its last close when it is in use.
pub(crate) fn clear(device: &File) -> io::Result<()> {
    // SAFETY: takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) }.into()).map(drop)
}

/// Removes a device that nobody uses. Errors: `EBUSY` when somebody does.
pub(crate) fn remove(control: &File, number: u32) -> io::Result<()> {
    // SAFETY: takes an integer.
    check(
        unsafe {
            libc::ioctl(
                control.as_raw_fd(),
                LOOP_CTL_REMOVE,
                libc::c_ulong::from(number),
            )
        }
        .into(),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<Info>(), 232);
        assert_eq!(size_of::<Configuration>(), 304);
    }
}
