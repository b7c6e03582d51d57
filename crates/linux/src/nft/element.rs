//! One element of a set of ours, asked for by its key: a set of a hundred thousand is not read for one address.

use std::net::IpAddr;
use std::time::Duration;

use super::{NftSocket, attr, message};
use crate::netlink::{RequestError, Writer, u64_be};
use crate::rt::octets;

/// What a set has of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Time until it leaves; `None`: it stays.
    pub left: Option<Duration>,
}

impl NftSocket {
    /// What a set of our table has of these addresses; of ranges the one around it (nft_rbtree_get). `None`: nothing, or there
    /// is no such set.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn element(&mut self, set: &str, key: &[IpAddr]) -> Result<Option<Found>, RequestError> {
        let mut request = Self::about_table(message::GET_ELEMENTS);
        request.put_str(attr::LIST_SET, set);
        request.nest(attr::LIST_ELEMENTS, |list| {
            list.nest(attr::LIST_ELEM, |element| write_key(element, key));
        });
        let mut found = None;
        let answer = self.socket.query(request, &mut |m| {
            let mut elements = m.attributes(4).nested(attr::LIST_ELEMENTS);
            if let Some((_, element)) = elements.next().filter(|_| m.kind == message::NEW_ELEMENTS) {
                let left = crate::netlink::Attributes(element).find(attr::ELEM_EXPIRATION).and_then(u64_be);
                found = Some(Found { left: left.map(Duration::from_millis) });
            }
        });
        match answer {
            Err(RequestError::Kernel(error)) if error.errno == libc::ENOENT => Ok(None),
            other => other.map(|()| found),
        }
    }
}

/// Addresses one behind the other: a key of one or of two of them.
pub(crate) fn write_key(element: &mut Writer, key: &[IpAddr]) {
    let bytes: Vec<u8> = key.iter().flat_map(|ip| octets(*ip)).collect();
    element.nest(attr::ELEM_KEY, |w| w.put(attr::DATA_VALUE, &bytes));
}
