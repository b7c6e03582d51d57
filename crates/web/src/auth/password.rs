//! Passwords: kept as argon2id hashes, compared in the same time whether or not there is such a user.

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use super::secret::random;

/// Shortest password (NIST SP 800-63B, 5.1.1.2), characters.
pub(crate) const CHARS_MIN: usize = 8;
/// Longest one: more is a way to keep us busy, bytes.
pub(crate) const BYTES_MAX: usize = 1024;

/// 4 MiB and three passes: 10 ms on a router, where OWASP's 19 MiB would be a good part of its memory. Few guesses are let through
/// anyway; this is for whoever steals the file.
fn argon() -> Option<Argon2<'static>> {
    let params = Params::new(4096, 3, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Why a password cannot be one.
pub(crate) fn refusal(password: &str) -> Option<String> {
    if password.chars().count() < CHARS_MIN {
        return Some(format!("the password has less than {CHARS_MIN} characters"));
    }
    (password.len() > BYTES_MAX).then(|| format!("the password has more than {BYTES_MAX} bytes"))
}

/// Its hash with a salt of its own, as a PHC string. Takes 10 ms.
pub(crate) fn hash(password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let hash = argon()?.hash_password(password.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

/// What is compared with where there is no such user: no password has this hash, and it takes as long to find that out.
const NOBODY: &str =
    "$argon2id$v=19$m=4096,t=3,p=1$bm9ib2R5J3Mgc2FsdCE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether `hash` is that of `password`; without a hash never, and as slowly. Takes 10 ms.
pub(crate) fn verify(hash: Option<&str>, password: &str) -> bool {
    let stored = hash.map(PasswordHash::new).and_then(Result::ok);
    let known = stored.is_some();
    let Some(stored) = stored.or_else(|| PasswordHash::new(NOBODY).ok()) else { return false };
    let equal = argon().is_some_and(|argon| argon.verify_password(password.as_bytes(), &stored).is_ok());
    equal & known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_right_password_is_right() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=4096,t=3,p=1$"), "{stored}");
        assert!(verify(Some(&stored), "correct horse"));
        assert!(!verify(Some(&stored), "correct horsf"));
        assert!(!verify(Some("garbage"), "correct horse") && !verify(None, "correct horse"));
        assert_ne!(stored, hash("correct horse").unwrap(), "each has a salt of its own");
        assert!(PasswordHash::new(NOBODY).is_ok(), "or unknown users would be answered faster");
    }

    /// The work is counted, not the seconds: the same algorithm with the same parameters, whether or not there is such a user.
    #[test]
    fn unknown_users_are_refused_as_slowly_as_wrong_passwords() {
        let stored = hash("correct horse").unwrap();
        let work = |hash: &str| {
            let hash = PasswordHash::new(hash).unwrap();
            let length = hash.hash.map(|hash| hash.len());
            (hash.algorithm.to_string(), hash.version, hash.params.to_string(), length)
        };
        assert_eq!(work(NOBODY), work(&stored));
    }

    #[test]
    fn passwords_are_neither_short_nor_endless() {
        assert!(refusal("1234567").is_some() && refusal("ü234567").is_some());
        assert!(refusal(&"x".repeat(BYTES_MAX + 1)).is_some());
        assert_eq!(refusal("12345678"), None);
    }
}
