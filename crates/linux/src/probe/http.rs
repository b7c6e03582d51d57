//! HTTP probes: one request on one connection, and the least of the answer that decides.

use std::net::IpAddr;

use httparse::Status;
use mwan_config::HttpProbe;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error_text;
use super::methods::Way;

/// Bytes of status lines and headers that are read, those of interim answers among them.
const HEAD_MAX: usize = 16 * 1024;
/// Header fields that are read.
const HEADERS_MAX: usize = 64;
/// Bytes of the body in which text is looked for.
const BODY_MAX: usize = 16 * 1024;
/// The same as they come, in chunks of whatever size.
const RAW_MAX: usize = 2 * BODY_MAX;
/// Bytes that are read at once.
const READ_MAX: usize = 4096;
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
async fn exchange<S>(mut stream: S, ip: IpAddr, probe: &HttpProbe) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(ip, probe)?;
    let sent = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    };
    let sent = sent.await;
    let (head, rest) = match (read_head(&mut stream).await, sent) {
        // Who has hung up may have answered before.
        (Err(_), Err(error)) => return Err(error_text(&error)),
        (read, _) => read?,
    };
    judge(&head, probe)?;
    match &probe.body {
        Some(wanted) => find(&mut stream, rest, &head, wanted.as_bytes()).await,
        None => Ok(()),
    }
}

fn request(ip: IpAddr, probe: &HttpProbe) -> Result<String, String> {
    let standard = if probe.tls { 443 } else { 80 };
    let mut host = match (&probe.host, ip) {
        (Some(name), _) => name.clone(),
        (None, IpAddr::V4(ip)) => ip.to_string(),
        (None, IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    if probe.port != standard {
        host.push_str(&format!(":{}", probe.port));
    }
    // Nothing that is configured makes another line of the request.
    if [&host, &probe.path].iter().any(|part| part.bytes().any(|b| !b.is_ascii_graphic())) {
        return Err("the URL has a character that none may have".to_owned());
    }
    let method = if probe.head { "HEAD" } else { "GET" };
    let (path, version) = (&probe.path, env!("CARGO_PKG_VERSION"));
    Ok(format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: mwan/{version}\r\naccept: */*\r\nconnection: close\r\n\r\n"
    ))
}

/// What an answer begins with.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    status: u16,
    /// Where it leads to, if it does.
    location: Option<String>,
    body: Body,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Body {
    /// After so many bytes.
    Length(usize),
    /// After the chunk without bytes.
    Chunked,
    /// At the end of the connection.
    Close,
}

/// Reads the answer's head; with what was read of its body.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Head, Vec<u8>), String> {
    let (mut bytes, mut begin) = (Vec::new(), 0);
    loop {
        if read(stream, &mut bytes, HEAD_MAX).await? == 0 {
            let full = bytes.len() == HEAD_MAX;
            return Err(if full {
                "the head is too large"
            } else {
                "the connection was closed without an answer"
            }
            .to_owned());
        }
        while let Some((length, head)) = parse(&bytes[begin..])? {
            begin += length;
            // Interim answers come before the final one (RFC 9110 section 15.2).
            if !(100..200).contains(&head.status) || head.status == 101 {
                bytes.drain(..begin);
                return Ok((head, bytes));
            }
        }
    }
}

/// Reads some bytes; 0: there is no room for more, or that was all.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
    most: usize,
) -> Result<usize, String> {
    let mut buffer = [0; READ_MAX];
    let room = (most - bytes.len().min(most)).min(READ_MAX);
    let length = stream.read(&mut buffer[..room]).await.map_err(|e| error_text(&e))?;
    bytes.extend_from_slice(&buffer[..length]);
    Ok(length)
}

/// A head and its length in bytes; `None`: it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let Status::Complete(length) = response.parse(bytes).map_err(|e| e.to_string())? else { return Ok(None) };
    let field = |name: &str| {
        let own = response.headers.iter().rev().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(own.value).ok().map(str::trim)
    };
    let last_coding = field("transfer-encoding").and_then(|codings| codings.rsplit(',').next());
    let body = match (last_coding, field("content-length").map(str::parse)) {
        (Some(coding), _) if coding.trim().eq_ignore_ascii_case("chunked") => Body::Chunked,
        (None, Some(Ok(length))) => Body::Length(length),
        _ => Body::Close,
    };
    let location = field("location").map(str::to_owned);
    Ok(Some((length, Head { status: response.code.unwrap_or(0), location, body })))
}

fn judge(head: &Head, probe: &HttpProbe) -> Result<(), String> {
    let ((low, high), status) = (probe.status, head.status);
    if (low..=high).contains(&status) {
        return Ok(());
    }
    let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
    let to = head.location.as_deref();
    let to = to.map(|l| format!(" to {}", l.chars().take(QUOTE_MAX).collect::<String>().escape_debug()));
    Err(format!("status {status}{}, expected {expected}", to.unwrap_or_default()))
}

/// Looks for a text in the body, of which `raw` has been read.
async fn find<S>(stream: &mut S, mut raw: Vec<u8>, head: &Head, wanted: &[u8]) -> Result<(), String>
where
    S: AsyncRead + Unpin,
{
    let mut searched = 0usize;
    loop {
        let (mut seen, mut whole) = decode(&raw, head.body)?;
        whole |= seen.len() >= BODY_MAX;
        seen.truncate(BODY_MAX);
        // Who sends byte by byte does not have all of it searched for each.
        let new = &seen[searched.saturating_sub(wanted.len())..];
        if new.windows(wanted.len()).any(|part| part == wanted) {
            return Ok(());
        }
        searched = seen.len();
        if whole || read(stream, &mut raw, RAW_MAX).await? == 0 {
            let (status, length) = (head.status, seen.len());
            return Err(format!("status {status}, but the expected text is not in the first {length} bytes"));
        }
    }
}

/// What there is of the body, and whether that is all.
fn decode(raw: &[u8], body: Body) -> Result<(Vec<u8>, bool), String> {
    match body {
        Body::Length(length) => Ok((raw[..raw.len().min(length)].to_vec(), raw.len() >= length)),
        Body::Chunked => unchunked(raw).ok_or_else(|| "the body's chunks are damaged".to_owned()),
        Body::Close => Ok((raw.to_vec(), false)),
    }
}

/// The bytes of chunks (RFC 9112 section 7.1); `None`: they are none.
fn unchunked(mut raw: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Status::Complete((start, size)) = httparse::parse_chunk_size(raw).ok()? {
        if size == 0 {
            return Some((body, true));
        }
        let data = &raw[start..];
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        body.extend_from_slice(&data[..size.min(data.len())]);
        raw = match data.get(size..) {
            Some([b'\r', b'\n', rest @ ..]) => rest,
            Some([] | [b'\r']) | None => break,
            Some(_) => return None,
        };
    }
    Some((body, false))
}

#[cfg(test)]
mod tests;
