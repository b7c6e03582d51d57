//! The ubus protocol of OpenWrt (libubox `blob.h`, `blobmsg.h`; ubus `ubusmsg.h`), written from its wire format.
//!
//! Pure: bytes in, [`Message`]s out, and back. No socket, no clock. Whatever the bytes, nothing panics, and what is
//! allocated is bounded by [`MESSAGE_BYTES_MAX`].
//!
//! ```
//! use mwan_ubus::{Attr, Kind, Message, Table};
//!
//! let call = Message::new(Kind::Invoke, 1, 0x1234)
//!     .with(Attr::ObjectId(0x1234))
//!     .with(Attr::Method("status".into()))
//!     .with(Attr::Data(Table::new().with("section", "interfaces")));
//! let bytes = call.encode()?;
//! let mut stream = mwan_ubus::Stream::default();
//! stream.push(&bytes);
//! assert_eq!(stream.next()?, Some(call));
//! # Ok::<(), mwan_ubus::Error>(())
//! ```

mod blob;
mod message;
mod stream;
mod value;

pub use message::{Attr, EVENT_OBJECT, Kind, Message, Signature, Status};
pub use stream::Stream;
pub use value::{ParamType, Table, Value};

/// Largest message, bytes, header included (`UBUS_MAX_MSGLEN`, ubusmsg.h).
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of tables and arrays. netifd's deepest answer has 5.
pub const DEPTH_MAX: usize = 32;

/// Bytes that are no message, or a message that has no bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The length in a header does not fit what surrounds it.
    #[error("an attribute of {length} bytes does not fit into the {room} bytes around it")]
    Length {
        /// As the header says.
        length: usize,
        /// What there is.
        room: usize,
    },
    /// The message would be longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes; the limit is {MESSAGE_BYTES_MAX}")]
    TooLong(usize),
    /// A protocol version other than 0.
    #[error("version {0} of the protocol; only 0 is known")]
    Version(u8),
    /// A name or text without its closing zero, or a number of the wrong size.
    #[error("a value of type {kind} that is none")]
    BadValue {
        /// The type of the value, or the id of the attribute.
        kind: u8,
    },
    /// A name that is not UTF-8.
    #[error("a name that is not UTF-8")]
    BadName,
    /// Tables in tables in tables.
    #[error("nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// A name longer than 65535 bytes, or with a zero in it.
    #[error("a name that cannot be written")]
    UnwritableName,
}
