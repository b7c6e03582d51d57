//! A connection that does not wait for ever for a client to read, and whose refusals of malformed requests are JSON, too.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::error::ApiError;

/// A client that takes nothing for so long is let go.
const STALLED_MAX: Duration = Duration::from_secs(20);

/// hyper answers what is not HTTP by itself, with a status and nothing else: so do such heads begin and end.
const BARE: (&[u8], &[u8]) = (b"HTTP/1.1 4", b"\r\n\r\n");

/// A connection, guarded.
pub(crate) struct Guarded<S> {
    inner: S,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Written in place of something else: what, how much of it is out, how long the other was.
    instead: Option<(Vec<u8>, usize, usize)>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S) -> Self {
        Guarded { inner, stalled: None, instead: None }
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    fn write(&mut self, cx: &mut Context<'_>, bytes: Option<&[u8]>) -> Poll<io::Result<usize>> {
        let written = match (bytes, &mut self.instead) {
            (Some(bytes), None) => Pin::new(&mut self.inner).poll_write(cx, bytes),
            (Some(_), Some((instead, out, _))) => {
                Pin::new(&mut self.inner).poll_write(cx, instead.get(*out..).unwrap_or_default())
            }
            (None, _) => Pin::new(&mut self.inner).poll_flush(cx).map_ok(|()| 0),
        };
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED_MAX)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The JSON refusal that takes the place of a bare one.
fn refusal(head: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(head).ok()?;
    let bare = head.starts_with(BARE.0) && head.ends_with(BARE.1) && !text.contains("x-content-type-options");
    let status = text.get(9..12).filter(|_| bare)?.parse().ok()?;
    let status = StatusCode::from_u16(status).ok()?;
    let error = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ApiError::new(status, "headers_too_large", "the headers of the request are too large")
        }
        StatusCode::URI_TOO_LONG => {
            ApiError::new(status, "uri_too_long", "the address of the request is too long")
        }
        _ => ApiError::new(status, "malformed", "this is not an HTTP/1.1 request"),
    };
    let body = error.json().to_string();
    let reason = status.canonical_reason().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\n\r\n",
        status.as_u16(),
        body.len()
    );
    Some((head + &body).into_bytes())
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none()
            && let Some(instead) = refusal(bytes)
        {
            self.instead = Some((instead, 0, bytes.len()));
        }
        loop {
            let written = ready!(self.write(cx, Some(bytes)))?;
            let Some((instead, out, length)) = &mut self.instead else { return Poll::Ready(Ok(written)) };
            *out += written;
            if *out >= instead.len() || written == 0 {
                let length = *length;
                self.instead = None;
                return Poll::Ready(Ok(length));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, None).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn only_bare_refusals_are_replaced_however_little_is_taken_at_once() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let write = async move {
            let mut guarded = Guarded::new(ours);
            guarded.write_all(bare).await.unwrap();
            guarded
                .write_all(b"HTTP/1.1 404 Not Found\r\nx-content-type-options: nosniff\r\n\r\n")
                .await
                .unwrap();
            guarded.write_all(b"HTTP/1.1 4").await.unwrap();
        };
        let mut text = String::new();
        tokio::join!(write, async { theirs.read_to_string(&mut text).await.unwrap() });
        let (first, rest) = text.split_once("HTTP/1.1 404").unwrap();
        let body = first.split_once("\r\n\r\n").unwrap().1;
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "headers_too_large");
        assert!(rest.ends_with("\r\n\r\nHTTP/1.1 4"), "{rest}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_let_go() {
        let (ours, _theirs) = tokio::io::duplex(7);
        let error = Guarded::new(ours).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
