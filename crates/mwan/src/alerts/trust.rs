//! Certificates that are trusted: those of the system, or of a file.

use std::fs::File;
use std::io::{self, Read};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Where systems have theirs: Debian and OpenWrt, Fedora and IPFire, Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Largest file that is read: Mozilla's list is 0.2 MiB.
const FILE_MAX: u64 = 4 << 20;

/// The certificates of `file`, else of the system.
///
/// # Errors
/// There is no such file, or nothing in it that could be used.
pub(super) fn certificates(file: Option<&str>) -> io::Result<Vec<CertificateDer<'static>>> {
    let open = |path: &str| {
        File::open(path).map_err(|e| io::Error::new(e.kind(), format!("cannot read {path}: {e}")))
    };
    let (path, file) = match file {
        Some(path) => (path, open(path)?),
        None => {
            SYSTEM.into_iter().find_map(|path| Some((path, File::open(path).ok()?))).ok_or_else(|| {
                io::Error::other("the system has no list of certificates; install ca-certificates")
            })?
        }
    };
    let mut pem = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut pem)?;
    // One that is not understood is no reason to trust no other.
    let mut usable = RootCertStore::empty();
    let all = CertificateDer::pem_slice_iter(&pem).flatten();
    let good: Vec<_> = all.filter(|certificate| usable.add(certificate.clone()).is_ok()).collect();
    if good.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("there is no certificate in {path}")));
    }
    Ok(good)
}
