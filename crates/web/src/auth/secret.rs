//! Random secrets, and digests of them that may be kept.

use std::fmt;

use ring::rand::SecureRandom;
use subtle::ConstantTimeEq;

/// Bytes of a secret: 256 bits cannot be guessed, so their plain SHA-256 may be kept.
const BYTES: usize = 32;

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// SHA-256 of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = Digest::default();
    out.copy_from_slice(digest.as_ref());
    out
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether two texts are equal, in a time that depends on their lengths only.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// What must not be seen: a session's id, a token.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// 256 bits of the kernel's random numbers, as hexadecimal digits.
    pub(crate) fn random() -> Self {
        Secret(hex(&random::<BYTES>()))
    }

    /// For him whose it is, and for nobody else.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

/// Random bytes. getrandom(2) fails on no kernel that runs us (`File::lock` is newer).
#[expect(clippy::expect_used, reason = "without random numbers nobody must be let in")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the kernel has random numbers");
    bytes
}
