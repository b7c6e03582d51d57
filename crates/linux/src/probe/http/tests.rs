use proptest::prelude::*;

use super::*;

/// Bytes come in pieces of `size`.
struct Pieces(Vec<u8>, usize);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let length = self.1.min(self.0.len()).min(buffer.remaining());
        let piece: Vec<u8> = self.0.drain(..length).collect();
        buffer.put_slice(&piece);
        std::task::Poll::Ready(Ok(()))
    }
}

/// The status, and whether `wanted` is in the body.
fn answer(bytes: &[u8], size: usize, wanted: &str) -> Result<u16, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut stream = Pieces(bytes.to_vec(), size);
        let (head, rest) = read_head(&mut stream).await?;
        find(&mut stream, rest, &head, wanted.as_bytes()).await.map(|()| head.status)
    })
}

#[test]
fn the_end_of_a_body_is_found() {
    let not =
        |length: usize| Err(format!("status 200, but the expected text is not in the first {length} bytes"));
    for (bytes, wanted, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", "hello", Ok(200)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", "more", not(5)),
        ("HTTP/1.1 200 OK\r\n\r\nhello, and more", "more", Ok(200)),
        ("HTTP/1.0 200 OK\r\n\r\nhello", "more", not(5)),
        // Cut in the middle of the text, with an extension, a trailer and a length that does not count.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n",
            "hello",
            Ok(200),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nmore", "more", not(5)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello",
            "hello",
            Err("the body's chunks are damaged".to_owned()),
        ),
        ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nhello", "hello", Ok(404)),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "hello",
            Err("the connection was closed without an answer".to_owned()),
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", "hello", Err("invalid HTTP version".to_owned())),
        ("", "hello", Err("the connection was closed without an answer".to_owned())),
    ] {
        for size in [1, 7, 4096] {
            assert_eq!(answer(bytes.as_bytes(), size, wanted), expected, "{size}: {bytes:?}");
        }
    }
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(60)).repeat(60);
    assert!(answer(endless.as_bytes(), 4096, "x").is_err());
    // Interim answers without an end are no answer.
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX / 20);
    for size in [1, 4096] {
        assert_eq!(answer(interim.as_bytes(), size, "x"), Err("the head is too large".to_owned()));
    }
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(2 * HEAD_MAX));
    assert_eq!(answer(long.as_bytes(), 4096, "x"), Err("the head is too large".to_owned()));
}

#[test]
fn a_request_is_one() {
    let mut probe = HttpProbe {
        port: 80,
        tls: false,
        host: Some("www.example.org".into()),
        path: "/a?b".into(),
        head: false,
        status: (200, 299),
        body: None,
    };
    let ip = IpAddr::from([192, 0, 2, 1]);
    let text = request(ip, &probe).expect("a request");
    assert!(text.starts_with("GET /a?b HTTP/1.1\r\nhost: www.example.org\r\n"), "{text}");
    probe.path = "/ HTTP/1.1\r\nx: y".into();
    assert!(request(ip, &probe).is_err());
}

proptest! {
    /// Whatever a stranger sends is bounded and ends; chunks come out as they went in, however they are cut.
    #[test]
    fn strangers_may_send_anything(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        chunks in prop::collection::vec("[a-z]{1,40}", 0..20),
        size in 1..50usize,
    ) {
        let _ = answer(&bytes, size, "x");
        let _ = answer(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", bytes.as_slice()].concat(), size, "x");
        let mut raw: Vec<u8> = chunks.iter().flat_map(|c| format!("{:x}\r\n{c}\r\n", c.len()).into_bytes()).collect();
        raw.extend(b"0\r\n\r\n");
        prop_assert_eq!(unchunked(&raw), Some((chunks.concat().into_bytes(), true)));
    }
}
