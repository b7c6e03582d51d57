//! blobmsg: named values of a few types.

use crate::blob::{self, Attrs, Raw};
use crate::{DEPTH_MAX, Error};

const ARRAY: u8 = 1;
const TABLE: u8 = 2;
const STRING: u8 = 3;
const INT64: u8 = 4;
const INT32: u8 = 5;
const INT16: u8 = 6;
const BOOL: u8 = 7;
const DOUBLE: u8 = 8;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `BLOBMSG_TYPE_UNSPEC`: JSON's null, with data that nobody looks at.
    Unspecified(Vec<u8>),
    /// Values without names; their names, if somebody gave them some, are not kept.
    Array(Vec<Value>),
    /// Values with names.
    Table(Table),
    /// Bytes, most often UTF-8, without the closing zero.
    Text(Vec<u8>),
    /// 64 bits.
    Int64(i64),
    /// 32 bits.
    Int32(i32),
    /// 16 bits.
    Int16(i16),
    /// A byte: a boolean if it is 0 or 1.
    Int8(u8),
    /// A floating point number, as its bits: so that every one equals itself.
    Double(u64),
}

impl Value {
    /// The text, if it is one and UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The number, whatever its size.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int64(n) => Some(*n),
            Value::Int32(n) => Some(i64::from(*n)),
            Value::Int16(n) => Some(i64::from(*n)),
            Value::Int8(n) => Some(i64::from(*n)),
            _ => None,
        }
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Int8(n) => Some(*n != 0),
            _ => None,
        }
    }

    /// The table.
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Value::Unspecified(_) => 0,
            Value::Array(_) => ARRAY,
            Value::Table(_) => TABLE,
            Value::Text(_) => STRING,
            Value::Int64(_) => INT64,
            Value::Int32(_) => INT32,
            Value::Int16(_) => INT16,
            Value::Int8(_) => BOOL,
            Value::Double(_) => DOUBLE,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.as_bytes().to_vec())
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Int8(u8::from(b))
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Value::Int32(n)
    }
}

/// A count as 32 bits, the form every reader expects; one that does not fit is the largest.
impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Value::Int32(i32::try_from(n).unwrap_or(i32::MAX))
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Value::Table(table)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Array(items)
    }
}

/// Named values in their order on the wire. A name may occur more than once; the last one counts, as in libubox.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table(pub Vec<(String, Value)>);

impl Table {
    /// Nothing.
    pub fn new() -> Self {
        Table::default()
    }

    /// With one more value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.put(name, value);
        self
    }

    /// Appends a value.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The text called `name`.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The items of the array called `name`; none if there is no such array.
    pub fn array(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).unwrap_or_default()
    }

    pub(crate) fn decode(data: &[u8], depth: usize) -> Result<Self, Error> {
        let entry = |raw: Result<Raw<'_>, Error>| named(&raw?, depth);
        Attrs::new(data).map(entry).collect::<Result<_, _>>().map(Table)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
        self.0.iter().try_for_each(|(name, value)| put(out, name, value, depth))
    }
}

/// What a parameter of a method takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ParamType {
    Any = 0,
    Array = ARRAY as isize,
    Table = TABLE as isize,
    Text = STRING as isize,
    Int = INT32 as isize,
    Bool = BOOL as isize,
}

/// `struct blobmsg_hdr`: the length of the name, the name, a zero; then, at a multiple of four, the data.
fn named(raw: &Raw<'_>, depth: usize) -> Result<(String, Value), Error> {
    // Without a name (blob.h allows it, blobmsg_check_attr does not) it is no value of a table.
    let bad = Error::BadValue { kind: raw.id };
    let length =
        usize::from(u16::from_be_bytes(*raw.data.first_chunk().filter(|_| raw.extended).ok_or(bad)?));
    let header = blob::padded(2 + length + 1);
    let (head, data) = raw.data.split_at_checked(header).ok_or(bad)?;
    let (name, end) = head[2..].split_at(length);
    if end[0] != 0 || name.contains(&0) {
        return Err(bad);
    }
    let name = std::str::from_utf8(name).map_err(|_| Error::BadName)?;
    Ok((name.to_owned(), value(raw.id, data, depth)?))
}

fn value(kind: u8, data: &[u8], depth: usize) -> Result<Value, Error> {
    let bad = Error::BadValue { kind };
    Ok(match kind {
        ARRAY | TABLE if depth == 0 => return Err(Error::TooDeep),
        0 => Value::Unspecified(data.to_vec()),
        ARRAY => {
            let item = |(_, value)| value;
            let items = Attrs::new(data).map(|raw| named(&raw?, depth - 1).map(item));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        TABLE => Value::Table(Table::decode(data, depth - 1)?),
        STRING => Value::Text(blob::text(data, kind)?.to_vec()),
        INT64 => Value::Int64(i64::from_be_bytes(data.try_into().map_err(|_| bad)?)),
        INT32 => Value::Int32(i32::from_be_bytes(data.try_into().map_err(|_| bad)?)),
        INT16 => Value::Int16(i16::from_be_bytes(data.try_into().map_err(|_| bad)?)),
        BOOL => match data {
            [byte] => Value::Int8(*byte),
            _ => return Err(bad),
        },
        DOUBLE => Value::Double(u64::from_be_bytes(data.try_into().map_err(|_| bad)?)),
        _ => return Err(bad),
    })
}

fn put(out: &mut Vec<u8>, name: &str, value: &Value, depth: usize) -> Result<(), Error> {
    let length = u16::try_from(name.len()).map_err(|_| Error::UnwritableName)?;
    if name.contains('\0') {
        return Err(Error::UnwritableName);
    }
    blob::put(out, value.kind(), true, |out| {
        out.extend(length.to_be_bytes());
        out.extend(name.as_bytes());
        let header = 2 + name.len() + 1;
        out.resize(out.len() + 1 + blob::padded(header) - header, 0);
        put_data(out, value, depth)
    })
}

fn put_data(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Error> {
    let deeper = || depth.checked_sub(1).ok_or(Error::TooDeep);
    match value {
        Value::Unspecified(data) => out.extend(data),
        Value::Array(items) => {
            let depth = deeper()?;
            items.iter().try_for_each(|item| put(out, "", item, depth))?;
        }
        Value::Table(table) => table.encode(out, deeper()?)?,
        Value::Text(text) => {
            out.extend(text);
            out.push(0);
        }
        Value::Int64(n) => out.extend(n.to_be_bytes()),
        Value::Int32(n) => out.extend(n.to_be_bytes()),
        Value::Int16(n) => out.extend(n.to_be_bytes()),
        Value::Int8(n) => out.push(*n),
        Value::Double(bits) => out.extend(bits.to_be_bytes()),
    }
    Ok(())
}

/// Depth left at the outermost table of a message.
pub(crate) const DEPTH: usize = DEPTH_MAX;
