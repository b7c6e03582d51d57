//! The certificate: the owner's, or one made on first use and kept.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::auth::secret::{digest, hex};
use crate::files;

/// Names of the files that are made.
const CERTIFICATE: &str = "tls-certificate.pem";
const KEY: &str = "tls-key.pem";
/// Both.
pub(crate) const FILES: [&str; 2] = [CERTIFICATE, KEY];
/// A chain and a key are a few KiB.
const PEM_MAX: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM of what it should be.
    #[error("{}: {why}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// They do not fit together.
    #[error("the certificate {} cannot be used", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// None could be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// What a server needs to speak TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, to be compared with what a browser shows.
    pub fingerprint: String,
}

/// With the owner's files, or with those in `folder`, which are made for `names` if they are not there.
///
/// # Errors
/// A file cannot be read or is none, or they do not fit together.
pub fn load(owners: Option<(&Path, &Path)>, folder: &Path, names: &[String]) -> Result<Tls, TlsError> {
    let made = (folder.join(CERTIFICATE), folder.join(KEY));
    let (certificate, key) = owners.unwrap_or((&made.0, &made.1));
    // A link is none of what was made, and is replaced.
    let is_made = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if owners.is_none() && !(is_made(certificate) && is_made(key)) {
        make(certificate, key, folder, names)?;
    }
    let read = |path: &Path| match owners {
        Some(_) => within_limit(path, read_owners(path)),
        None => within_limit(path, files::read(path, PEM_MAX)),
    };
    let pem = |path: &Path, why: String| TlsError::Pem { path: path.to_owned(), why };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| pem(certificate, error.to_string()))?;
    let Some(first) = chain.first() else {
        return Err(pem(certificate, "there is no certificate in it".to_owned()));
    };
    let fingerprint = hex(&digest(first));
    let private = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private = private.map_err(|error| pem(key, error.to_string()))?;
    let unusable = |source| TlsError::Unusable { path: certificate.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { config: Arc::new(config), fingerprint })
}

/// A file of the owner's, up to one byte more than the limit; a link is his affair, but nobody waits for a pipe's other end.
fn read_owners(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(PEM_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn within_limit(path: &Path, read: io::Result<Vec<u8>>) -> Result<Vec<u8>, TlsError> {
    let bytes = read.map_err(|source| TlsError::File { path: path.to_owned(), source })?;
    if bytes.len() as u64 > PEM_MAX {
        let why = format!("it is larger than {PEM_MAX} bytes");
        return Err(TlsError::Pem { path: path.to_owned(), why });
    }
    Ok(bytes)
}

/// Makes a certificate that says nothing but its names. It does not end: a router's clock begins in 1970, and nobody trusts it for
/// its dates but because he has compared it.
fn make(certificate: &Path, key: &Path, folder: &Path, names: &[String]) -> Result<(), TlsError> {
    let mut names: Vec<String> = names.to_vec();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.sort();
    names.dedup();
    let mut parameters = rcgen::CertificateParams::new(names)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "mwan");
    parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let pair = rcgen::KeyPair::generate()?;
    let made = parameters.self_signed(&pair)?;
    // The key first: a certificate without one is made anew.
    write(key, pair.serialize_pem().as_bytes(), folder)?;
    write(certificate, made.pem().as_bytes(), folder)
}

fn write(path: &Path, bytes: &[u8], folder: &Path) -> Result<(), TlsError> {
    files::replace(path, bytes, folder).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["router.lan".to_owned(), "192.0.2.1".to_owned()];
        let first = load(None, dir.path(), &names).unwrap();
        let again = load(None, dir.path(), &[]).unwrap();
        assert_eq!(first.fingerprint, again.fingerprint);
        assert_eq!(first.fingerprint.len(), 64);
        let key = fs::metadata(dir.path().join(KEY)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        fs::remove_file(dir.path().join(CERTIFICATE)).unwrap();
        assert_ne!(load(None, dir.path(), &names).unwrap().fingerprint, first.fingerprint);
    }

    #[test]
    fn files_that_are_none_or_do_not_fit_are_named() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&one, &other] {
            load(None, dir.path(), &[]).unwrap();
        }
        let (certificate, key) = (one.path().join(CERTIFICATE), other.path().join(KEY));
        let unfit = load(Some((&certificate, &key)), one.path(), &[]).unwrap_err();
        assert!(matches!(unfit, TlsError::Unusable { .. }), "{unfit}");
        let absent = load(Some((Path::new("/none"), &key)), one.path(), &[]).unwrap_err();
        assert_eq!(absent.to_string(), "/none");
        fs::write(&certificate, "garbage").unwrap();
        let empty = load(Some((&certificate, &key)), one.path(), &[]).unwrap_err();
        assert!(empty.to_string().ends_with("there is no certificate in it"), "{empty}");
        let swapped = load(Some((&key, &certificate)), one.path(), &[]).unwrap_err();
        assert!(matches!(swapped, TlsError::Pem { .. }), "{swapped}");
    }
}
