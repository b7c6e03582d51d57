#![allow(clippy::unwrap_used)]
use super::sim::{Card, card_status};
use super::*;

const PIN: &str = "4711";

/// A stand-in: what libqmi's data files say that a modem answers. It keeps what it was told.
struct Fake {
    /// Of the SIM: QmiUimCardApplicationState, QmiUimPinState, wrong PINs left.
    card: (u8, u8, u8),
    right: &'static str,
    has_uim: bool,
    /// Says nothing to a PIN, but counts it.
    mute: bool,
    /// What it answers to a PIN whatever that is.
    error: Option<u16>,
    clients: Vec<u8>,
    pins: Vec<Vec<u8>>,
    profile: Vec<u8>,
    pauses: u32,
    /// Ready after so many pauses.
    starts: u32,
    /// A PIN was told, and it is open what became of it.
    open: bool,
}

impl Fake {
    fn new() -> Self {
        Fake {
            card: (2, 1, 3),
            right: PIN,
            has_uim: true,
            mute: false,
            error: None,
            clients: Vec::new(),
            pins: Vec::new(),
            profile: Vec::new(),
            pauses: 0,
            starts: 0,
            open: false,
        }
    }

    fn verify(&mut self, pin: &[u8]) -> u16 {
        self.pins.push(pin.to_vec());
        if let Some(error) = self.error {
            return error;
        }
        if pin == self.right.as_bytes() {
            self.card = (7, 2, 3);
            return 0;
        }
        self.card.2 -= 1;
        12
    }

    fn reply(&mut self, service: u8, message: u16, values: &[u8]) -> (u16, Vec<u8>) {
        let card = if self.pauses < self.starts { (0, 0, 0) } else { self.card };
        match (service, message) {
            (0, 0x22) if values[3] == 0x0B && !self.has_uim => (31, Vec::new()),
            (0, 0x22) => {
                self.clients.push(values[3]);
                (0, vec![1, 2, 0, values[3], 9])
            }
            (0, 0x23) => {
                self.clients.retain(|service| *service != values[3]);
                (0, Vec::new())
            }
            (0x0B, 0x2F) => (0, [&[0x10, 44, 0][..], &status_of(card)].concat()),
            // Session (3 + 2), then 3 of the value's head, the PIN's id and length.
            (0x0B, 0x26) => (self.verify(&values[10..]), vec![0x10, 2, 0, 2, 10]),
            (2, 0x2B) => (0, vec![0x11, 3, 0, card.1, card.2, 10]),
            (2, 0x28) => (self.verify(&values[5..]), Vec::new()),
            (1, 0x28) => {
                self.profile = values.to_vec();
                (self.error.unwrap_or(0), Vec::new())
            }
            _ => (71, Vec::new()),
        }
    }
}

/// Card Status of one card with an ISIM and a USIM, the latter the primary.
fn status_of((state, pin, left): (u8, u8, u8)) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    bytes.extend([1, 1, 0, 0, 0, 0, 2]);
    bytes.extend([5, 1, 0, 0, 0, 0, 0, 0, 1, 3, 10, 0, 0, 0]);
    bytes.extend([2, state, 0, 0, 0, 0, 1, 0xA0, 0, pin, left, 10, 0, 0, 0]);
    bytes
}

impl Modem for Fake {
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let bytes = request.bytes(5);
        let head = if bytes[4] == 0 { 8 } else { 9 };
        let message = u16::from_le_bytes([bytes[head], bytes[head + 1]]);
        let (error, values) = self.reply(bytes[4], message, &bytes[head + 4..]);
        if self.mute && matches!((bytes[4], message), (0x0B, 0x26)) {
            return Err(Failure::NoAnswer);
        }
        let response = answered(&bytes, error, &values);
        Ok(answer(&response, request, 5).unwrap())
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.pauses += 1;
        Ok(())
    }

    fn telling(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.open, true) { Err(Failure::PinRefused) } else { Ok(()) }
    }

    fn settled(&mut self) {
        self.open = false;
    }
}

