//! `struct ubus_msghdr` and the attributes behind it.

use crate::blob::{self, Attrs, HEADER, Raw};
use crate::value::DEPTH;
use crate::{Error, MESSAGE_BYTES_MAX, ParamType, Table, Value};

/// Version, type, sequence number, peer.
pub(crate) const MESSAGE_HEADER: usize = 8;

/// Object of ubusd that takes `register` and `send` of events (`UBUS_SYSTEM_OBJECT_EVENT`).
pub const EVENT_OBJECT: u32 = 1;

/// What a message is (`enum ubus_msg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Hello,
    Status,
    Data,
    Ping,
    Lookup,
    Invoke,
    AddObject,
    RemoveObject,
    Subscribe,
    Unsubscribe,
    Notify,
    Monitor,
    /// A younger protocol's.
    Other(u8),
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::Hello,
        Kind::Status,
        Kind::Data,
        Kind::Ping,
        Kind::Lookup,
        Kind::Invoke,
        Kind::AddObject,
        Kind::RemoveObject,
        Kind::Subscribe,
        Kind::Unsubscribe,
        Kind::Notify,
        Kind::Monitor,
    ];

    fn of(byte: u8) -> Self {
        Kind::ALL.get(usize::from(byte)).copied().unwrap_or(Kind::Other(byte))
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Other(byte) => byte,
            known => Kind::ALL.iter().position(|k| *k == known).map_or(0, |at| at as u8),
        }
    }
}

/// Outcome of a request (`enum ubus_msg_status`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Status {
    Ok = 0,
    InvalidCommand = 1,
    InvalidArgument = 2,
    MethodNotFound = 3,
    NotFound = 4,
    NoData = 5,
    PermissionDenied = 6,
    Timeout = 7,
    NotSupported = 8,
    UnknownError = 9,
    ConnectionFailed = 10,
}

/// The methods of an object, each with its parameters and their types.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Signature(pub Table);

impl Signature {
    /// With one more method.
    #[must_use]
    pub fn method(mut self, name: &str, parameters: &[(&str, ParamType)]) -> Self {
        let put = |table: Table, (name, kind): &(&str, ParamType)| table.with(name, *kind as i32);
        self.0.put(name, parameters.iter().fold(Table::new(), put));
        self
    }

    /// Whether there is such a method.
    pub fn has(&self, method: &str) -> bool {
        self.0.get(method).is_some()
    }
}

/// An attribute of a message (`enum ubus_msg_attr`).
#[derive(Clone, PartialEq, Debug)]
pub enum Attr {
    /// Outcome; [`Status`] or something younger.
    Status(u32),
    /// Path of an object.
    Path(String),
    /// Id of an object.
    ObjectId(u32),
    /// Name of a method, or of an event.
    Method(String),
    /// Id of an object's type.
    TypeId(u32),
    /// Methods of an object.
    Signature(Signature),
    /// Arguments or result.
    Data(Table),
    /// Another object.
    Target(u32),
    /// Whether there are subscribers.
    Active(u8),
    /// No answer is wanted.
    NoReply(u8),
    /// Subscribers, as they are on the wire.
    Subscribers(Vec<u8>),
    /// Who calls.
    User(String),
    /// Which group calls.
    Group(String),
    /// A younger protocol's, and its data.
    Other(u8, Vec<u8>),
}

const STATUS: u8 = 1;
const PATH: u8 = 2;
const OBJECT_ID: u8 = 3;
const METHOD: u8 = 4;
const TYPE_ID: u8 = 5;
const SIGNATURE: u8 = 6;
const DATA: u8 = 7;
const TARGET: u8 = 8;
const ACTIVE: u8 = 9;
const NO_REPLY: u8 = 10;
const SUBSCRIBERS: u8 = 11;
const USER: u8 = 12;
const GROUP: u8 = 13;

