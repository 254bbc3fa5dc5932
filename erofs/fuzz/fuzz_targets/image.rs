//! Any bytes, the checksum repaired so that the fuzzer need not guess it, through everything the reader offers.

#![no_main]

#[path = "../../tests/images/walk.rs"]
mod walk;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    walk::repair(&mut bytes);
    let _ = walk::walk(&bytes);
});