/// A modem's answer to a request's bytes.
fn answered(request: &[u8], error: u16, values: &[u8]) -> Vec<u8> {
    let control = request[4] == 0;
    let mut sdu = if control { vec![1, request[7]] } else { vec![2, request[7], request[8]] };
    let head = if control { 8 } else { 9 };
    sdu.extend(&request[head..head + 2]);
    sdu.extend(u16::try_from(7 + values.len()).unwrap().to_le_bytes());
    sdu.extend([2, 4, 0, u8::from(error != 0), 0]);
    sdu.extend(error.to_le_bytes());
    sdu.extend(values);
    let mut bytes = vec![1];
    bytes.extend(u16::try_from(5 + sdu.len()).unwrap().to_le_bytes());
    bytes.extend([0x80, request[4], request[5]]);
    bytes.extend(sdu);
    bytes
}

fn pin() -> Setup {
    Setup { pin: Some(Secret::new(PIN)), profile: None }
}

fn login(auth: Auth) -> Setup {
    let login = Login { user: "me".into(), password: Secret::new("xyzzy"), auth };
    Setup { pin: None, profile: Some(("internet".into(), login)) }
}

/// Worked out by hand from the data files.
#[test]
fn messages_are_the_bytes_of_the_data_files() {
    let allocate = Request::new(Service::Ctl, 0, ALLOCATE_CLIENT).with(0x01, &[0x0B]);
    assert_eq!(allocate.bytes(1), [1, 15, 0, 0, 0, 0, 0, 1, 0x22, 0, 4, 0, 1, 1, 0, 0x0B]);
    let profile = modify_profile(3, "apn", &login(Auth::Chap).profile.unwrap().1).bytes(7);
    let mut bytes = vec![1, 45, 0, 0, 1, 3, 0, 7, 0, 0x28, 0, 33, 0];
    bytes.extend([0x01, 2, 0, 0, 1, 0x11, 1, 0, 0, 0x14, 3, 0]);
    bytes.extend(b"apn\x1b\x02\0me\x1c\x05\0xyzzy\x1d\x01\0\x02");
    bytes[1] = u8::try_from(bytes.len() - 1).unwrap();
    bytes[11] = u8::try_from(bytes.len() - 13).unwrap();
    assert_eq!(profile, bytes);
    let mut fake = Fake::new();
    prepare(&mut fake, &pin()).unwrap();
    assert_eq!(fake.pins, [PIN.as_bytes()]);
}

#[test]
fn a_pin_is_told_to_a_sim_that_asks_and_its_clients_are_given_back() {
    for has_uim in [true, false] {
        let mut fake = Fake { has_uim, starts: 3, ..Fake::new() };
        assert_eq!(prepare(&mut fake, &pin()), Ok(()));
        assert_eq!((fake.pins.len(), fake.clients.len(), fake.pauses), (1, 0, 3));
        // Ready now: it is not told again.
        assert_eq!(prepare(&mut fake, &pin()), Ok(()));
        assert_eq!(fake.pins.len(), 1);
    }
}

#[test]
fn a_sim_that_asks_for_nothing_is_told_nothing() {
    for card in [(7, 2, 3), (7, 3, 3)] {
        for has_uim in [true, false] {
            let mut fake = Fake { card, has_uim, ..Fake::new() };
            assert_eq!(prepare(&mut fake, &pin()), Ok(()));
            assert!(fake.pins.is_empty());
        }
    }
}

#[test]
fn a_wrong_pin_is_told_once() {
    for has_uim in [true, false] {
        let mut fake = Fake { right: "0000", has_uim, ..Fake::new() };
        assert_eq!(prepare(&mut fake, &pin()), Err(Failure::PinRefused));
        assert_eq!((fake.pins.len(), fake.clients.len(), fake.card.2), (1, 0, 2));
    }
}

