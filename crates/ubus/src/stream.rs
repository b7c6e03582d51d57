//! Messages out of a stream of bytes that is cut anywhere.

use crate::{Error, Message};

/// Bytes received and not yet taken as messages.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    /// Taken already.
    start: usize,
}

impl Stream {
    /// Takes in what was read. Call [`Stream::next`] until it has no more before the next read: then never more than one
    /// message and one read are held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// The bytes are no ubus: what follows has no meaning either, and the connection is to be closed. A message whose
    /// frame is right and whose content is not costs only itself: the call after that goes on behind it.
    #[allow(clippy::should_implement_trait)] // an iterator that ends would be taken for the end of the stream
    pub fn next(&mut self) -> Result<Option<Message>, Error> {
        let rest = &self.bytes[self.start..];
        let Some(length) = Message::length(rest)? else { return Ok(None) };
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let message = Message::decode(bytes);
        self.start += length;
        message.map(Some)
    }

    /// Whether an error of [`Stream::next`] leaves the stream usable: the frame was right, only its content was not.
    pub fn usable(&self) -> bool {
        Message::length(&self.bytes[self.start..]).is_ok()
    }
}
