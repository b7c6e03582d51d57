//! The PIN: told to a SIM that asks for it, once.

use mwan_config::link::Secret;

use super::wire::u16_at;
use super::{Answer, LOOKS, Modem, Request, Service, client, refused};
use crate::outcome::Failure;

/// UIM.
const UIM_VERIFY_PIN: u16 = 0x0026;
const UIM_CARD_STATUS: u16 = 0x002F;
/// DMS.
const DMS_VERIFY_PIN: u16 = 0x0028;
const DMS_PIN_STATUS: u16 = 0x002B;
/// QmiUimPinId, QmiDmsUimPinId.
const PIN1: u8 = 1;

/// QmiProtocolError.
const INCORRECT_PIN: u16 = 12;
const NO_EFFECT: u16 = 26;
const PIN_BLOCKED: u16 = 35;
const PIN_ALWAYS_BLOCKED: u16 = 36;
/// The modem does not know the message: DeviceUnsupported, InvalidQmiCommand, NotSupported.
const UNKNOWN: [u16; 3] = [25, 71, 94];

/// What the SIM says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Card {
    /// Not yet what it will be.
    Starting,
    /// It asks for no PIN.
    Ready,
    /// It does, and takes so many wrong ones.
    Asks(u8),
    /// There is none.
    Missing,
    /// It wants its PUK.
    Locked,
}

/// Which messages there are for it.
#[derive(Clone, Copy)]
enum By {
    Uim,
    Dms,
}

impl By {
    fn service(self) -> Service {
        match self {
            By::Uim => Service::Uim,
            By::Dms => Service::Dms,
        }
    }

    fn status(self, client: u8) -> Request {
        let message = match self {
            By::Uim => UIM_CARD_STATUS,
            By::Dms => DMS_PIN_STATUS,
        };
        Request::new(self.service(), client, message)
    }

    fn read(self, answer: &Answer) -> Option<Card> {
        match self {
            By::Uim => card_status(answer.value(0x10)?),
            By::Dms => Some(pin_state(*answer.value(0x11)?.first()?, answer.value(0x11)?.get(1).copied())),
        }
    }

    fn verify(self, client: u8, pin: &Secret) -> Request {
        let pin = pin.reveal().as_bytes();
        // The configuration has it that there are eight digits at most.
        let info = [&[PIN1, u8::try_from(pin.len()).unwrap_or(u8::MAX)], pin].concat();
        match self {
            // Session: of the primary provisioning (QmiUimSessionType), whose application is known.
            By::Uim => {
                Request::new(Service::Uim, client, UIM_VERIFY_PIN).with(0x01, &[0, 0]).with(0x02, &info)
            }
            By::Dms => Request::new(Service::Dms, client, DMS_VERIFY_PIN).with(0x01, &info),
        }
    }
}

/// Makes the SIM ready.
pub(super) fn unlock(modem: &mut dyn Modem, pin: &Secret) -> Result<(), Failure> {
    for by in [By::Uim, By::Dms] {
        if client(modem, by.service(), &mut |modem, client| unlock_by(modem, by, client, pin))?
            .flatten()
            .is_some()
        {
            return Ok(());
        }
    }
    Err(Failure::Modem { what: "every message for a PIN", error: 0 })
}

/// `None` if the modem does not know these messages.
fn unlock_by(modem: &mut dyn Modem, by: By, client: u8, pin: &Secret) -> Result<Option<()>, Failure> {
    let Some(card) = look(modem, by, client)? else { return Ok(None) };
    let left = match card {
        Card::Ready => {
            modem.settled();
            return Ok(Some(()));
        }
        Card::Missing => return Err(Failure::NoSim),
        Card::Locked | Card::Asks(0) => return Err(Failure::SimLocked),
        Card::Starting => return Err(Failure::Modem { what: "to say what its SIM is", error: 0 }),
        Card::Asks(left) => left,
    };
    modem.telling()?;
    let end = tell(modem, by, client, pin, left);
    // What was refused, or may have been, stays open.
    if !matches!(end, Err(Failure::PinRefused | Failure::SimLocked)) {
        modem.settled();
    }
    end
}