#[test]
fn a_pin_without_an_answer_is_refused_if_the_sim_counted_it() {
    let mut fake = Fake { right: "0000", mute: true, ..Fake::new() };
    assert_eq!(prepare(&mut fake, &pin()), Err(Failure::PinRefused));
    let mut fake = Fake { mute: true, ..Fake::new() };
    assert_eq!(prepare(&mut fake, &pin()), Ok(()), "it was right");
    // Something else failed, and nothing was counted.
    let mut fake = Fake { error: Some(52), ..Fake::new() };
    assert_eq!(prepare(&mut fake, &pin()), Err(Failure::Modem { what: "the PIN", error: 52 }));
    assert_eq!(fake.pins.len(), 1);
}

/// A SIM that takes longer than an answer may: it counts after it was asked how many are left.
struct Slow(Fake);

impl Modem for Slow {
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let bytes = request.bytes(5);
        if bytes[4] == 0x0B && u16::from_le_bytes([bytes[9], bytes[10]]) == 0x26 {
            self.0.pins.push(Vec::new());
            return Err(Failure::NoAnswer);
        }
        self.0.ask(request)
    }

    fn pause(&mut self) -> Result<(), Failure> {
        self.0.pause()
    }

    fn telling(&mut self) -> Result<(), Failure> {
        self.0.telling()
    }

    fn settled(&mut self) {
        self.0.settled();
    }
}

#[test]
fn a_sim_that_is_slow_to_count_is_told_a_wrong_pin_once() {
    let mut slow = Slow(Fake { right: "0000", ..Fake::new() });
    for _ in 0..3 {
        assert_eq!(prepare(&mut slow, &pin()), Err(Failure::PinRefused));
        assert_eq!((slow.0.pins.len(), slow.0.open), (1, true));
        slow.0.card.2 = 2;
    }
}

/// Who told it may have died before the answer.
#[test]
fn a_pin_whose_fate_is_open_is_not_told_again_unless_the_sim_settles_it() {
    let mut fake = Fake { open: true, ..Fake::new() };
    assert_eq!(prepare(&mut fake, &pin()), Err(Failure::PinRefused));
    assert_eq!((fake.pins.len(), fake.clients.len(), fake.open), (0, 0, true));
    // The SIM took it.
    fake.card = (7, 2, 3);
    assert_eq!(prepare(&mut fake, &pin()), Ok(()));
    assert!(fake.pins.is_empty() && !fake.open);
    for (right, error, open) in [(PIN, None, false), ("0000", None, true), (PIN, Some(52), false)] {
        let mut fake = Fake { right, error, ..Fake::new() };
        let _ = prepare(&mut fake, &pin());
        assert_eq!(fake.open, open, "{right} {error:?}");
    }
}

#[test]
fn the_messages_for_old_modems_are_used_where_the_new_are_unknown() {
    let mut fake = Fake { error: Some(94), ..Fake::new() };
    let end = prepare(&mut fake, &pin());
    assert_eq!(end, Err(Failure::Modem { what: "every message for a PIN", error: 0 }));
    assert_eq!(fake.pins.len(), 2, "by both");
}

#[test]
fn a_locked_sim_is_told_nothing() {
    for card in [(3, 4, 0), (5, 4, 0), (2, 1, 0)] {
        let mut fake = Fake { card, ..Fake::new() };
        assert_eq!(prepare(&mut fake, &pin()), Err(Failure::SimLocked));
        assert!(fake.pins.is_empty());
    }
    let mut fake = Fake { error: Some(35), ..Fake::new() };
    assert_eq!(prepare(&mut fake, &pin()), Err(Failure::SimLocked));
    let mut none = status_of((0, 0, 0));
    none[9] = 0;
    assert_eq!(card_status(&none), Some(Card::Missing));
    assert_eq!(card_status(&none[..20]), None);
}

#[test]
fn a_sim_that_never_starts_is_not_waited_for_for_ever() {
    let mut fake = Fake { starts: u32::MAX, ..Fake::new() };
    let end = prepare(&mut fake, &pin());
    assert_eq!(end, Err(Failure::Modem { what: "to say what its SIM is", error: 0 }));
    assert_eq!((fake.pauses, fake.clients.len()), (LOOKS, 0));
}

