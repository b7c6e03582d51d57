//! HTTP probes: one request on one connection, and the least of the answer that decides.

use std::net::IpAddr;
use std::pin::pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use mwan_config::HttpProbe;
use tokio::io::{AsyncRead, AsyncWrite};

use super::error_text;
use super::methods::Way;

/// Bytes of status line and headers that are read; hyper's least is 8 KiB.
const HEAD_MAX: usize = 16 * 1024;
/// Header fields that are read.
const HEADERS_MAX: usize = 64;
/// Bytes of the body in which text is looked for.
const BODY_MAX: usize = 16 * 1024;
/// Characters of a foreign text that are repeated.
const QUOTE_MAX: usize = 100;

pub(super) async fn ask(way: &Way, ip: IpAddr, probe: &HttpProbe) -> Result<(), String> {
    let stream = way.connect(ip, probe.port).await.map_err(|e| error_text(&e))?;
    if probe.tls { by_tls(way, stream, ip, probe).await } else { exchange(stream, ip, probe).await }
}

#[cfg(feature = "tls")]
async fn by_tls(
    way: &Way,
    stream: tokio::net::TcpStream,
    ip: IpAddr,
    probe: &HttpProbe,
) -> Result<(), String> {
    let host = probe.host.as_deref();
    exchange(super::tls::handshake(stream, way.device(), (ip, probe.port), host).await?, ip, probe).await
}

#[cfg(not(feature = "tls"))]
async fn by_tls(_: &Way, _: tokio::net::TcpStream, _: IpAddr, _: &HttpProbe) -> Result<(), String> {
    Err("this mwan was built without TLS".to_owned())
}

/// One request over a connection.
async fn exchange<S>(stream: S, ip: IpAddr, probe: &HttpProbe) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| describe(&e))?;
    let request = request(ip, probe)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| describe(&e))?;
        judge(response, probe).await
    };
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The peer has closed it; what it said before is still to be read.
        _ = &mut connection => answer.await,
    }
}

fn request(ip: IpAddr, probe: &HttpProbe) -> Result<Request<Empty<Bytes>>, String> {
    let standard = if probe.tls { 443 } else { 80 };
    let mut host = match (&probe.host, ip) {
        (Some(name), _) => name.clone(),
        (None, IpAddr::V4(ip)) => ip.to_string(),
        (None, IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    if probe.port != standard {
        host.push_str(&format!(":{}", probe.port));
    }
    Request::builder()
        .method(if probe.head { "HEAD" } else { "GET" })
        .uri(&probe.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("mwan/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|e| e.to_string())
}

async fn judge(response: Response<Incoming>, probe: &HttpProbe) -> Result<(), String> {
    let (low, high) = probe.status;
    let status = response.status().as_u16();
    if !(low..=high).contains(&status) {
        let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
        let to = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
        let to = to.map(|l| format!(" to {}", l.chars().take(QUOTE_MAX).collect::<String>().escape_debug()));
        return Err(format!("status {status}{}, expected {expected}", to.unwrap_or_default()));
    }
    let Some(wanted) = &probe.body else { return Ok(()) };
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| describe(&e))?;
        if let Some(data) = frame.data_ref() {
            let room = BODY_MAX - seen.len();
            seen.extend_from_slice(&data[..data.len().min(room)]);
        }
        if seen.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
            return Ok(());
        }
        if seen.len() == BODY_MAX {
            break;
        }
    }
    Err(format!("status {status}, but the expected text is not in the first {} bytes", seen.len()))
}

/// hyper's own word and what is behind it.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
        Some(cause) => error_text(cause),
        None => error.to_string(),
    }
}
