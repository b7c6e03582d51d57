//! QMUX: messages to bytes and back.

use std::fmt;

/// Longest frame: the length is of 16 bits, behind a marker of one byte.
pub const FRAME_BYTES_MAX: usize = 1 + u16::MAX as usize;

const MARKER: u8 = 0x01;
/// Marker, length, flags, service, client.
const HEAD: usize = 6;
/// Result: status and error.
const RESULT: u8 = 0x02;

/// A service of the modem's (QmiService).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Service {
    /// Of the others: their clients.
    Ctl = 0x00,
    /// Wireless data.
    Wds = 0x01,
    /// The device; on old modems, its SIM.
    Dms = 0x02,
    /// The SIM.
    Uim = 0x0B,
}

impl Service {
    /// Transactions are counted in one byte there, in two elsewhere; the flags of an answer differ, too.
    fn is_control(self) -> bool {
        self == Service::Ctl
    }
}

/// What a modem is asked. What it holds may be secret: nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    service: Service,
    client: u8,
    message: u16,
    values: Vec<u8>,
}

impl Request {
    pub(super) fn new(service: Service, client: u8, message: u16) -> Self {
        Request { service, client, message, values: Vec::new() }
    }

    /// One value more. All of ours are shorter than 512 bytes: the configuration bounds them.
    pub(super) fn with(mut self, kind: u8, value: &[u8]) -> Self {
        self.values.push(kind);
        self.values.extend(length(value.len()));
        self.values.extend(value);
        self
    }

    /// As bytes for the modem; `transaction` is told again by the answer, and not 0.
    pub fn bytes(&self, transaction: u8) -> Vec<u8> {
        let control = self.service.is_control();
        let head = if control { 2 } else { 3 };
        let mut bytes = vec![MARKER];
        bytes.extend(length(HEAD - 1 + head + 4 + self.values.len()));
        // From the host; service and client; a request.
        bytes.extend([0, self.service as u8, self.client, 0, transaction]);
        if !control {
            bytes.push(0);
        }
        bytes.extend(self.message.to_le_bytes());
        bytes.extend(length(self.values.len()));
        bytes.extend(&self.values);
        bytes
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#06x}", self.service, self.message)
    }
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes()
}

/// What a modem answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// QmiProtocolError; 0 is success.
    pub error: u16,
    values: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    pub(super) fn value(&self, kind: u8) -> Option<&[u8]> {
        self.values.iter().find(|(k, _)| *k == kind).map(|(_, value)| value.as_slice())
    }
}

/// Takes the first whole frame out of what was read. What is none is thrown away.
pub fn frame(read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let start = read.iter().position(|byte| *byte == MARKER).unwrap_or(read.len());
    read.drain(..start);
    let whole = 1 + usize::from(u16_at(read, 1)?);
    if whole < HEAD {
        read.drain(..1);
        return None;
    }
    (read.len() >= whole).then(|| read.drain(..whole).collect())
}

/// What a frame answers to `request`; `None` if it is something else: an indication, an answer to somebody else, or no frame.
pub fn answer(frame: &[u8], request: &Request, transaction: u8) -> Option<Answer> {
    let control = request.service.is_control();
    let (response, head) = if control { (0x01, 2) } else { (0x02, 3) };
    let named = frame.get(4..HEAD)? == [request.service as u8, request.client];
    let message = frame.get(HEAD..)?;
    let counted = if control { u16::from(*message.get(1)?) } else { u16_at(message, 1)? };
    let same = named
        && message.first()? == &response
        && counted == u16::from(transaction)
        && u16_at(message, head)? == request.message;
    let length = usize::from(u16_at(message, head + 2)?);
    let values = values(message.get(head + 4..head + 4 + length).filter(|_| same)?)?;
    let answer = Answer { error: 0, values };
    let result = answer.value(RESULT)?;
    let (status, error) = (u16_at(result, 0)?, u16_at(result, 2)?);
    // A failure without a reason is one, too (QMI_PROTOCOL_ERROR_INTERNAL).
    let error = if status == 0 {
        0
    } else if error == 0 {
        3
    } else {
        error
    };
    Some(Answer { error, ..answer })
}

fn values(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut values = Vec::new();
    while let Some(kind) = bytes.first() {
        let end = 3 + usize::from(u16_at(bytes, 1)?);
        values.push((*kind, bytes.get(3..end)?.to_vec()));
        bytes = &bytes[end..];
    }
    Some(values)
}

/// All numbers are little-endian.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
