//! `struct blob_attr`: a big-endian word of flag, id and length (header included), then the data, padded with zeros to a
//! multiple of four.

use crate::{Error, MESSAGE_BYTES_MAX};

/// Size of the header.
pub(crate) const HEADER: usize = 4;
/// `BLOB_ATTR_EXTENDED`: a name follows the header.
const EXTENDED: u32 = 0x8000_0000;
/// `BLOB_ATTR_LEN_MASK`
const LENGTH: u32 = 0x00ff_ffff;
/// `BLOB_ATTR_ID_SHIFT`
const ID_SHIFT: u32 = 24;

/// One attribute, its data not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Raw<'a> {
    pub(crate) id: u8,
    pub(crate) extended: bool,
    pub(crate) data: &'a [u8],
}

/// Rounded up to the next attribute.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The attributes in a block of data.
pub(crate) struct Attrs<'a> {
    rest: &'a [u8],
}

impl<'a> Attrs<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Attrs { rest: data }
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Raw<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match raw(self.rest) {
            Ok((attr, length)) => {
                // The last one may come without its padding.
                self.rest = self.rest.get(padded(length)..).unwrap_or_default();
                Some(Ok(attr))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// The attribute at the beginning of `bytes`, and its length without padding.
fn raw(bytes: &[u8]) -> Result<(Raw<'_>, usize), Error> {
    let short = Error::Length { length: HEADER, room: bytes.len() };
    let word = u32::from_be_bytes(*bytes.first_chunk().ok_or(short)?);
    let length = (word & LENGTH) as usize;
    let data = bytes.get(HEADER..length).ok_or(Error::Length { length, room: bytes.len() })?;
    let id = ((word & !EXTENDED) >> ID_SHIFT) as u8;
    Ok((Raw { id, extended: word & EXTENDED != 0, data }, length))
}

/// Appends an attribute whose data `fill` writes.
pub(crate) fn put(
    out: &mut Vec<u8>,
    id: u8,
    extended: bool,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let start = out.len();
    out.extend([0; HEADER]);
    fill(out)?;
    let length = out.len() - start;
    if length > MESSAGE_BYTES_MAX {
        return Err(Error::TooLong(length));
    }
    let flag = if extended { EXTENDED } else { 0 };
    let word = flag | u32::from(id & 0x7f) << ID_SHIFT | length as u32;
    out[start..start + HEADER].copy_from_slice(&word.to_be_bytes());
    out.resize(start + padded(length), 0);
    Ok(())
}

/// A number attribute.
pub(crate) fn word(data: &[u8], id: u8) -> Result<u32, Error> {
    data.try_into().map(u32::from_be_bytes).map_err(|_| Error::BadValue { kind: id })
}

/// Text with its closing zero.
pub(crate) fn text(data: &[u8], id: u8) -> Result<&[u8], Error> {
    data.strip_suffix(&[0]).ok_or(Error::BadValue { kind: id })
}
