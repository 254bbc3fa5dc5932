#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| peel_layer::testing::fuzz::seek_index(input));