#[test]
fn a_login_is_kept_in_the_profile_and_nothing_prints_it() {
    let mut fake = Fake::new();
    assert_eq!(prepare(&mut fake, &login(Auth::Any)), Ok(()));
    assert!(fake.pins.is_empty() && fake.clients.is_empty());
    let text = String::from_utf8_lossy(&fake.profile);
    assert!(text.contains("internet") && text.contains("me") && text.contains("xyzzy"));
    assert!(fake.profile.ends_with(&[0x1D, 1, 0, 3]), "PAP and CHAP");
    let request = modify_profile(1, "internet", &login(Auth::Pap).profile.unwrap().1);
    let printed = format!("{request:?} {:?}", login(Auth::Pap));
    assert!(!printed.contains("xyzzy") && !printed.contains("120"), "{printed}");
    let mut fake = Fake { error: Some(10), ..Fake::new() };
    let end = prepare(&mut fake, &login(Auth::Any)).unwrap_err();
    assert_eq!(end.to_string(), "the modem refused the login for its profile 1 (QMI error 10)");
}

#[test]
fn only_the_answer_to_what_was_asked_is_one() {
    let request = Request::new(Service::Wds, 4, MODIFY_PROFILE);
    let good = answered(&request.bytes(9), 0, &[]);
    assert_eq!(answer(&good, &request, 9).map(|answer| answer.error), Some(0));
    assert_eq!(answer(&good, &request, 8), None, "another transaction");
    assert_eq!(answer(&good, &Request::new(Service::Wds, 5, MODIFY_PROFILE), 9), None, "another client");
    assert_eq!(answer(&good, &Request::new(Service::Wds, 4, 0x20), 9), None, "another message");
    let indication = [&good[..6], &[4], &good[7..]].concat();
    assert_eq!(answer(&indication, &request, 9), None);
}

#[test]
fn frames_are_found_in_what_was_read() {
    let one = answered(&Request::new(Service::Wds, 4, 1).bytes(9), 0, &[]);
    let mut read = [&[0xFF, 7][..], &one, &one[..5]].concat();
    assert_eq!(frame(&mut read), Some(one.clone()));
    assert_eq!(frame(&mut read), None);
    read.extend(&one[5..]);
    assert_eq!(frame(&mut read), Some(one));
    assert!(read.is_empty());
}

proptest::proptest! {
    #[test]
    fn nothing_panics_and_frames_end(mut bytes in proptest::collection::vec(0u8..=255, 0..300), cut in 0usize..60) {
        let _ = card_status(&bytes);
        let mut status = status_of((2, 1, 3));
        status.truncate(cut);
        let _ = card_status(&status);
        let request = Request::new(Service::Uim, 1, 0x26);
        let _ = answer(&bytes, &request, 1);
        let mut inside = vec![1, 100, 0, 0x80, 0x0B, 1, 2, 1, 0, 0x26, 0];
        inside.extend(&bytes);
        let _ = answer(&inside, &request, 1);
        let length = bytes.len();
        while let Some(found) = frame(&mut bytes) {
            proptest::prop_assert!(found.len() >= 6 && found.len() <= length);
        }
    }

    #[test]
    fn what_is_answered_is_read(error in 0u16..200, value in proptest::collection::vec(0u8..=255, 0..200), t in 1u8..=255) {
        let values = [&[0x10][..], &u16::try_from(value.len()).unwrap().to_le_bytes(), &value].concat();
        for service in [Service::Ctl, Service::Uim] {
            let request = Request::new(service, 1, 0x26).with(0x01, &value);
            let mut bytes = answered(&request.bytes(t), error, &values);
            let whole = frame(&mut bytes).unwrap();
            let found = answer(&whole, &request, t).unwrap();
            proptest::prop_assert_eq!((found.error, found.value(0x10)), (error, Some(value.as_slice())));
        }
    }
}
