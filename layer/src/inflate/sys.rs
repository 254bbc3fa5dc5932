//! The unsafe part: zlib's C interface behind a type that owns its stream and takes slices.
#![expect(
    unsafe_code,
    reason = "zlib's interface is pointers; safe crates lack inflatePrime and dictionaries"
)]

use libz_rs_sys as zlib;

/// zlib's `windowBits` for "a gzip wrapper, and nothing else" (zlib.h, `inflateInit2`: 15 + 16).
const GZIP: i32 = 31;
/// The same for deflate without a wrapper (-15).
const RAW: i32 = -15;
/// Bytes of deflate's window (RFC 1951): what `inflateGetDictionary` gives at most.
pub(crate) const WINDOW: usize = 32 << 10;

/// What a step left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It wants more input or more room.
    Going,
    /// The member is complete and its checksum is right.
    Ended,
    /// It will never go on.
    Corrupt,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    pub(crate) status: Status,
    /// Set where a deflate block begins (of [`Stream::inflate_block`] only; not behind a last block): how many bits
    /// of the last byte that was consumed belong to it, its high ones.
    pub(crate) block: Option<u8>,
}

/// A zlib stream that inflates. Boxed, for zlib may keep its address.
pub(crate) struct Stream(Box<zlib::z_stream>);

// SAFETY: the stream owns its state (heap memory that nothing else points to), has no thread affinity, and the
// pointers to input and output do not outlive a call of `inflate`.
unsafe impl Send for Stream {}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// A stream for gzip members, or nothing when there is no memory.
    pub(crate) fn gzip() -> Option<Self> {
        Self::new(GZIP)
    }

    /// A stream for deflate without a wrapper, or nothing when there is no memory.
    pub(crate) fn raw() -> Option<Self> {
        Self::new(RAW)
    }

    fn new(window_bits: i32) -> Option<Self> {
        let mut stream = Box::new(zlib::z_stream::default());
        let size = i32::try_from(size_of::<zlib::z_stream>()).ok()?;
        // SAFETY: the stream is a valid z_stream with default allocators; version and size are this library's own.
        let code = unsafe { zlib::inflateInit2_(&raw mut *stream, window_bits, zlib::zlibVersion(), size) };
        (code == zlib::Z_OK).then_some(Self(stream))
    }

    /// Starts anew at a gzip header. False if zlib refuses, which it has no reason to.
    pub(crate) fn restart_gzip(&mut self) -> bool {
        // SAFETY: the stream was initialised by `new` and is not ended before drop.
        unsafe { zlib::inflateReset2(&raw mut *self.0, GZIP) == zlib::Z_OK }
    }

    /// Makes a raw stream begin with the `bits` (at most 7) high bits of `byte`.
    pub(crate) fn prime(&mut self, bits: u8, byte: u8) -> bool {
        let value = i32::from(byte) >> (8 - bits.min(8));
        // SAFETY: as above.
        unsafe { zlib::inflatePrime(&raw mut *self.0, bits.into(), value) == zlib::Z_OK }
    }

    /// Gives a raw stream what came before it: at most [`WINDOW`] bytes.
    pub(crate) fn set_window(&mut self, window: &[u8]) -> bool {
        let Ok(length) = u32::try_from(window.len()) else { return false };
        // SAFETY: as above; `window` has `length` readable bytes, which are copied.
        unsafe { zlib::inflateSetDictionary(&raw mut *self.0, window.as_ptr(), length) == zlib::Z_OK }
    }

    /// What the next byte can refer to: the last bytes that were inflated, at most [`WINDOW`]. (Not to be taken from
    /// an output buffer: zlib-rs writes behind what it produced; layer-formats.md, C.)
    pub(crate) fn window(&self) -> Vec<u8> {
        let mut window = vec![0; WINDOW];
        let mut length = 0;
        // SAFETY: as above; zlib.h: "32768 bytes is always enough".
        unsafe { zlib::inflateGetDictionary(&raw const *self.0, window.as_mut_ptr(), &raw mut length) };
        window.truncate(length as usize);
        window
    }

    /// Inflates from `input` to `output` as far as either goes.
    pub(crate) fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        self.run(input, output, zlib::Z_NO_FLUSH)
    }

    /// Inflates from `input` to `output` as far as either goes, and not past the start of a deflate block.
    pub(crate) fn inflate_block(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        self.run(input, output, zlib::Z_BLOCK)
    }

    fn run(&mut self, input: &[u8], output: &mut [u8], flush: i32) -> Step {
        // More than 4 GiB at a time is done in several steps.
        let (avail_in, avail_out) = (clamp(input.len()), clamp(output.len()));
        let stream = &mut *self.0;
        stream.next_in = input.as_ptr();
        stream.avail_in = avail_in;
        stream.next_out = output.as_mut_ptr();
        stream.avail_out = avail_out;
        // SAFETY: the stream was initialised by `new` and is not ended before drop; next_in and next_out point to
        // avail_in readable and avail_out writable bytes for the length of the call, in slices that do not overlap.
        let code = unsafe { zlib::inflate(&raw mut *stream, flush) };
        let (left_in, left_out) = (stream.avail_in, stream.avail_out);
        stream.next_in = std::ptr::null();
        stream.next_out = std::ptr::null_mut();
        Step {
            consumed: used(avail_in, left_in),
            produced: used(avail_out, left_out),
            status: match code {
                // Z_BUF_ERROR: nothing could be done for want of input or room; not fatal.
                zlib::Z_OK | zlib::Z_BUF_ERROR => Status::Going,
                zlib::Z_STREAM_END => Status::Ended,
                _ => Status::Corrupt,
            },
            block: block(stream.data_type),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and ended nowhere else.
        unsafe { zlib::inflateEnd(&raw mut *self.0) };
    }
}

/// zlib.h, `inflate`: bits that were not used, 64 in a last block, 128 right behind a header or a block.
fn block(data_type: i32) -> Option<u8> {
    const LAST: i32 = 64;
    const BOUNDARY: i32 = 128;
    let bits = u8::try_from(data_type & (LAST - 1)).ok().filter(|bits| *bits < 8);
    bits.filter(|_| data_type & (LAST | BOUNDARY) == BOUNDARY)
}

fn clamp(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn used(before: u32, left: u32) -> usize {
    before.saturating_sub(left) as usize
}
