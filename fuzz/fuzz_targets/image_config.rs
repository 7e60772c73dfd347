#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| updaterd::launch::fuzz::image_config(data));
