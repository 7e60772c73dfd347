#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| updaterd::registry::fuzz::manifest(data));
