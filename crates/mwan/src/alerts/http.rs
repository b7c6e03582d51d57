//! Requests of webhooks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use mwan_alerts::{Fault, HttpRequest, Outgoing, Secret};
use ring::hmac;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring as provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::send::{chain, refused, unreachable};
use super::trust;

/// How long a connection to one address may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Bytes of an answer that are read, and characters of it that are repeated.
const ANSWER_MAX: usize = 4096;
const QUOTE_MAX: usize = 150;

/// Makes one request. What goes wrong is told without the URL: it may be the secret.
pub(super) async fn send(
    request: &HttpRequest,
    secret: Option<&Secret>,
    ca: Option<&str>,
    message: &Outgoing,
) -> Result<(), Fault> {
    let uri: Uri = request.url.reveal().parse().map_err(|_| refused("the URL is none"))?;
    let authority = uri.authority().ok_or_else(|| refused("there is no server in the URL"))?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let tls = uri.scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let built =
        build(request, secret, &uri, message).map_err(|_| refused("a value cannot be part of a request"))?;
    let connector = if tls { Some(connector(ca)?) } else { None };
    let stream = connect(&host, port).await?;
    match connector {
        None => exchange(stream, built).await,
        Some(connector) => {
            let name = ServerName::try_from(host).map_err(|e| refused(e.to_string()))?;
            let stream = connector.connect(name, stream).await.map_err(|e| {
                // rustls' own errors are of certificates and protocols, the others of the network.
                let text = format!("TLS: {}", chain(&e));
                if e.kind() == std::io::ErrorKind::InvalidData { refused(text) } else { unreachable(text) }
            })?;
            exchange(stream, built).await
        }
    }
}

fn build(
    request: &HttpRequest,
    secret: Option<&Secret>,
    uri: &Uri,
    message: &Outgoing,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let host = uri.authority().map_or("", |a| a.as_str());
    let mut builder = Request::builder()
        .method(request.method)
        .uri(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("mwan/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("X-Mwan-Id", &message.id);
    if let Some(value) = &request.authorization {
        let mut value = HeaderValue::from_str(value.reveal())?;
        value.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, value);
    }
    if let (true, Some(secret)) = (request.signed, secret) {
        builder = builder.header("X-Mwan-Signature", signature(secret, message.now.ms / 1000, &request.body));
    }
    builder.body(Full::new(Bytes::from(request.body.clone())))
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over `SECONDS.BODY`, so that nobody can send it again later.
pub(super) fn signature(secret: &Secret, time_s: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let tag = hmac::sign(&key, format!("{time_s}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time_s},v1={hex}")
}

fn connector(ca: Option<&str>) -> Result<TlsConnector, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trust::certificates(ca).map_err(|e| refused(e.to_string()))?);
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Fault> {
    let found =
        tokio::net::lookup_host((host, port)).await.map_err(|e| unreachable(format!("{host}: {e}")))?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    let mut last = format!("{host} has no address");
    for address in addresses {
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: no answer"),
        }
    }
    Err(unreachable(last))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(chain(&e)))?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| unreachable(chain(&e)))?;
        judge(response).await
    };
    let judged = answer.await;
    connection.abort();
    judged
}

async fn judge(response: Response<Incoming>) -> Result<(), Fault> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let mut said = Vec::new();
    let mut body = response.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        said.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if said.len() > ANSWER_MAX {
            break;
        }
    }
    let said: String = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().take(QUOTE_MAX).collect();
    let redirection = if status.is_redirection() { " (redirections are not followed)" } else { "" };
    Err(refused(format!("the server says {status}{redirection} {said}").trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf '1.{}' | openssl dgst -sha256 -hmac key` says.
    #[test]
    fn signatures_are_those_of_openssl() {
        let signed = signature(&Secret::new("key"), 1, "{}");
        assert_eq!(signed, "t=1,v1=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224");
    }
}
