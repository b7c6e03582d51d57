//! TLS for probes. Certificates are not checked: the target is an address, often of a box with a certificate of its own,
//! and what is asked is whether it can be reached. Nothing that is worth protecting is ever sent.
//!
//! What a probe costs is its handshake, so sessions are resumed. That proves no less: the key of a resumed session is
//! made of both sides' fresh randoms (RFC 8446 section 2.2 with (EC)DHE, RFC 5246 section 7.3), and the server's
//! Finished and its answer are made with it. Neither can be replayed, nor made by anybody but a server that is there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use tokio_rustls::rustls::crypto::ring::{cipher_suite, kx_group};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::SigningKey;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme};

use super::error_text;

/// Sessions that are remembered, some 2 KiB each: more targets than a router asks by TLS.
const SESSIONS_MAX: usize = 512;

/// Who is asked: by which device, address, port and name. Sessions of one are never offered to another.
type Peer = (String, IpAddr, u16, Option<String>);

/// A TLS session with whoever is there. `host` is the name that is asked for (SNI); without it none is.
pub(super) async fn handshake(
    stream: TcpStream,
    device: &str,
    (ip, port): (IpAddr, u16),
    host: Option<&str>,
) -> Result<TlsStream<TcpStream>, String> {
    let name = match host {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?,
        None => ServerName::IpAddress(ip.into()),
    };
    let connector = TlsConnector::from(config_of((device.to_owned(), ip, port, host.map(str::to_owned)))?);
    connector.connect(name, stream).await.map_err(|e| error_text(&e))
}

/// The configuration for one peer: that of all, with the peer's own session.
fn config_of(peer: Peer) -> Result<Arc<ClientConfig>, String> {
    static PEERS: Mutex<BTreeMap<Peer, Arc<ClientConfig>>> = Mutex::new(BTreeMap::new());
    let mut peers = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = peers.get(&peer) {
        return Ok(config.clone());
    }
    let mut config = ClientConfig::clone(&*base()?);
    config.resumption = Resumption::store(Arc::new(Session::default()));
    let config = Arc::new(config);
    if peers.len() >= SESSIONS_MAX {
        // Most of them are of configurations long gone; those in use cost one whole handshake each.
        peers.clear();
    }
    peers.insert(peer, config.clone());
    Ok(config)
}

/// Made once: it holds nothing but constants.
fn base() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let provider = Arc::new(provider());
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(|e| e.to_string())?;
            Ok(Arc::new(
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)).with_no_client_auth(),
            ))
        })
        .clone()
}

/// ring's ciphers and exchanges of keys, and nothing that makes or checks signatures.
fn provider() -> CryptoProvider {
    CryptoProvider {
        // AES with GCM: every server of TLS 1.3 has it (RFC 8446 section 9.1), and nearly every one of TLS 1.2.
        // ChaCha20 would be 60 KB more, for the few hundred bytes of a probe.
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        // Every implementation of TLS 1.3 has P-256 (RFC 8446 section 9.1), and few servers have it switched off. X25519 would
        // be 35 KB more.
        kx_groups: vec![kx_group::SECP256R1, kx_group::SECP384R1],
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: &Kernel,
        key_provider: &Kernel,
    }
}

/// Random bytes by the kernel, and no keys of our own.
#[derive(Debug)]
struct Kernel;

impl SecureRandom for Kernel {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.chunks_mut(256).try_for_each(crate::sys::random).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Kernel {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("a probe has no key".to_owned()))
    }
}

/// What is remembered of one peer: the newest of each, which is offered once. A ticket of TLS 1.3 should be (RFC 8446 section C.4);
/// a session of TLS 1.2 must not be offered again if the handshake failed (RFC 5246 section 7.2.2) and is stored anew if it did not,
/// so a server that takes it amiss costs one probe.
#[derive(Debug, Default)]
struct Session(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Option<Tls13ClientSessionValue>,
}

impl Session {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Session {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.remembered().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.remembered().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.remembered().tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.remembered().tls12.take()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.remembered().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.remembered().tls13 = Some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.remembered().tls13.take()
    }
}

/// Takes every certificate, so a signature proves nothing: whoever is there would make one with a key of his own. That
/// somebody is there is shown by the end of the handshake, for which both sides need the same secret.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// All there are: the server is to choose by its certificate.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        use SignatureScheme as Scheme;
        vec![
            Scheme::ECDSA_NISTP256_SHA256,
            Scheme::ECDSA_NISTP384_SHA384,
            Scheme::ECDSA_NISTP521_SHA512,
            Scheme::ED25519,
            Scheme::RSA_PSS_SHA256,
            Scheme::RSA_PSS_SHA384,
            Scheme::RSA_PSS_SHA512,
            Scheme::RSA_PKCS1_SHA256,
            Scheme::RSA_PKCS1_SHA384,
            Scheme::RSA_PKCS1_SHA512,
        ]
    }
}