/// Tells the PIN to a SIM that takes `left` wrong ones.
fn tell(modem: &mut dyn Modem, by: By, client: u8, pin: &Secret, left: u8) -> Result<Option<()>, Failure> {
    let unclear = match modem.ask(&by.verify(client, pin)) {
        Ok(answer) => match answer.error {
            0 | NO_EFFECT => return Ok(Some(())),
            INCORRECT_PIN => return Err(Failure::PinRefused),
            PIN_BLOCKED | PIN_ALWAYS_BLOCKED => return Err(Failure::SimLocked),
            error if UNKNOWN.contains(&error) => return Ok(None),
            _ => Some(refused("the PIN", &answer)),
        },
        Err(_) => None,
    };
    // Nobody said whether the PIN was wrong: the SIM has counted if it was, or, without any answer, may still be about to.
    // Where it does not say either, it is not tried again.
    match (look(modem, by, client), unclear) {
        (Ok(Some(Card::Ready)), _) => Ok(Some(())),
        (Ok(Some(Card::Asks(now))), Some(unclear)) if now >= left => Err(unclear),
        _ => Err(Failure::PinRefused),
    }
}

/// What the SIM is, as soon as it is anything; `None` if the modem does not know the message.
fn look(modem: &mut dyn Modem, by: By, client: u8) -> Result<Option<Card>, Failure> {
    let mut card = Card::Starting;
    for _ in 0..LOOKS {
        let answer = modem.ask(&by.status(client))?;
        if UNKNOWN.contains(&answer.error) {
            return Ok(None);
        }
        // Some answer with errors while the SIM starts.
        card = by.read(&answer).filter(|_| answer.error == 0).unwrap_or(Card::Starting);
        if !matches!(card, Card::Starting | Card::Missing) {
            break;
        }
        modem.pause()?;
    }
    Ok(Some(card))
}

/// QmiUimPinState, and QmiDmsUimPinStatus, which has two more: unblocked, changed.
fn pin_state(state: u8, left: Option<u8>) -> Card {
    match state {
        1 => left.map_or(Card::Starting, Card::Asks),
        2 | 3 | 6 | 7 => Card::Ready,
        4 | 5 => Card::Locked,
        _ => Card::Starting,
    }
}

/// An application of a SIM.
struct Application {
    kind: u8,
    state: u8,
    pin: Card,
}

/// Card Status: four indices (the first is that of the primary GSM or UMTS application: card, application), then cards with
/// applications. `None` if it is cut.
pub(super) fn card_status(bytes: &[u8]) -> Option<Card> {
    let index = u16_at(bytes, 0)?;
    let mut rest = bytes.get(8..)?;
    let (mut cards, mut present) = (Vec::new(), false);
    for _ in 0..byte(&mut rest)? {
        let [state, upin, left, _puk, _error] = take(&mut rest)?;
        present |= state == 1;
        let mut applications = Vec::new();
        for _ in 0..byte(&mut rest)? {
            applications.push(application(&mut rest, pin_state(upin, Some(left)))?);
        }
        cards.push(applications);
    }
    if !present {
        return Some(Card::Missing);
    }
    let [card, application] = index.to_be_bytes();
    // QmiUimCardApplicationType: SIM, USIM.
    let named = cards.get(usize::from(card)).and_then(|card| card.get(usize::from(application)));
    let Some(found) = named.or_else(|| cards.iter().flatten().find(|a| matches!(a.kind, 1 | 2))) else {
        return Some(Card::Starting);
    };
    // QmiUimCardApplicationState.
    Some(match found.state {
        2 => found.pin,
        3 | 5 | 6 => Card::Locked,
        4 | 7 => Card::Ready,
        _ => Card::Starting,
    })
}

fn application(rest: &mut &[u8], upin: Card) -> Option<Application> {
    let [kind, state, _, _, _, _] = take(rest)?;
    let identifier = usize::from(byte(rest)?);
    *rest = rest.get(identifier..)?;
    // UPIN replaces PIN1; PIN1: state, left, PUKs left; PIN2: the same.
    let [replaced, pin, left, _, _, _, _] = take(rest)?;
    let pin = if replaced == 1 { upin } else { pin_state(pin, Some(left)) };
    Some(Application { kind, state, pin })
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    take::<1>(rest).map(|[byte]| byte)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}
