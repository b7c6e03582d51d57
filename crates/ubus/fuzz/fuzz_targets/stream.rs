//! A stream of any bytes, cut anywhere. `RUSTC_BOOTSTRAP=1 cargo fuzz run stream` in `crates/ubus`; the recordings in
//! `tests/wire` are good seeds (`corpus.sh`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use mwan_ubus::{Message, Stream};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let mut stream = Stream::default();
    for piece in bytes.chunks(usize::from(*cut).max(1)) {
        stream.push(piece);
        loop {
            match stream.next() {
                // Whatever was understood can be said, and means the same again.
                Ok(Some(message)) => {
                    let again = message.encode().expect("what was decoded can be encoded");
                    assert_eq!(Message::decode(&again), Ok(message));
                }
                Ok(None) => break,
                Err(_) if stream.usable() => {}
                Err(_) => return,
            }
        }
    }
});
