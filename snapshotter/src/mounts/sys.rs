#![expect(unsafe_code, reason = "loop(4)'s ioctls have no safe wrapper")]
//! The two ioctls of loop devices (linux/loop.h).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::{
    io,
    ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl},
};

const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LOOP_CONFIGURE: Opcode = 0x4C0A;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// How the loop driver reads its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Through the file's page cache, one after another.
    Buffered,
    /// Past it, many at a time. The kernel takes to buffered reads without a word where the file cannot do it.
    Direct,
}

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo64 {
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
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () =
    assert!(size_of::<LoopInfo64>() == 232 && size_of::<LoopConfig>() == 304, "sizes of linux/loop.h");

/// `LOOP_CTL_GET_FREE`: its answer is the return value.
struct GetFree;

// SAFETY: the request takes no argument, and the number it returns is all it gives.
unsafe impl Ioctl for GetFree {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut libc::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut libc::c_void) -> io::Result<IoctlOutput> {
        Ok(output)
    }
}

/// Number of a loop device that nobody uses, as of now.
pub(super) fn free_loop_number(control: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: `control` is /dev/loop-control or the kernel answers ENOTTY; nothing of ours is touched.
    unsafe { ioctl(control, GetFree) }
}

/// Binds `file` to the loop device `device`, read-only, in blocks of `block_size` bytes, until its last user goes.
pub(super) fn configure_loop(
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    block_size: u32,
    reads: Reads,
) -> io::Result<()> {
    let direct = if reads == Reads::Direct { LO_FLAGS_DIRECT_IO } else { 0 };
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| io::Errno::BADF)?,
        block_size,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | direct,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, which this is (size asserted above, all fields in the
    // header's order), and keeps no pointer to it.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }
}