impl Attr {
    fn decode(raw: &Raw<'_>) -> Result<Self, Error> {
        let Raw { id, data, .. } = *raw;
        let text = || Ok(std::str::from_utf8(blob::text(data, id)?).map_err(|_| Error::BadName)?.to_owned());
        let byte = || match data {
            [byte] => Ok(*byte),
            _ => Err(Error::BadValue { kind: id }),
        };
        Ok(match id {
            STATUS => Attr::Status(blob::word(data, id)?),
            PATH => Attr::Path(text()?),
            OBJECT_ID => Attr::ObjectId(blob::word(data, id)?),
            METHOD => Attr::Method(text()?),
            TYPE_ID => Attr::TypeId(blob::word(data, id)?),
            SIGNATURE => Attr::Signature(Signature(Table::decode(data, DEPTH)?)),
            DATA => Attr::Data(Table::decode(data, DEPTH)?),
            TARGET => Attr::Target(blob::word(data, id)?),
            ACTIVE => Attr::Active(byte()?),
            NO_REPLY => Attr::NoReply(byte()?),
            SUBSCRIBERS => Attr::Subscribers(data.to_vec()),
            USER => Attr::User(text()?),
            GROUP => Attr::Group(text()?),
            _ => Attr::Other(id, data.to_vec()),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut put = |id, data: &[u8]| {
            blob::put(out, id, false, |out| {
                out.extend(data);
                Ok(())
            })
        };
        let text = |text: &str| [text.as_bytes(), &[0]].concat();
        match self {
            Attr::Status(n) => put(STATUS, &n.to_be_bytes()),
            Attr::Path(path) => put(PATH, &text(path)),
            Attr::ObjectId(n) => put(OBJECT_ID, &n.to_be_bytes()),
            Attr::Method(name) => put(METHOD, &text(name)),
            Attr::TypeId(n) => put(TYPE_ID, &n.to_be_bytes()),
            Attr::Signature(Signature(table)) => {
                blob::put(out, SIGNATURE, false, |out| table.encode(out, DEPTH))
            }
            Attr::Data(table) => blob::put(out, DATA, false, |out| table.encode(out, DEPTH)),
            Attr::Target(n) => put(TARGET, &n.to_be_bytes()),
            Attr::Active(byte) => put(ACTIVE, &[*byte]),
            Attr::NoReply(byte) => put(NO_REPLY, &[*byte]),
            Attr::Subscribers(data) => put(SUBSCRIBERS, data),
            Attr::User(name) => put(USER, &text(name)),
            Attr::Group(name) => put(GROUP, &text(name)),
            Attr::Other(id, data) => put(*id, data),
        }
    }
}

/// One message.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Numbers requests; an answer has its request's.
    pub sequence: u16,
    /// In a greeting the id of the connection, in requests and answers the object or the caller.
    pub peer: u32,
    /// In their order on the wire.
    pub attrs: Vec<Attr>,
}

impl Message {
    /// A message without attributes.
    pub fn new(kind: Kind, sequence: u16, peer: u32) -> Self {
        Message { kind, sequence, peer, attrs: Vec::new() }
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, attr: Attr) -> Self {
        self.attrs.push(attr);
        self
    }

    /// The last attribute that is what `wanted` wants; libubus takes the last too.
    fn last<'a, T>(&'a self, wanted: impl Fn(&'a Attr) -> Option<T>) -> Option<T> {
        self.attrs.iter().rev().find_map(wanted)
    }

    /// The path of an object.
    pub fn path(&self) -> Option<&str> {
        self.last(|a| if let Attr::Path(path) = a { Some(path.as_str()) } else { None })
    }

    /// The name of a method.
    pub fn method(&self) -> Option<&str> {
        self.last(|a| if let Attr::Method(name) = a { Some(name.as_str()) } else { None })
    }

    /// Arguments or result.
    pub fn data(&self) -> Option<&Table> {
        self.last(|a| if let Attr::Data(table) = a { Some(table) } else { None })
    }

    /// The methods of an object.
    pub fn signature(&self) -> Option<&Signature> {
        self.last(|a| if let Attr::Signature(methods) = a { Some(methods) } else { None })
    }

    /// The id of an object.
    pub fn object_id(&self) -> Option<u32> {
        self.last(|a| if let Attr::ObjectId(id) = a { Some(*id) } else { None })
    }

    /// The other object.
    pub fn target(&self) -> Option<u32> {
        self.last(|a| if let Attr::Target(id) = a { Some(*id) } else { None })
    }

    /// The outcome of a request.
    pub fn status(&self) -> Option<u32> {
        self.last(|a| if let Attr::Status(n) = a { Some(*n) } else { None })
    }

    /// Whether an answer is wanted.
    pub fn wants_reply(&self) -> bool {
        !self.attrs.iter().any(|attr| matches!(attr, Attr::NoReply(n) if *n != 0))
    }

    /// As bytes.
    ///
    /// # Errors
    /// If it is too long or too deep, or a name cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![0, self.kind.byte()];
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.peer.to_be_bytes());
        blob::put(&mut out, 0, false, |out| self.attrs.iter().try_for_each(|attr| attr.encode(out)))?;
        if out.len() > MESSAGE_BYTES_MAX {
            return Err(Error::TooLong(out.len()));
        }
        Ok(out)
    }

    /// How long the message at the beginning of `bytes` is, as soon as that can be told.
    pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Error> {
        let Some(header) = bytes.first_chunk::<{ MESSAGE_HEADER + HEADER }>() else { return Ok(None) };
        if header[0] != 0 {
            return Err(Error::Version(header[0]));
        }
        let word = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let attrs = (word & 0x00ff_ffff) as usize;
        if attrs < HEADER {
            return Err(Error::Length { length: attrs, room: HEADER });
        }
        let length = MESSAGE_HEADER + blob::padded(attrs);
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::TooLong(length));
        }
        Ok(Some(length))
    }

    /// The message that `bytes` are, all of them.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match Message::length(bytes)? {
            Some(length) if length == bytes.len() => {}
            other => {
                return Err(Error::Length { length: other.unwrap_or(MESSAGE_HEADER), room: bytes.len() });
            }
        }
        let mut roots = Attrs::new(&bytes[MESSAGE_HEADER..]);
        let root = roots.next().unwrap_or(Err(Error::Length { length: HEADER, room: 0 }))?;
        Ok(Message {
            kind: Kind::of(bytes[1]),
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            peer: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            attrs: Attrs::new(root.data).map(|raw| Attr::decode(&raw?)).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Status> for Attr {
    fn from(status: Status) -> Self {
        Attr::Status(status as u32)
    }
}

impl From<&Signature> for Value {
    fn from(signature: &Signature) -> Self {
        Value::Table(signature.0.clone())
    }
}
