//! The few QMI messages that carry a secret: a PIN for the SIM, a login for the modem's own profile. `qmicli` takes both as
//! arguments only, where every user could read them.
//!
//! Pure: messages to bytes and back, and what is asked in which order. Numbers and layouts are those public implementations
//! agree on: libqmi (named by the files of its `data/`) and the headers of Sierra Wireless's SDK.

mod sim;
mod wire;

use mwan_config::link::{Auth, Login, Secret};

use crate::outcome::Failure;
pub use wire::{Answer, FRAME_BYTES_MAX, Request, Service, answer, frame};

/// The modem's profile that gets the login, of type 3GPP: the one there always is.
pub(crate) const PROFILE: u8 = 1;
/// Pauses until the SIM says what it is.
const LOOKS: u32 = 20;

/// CTL.
const ALLOCATE_CLIENT: u16 = 0x0022;
const RELEASE_CLIENT: u16 = 0x0023;
/// Of libqmi's proxy, which hands everything else on (src/libqmi-glib/qmi-proxy.c).
const PROXY_OPEN: u16 = 0xFF00;
/// WDS.
const MODIFY_PROFILE: u16 = 0x0028;

/// What a modem is told before `qmicli` asks it for a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// Of the SIM; told only to one that asks for it.
    pub pin: Option<Secret>,
    /// Access point and login, kept in the modem's first profile.
    pub profile: Option<(String, Login)>,
}

/// A modem that answers.
pub trait Modem {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There is none in time, or the modem is gone.
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure>;

    /// Waits a moment, before the same is asked again.
    ///
    /// # Errors
    /// There is no more time.
    fn pause(&mut self) -> Result<(), Failure>;

    /// The PIN is about to be told: from now on it is not known whether the SIM has counted, until [`Modem::settled`].
    ///
    /// # Errors
    /// It was told before, and nobody knows what became of it.
    fn telling(&mut self) -> Result<(), Failure>;

    /// The SIM is ready, or has not counted.
    fn settled(&mut self);
}

/// Tells the modem all of it. Clients of the modem's, of which there are few, are given back whatever happens.
///
/// # Errors
/// The SIM refused the PIN, or the modem something else.
pub fn prepare(modem: &mut dyn Modem, setup: &Setup) -> Result<(), Failure> {
    if let Some(pin) = &setup.pin {
        sim::unlock(modem, pin)?;
    }
    match &setup.profile {
        Some((apn, login)) => client(modem, Service::Wds, &mut |modem, client| {
            let answer = modem.ask(&modify_profile(client, apn, login))?;
            if answer.error == 0 { Ok(()) } else { Err(refused("the login for its profile 1", &answer)) }
        })?
        .ok_or(Failure::Modem { what: "a client of its data service", error: 0 }),
        None => Ok(()),
    }
}

/// Has libqmi's proxy speak to `device`.
///
/// # Errors
/// It does not.
pub fn open_by_proxy(modem: &mut dyn Modem, device: &str) -> Result<(), Failure> {
    let request = Request::new(Service::Ctl, 0, PROXY_OPEN).with(0x01, device.as_bytes());
    let answer = modem.ask(&request)?;
    if answer.error == 0 { Ok(()) } else { Err(refused("to be opened by qmi-proxy", &answer)) }
}

fn refused(what: &'static str, answer: &Answer) -> Failure {
    Failure::Modem { what, error: answer.error }
}

/// Does something as a client of a service; `None` if the modem has no such service.
fn client<T>(
    modem: &mut dyn Modem,
    service: Service,
    with: &mut dyn FnMut(&mut dyn Modem, u8) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let allocate = Request::new(Service::Ctl, 0, ALLOCATE_CLIENT).with(0x01, &[service as u8]);
    let answer = modem.ask(&allocate)?;
    // Allocation Info: service, client.
    let Some([_, client]) = answer.value(0x01).filter(|_| answer.error == 0) else { return Ok(None) };
    let client = *client;
    let result = with(modem, client);
    let release = Request::new(Service::Ctl, 0, RELEASE_CLIENT).with(0x01, &[service as u8, client]);
    // Whether it was given back changes nothing of what was done.
    let _ = modem.ask(&release);
    result.map(Some)
}

/// Modify Profile: the profile's identifier (type, index), PDP type, access point, user name, password, and how it may be proven.
fn modify_profile(client: u8, apn: &str, login: &Login) -> Request {
    // QmiWdsAuthentication: bits for PAP and CHAP.
    let auth = match login.auth {
        Auth::Pap => 1,
        Auth::Chap => 2,
        Auth::Any => 3,
    };
    Request::new(Service::Wds, client, MODIFY_PROFILE)
        .with(0x01, &[0, PROFILE])
        // QmiWdsPdpType: IPv4, as the call that is asked for.
        .with(0x11, &[0])
        .with(0x14, apn.as_bytes())
        .with(0x1B, login.user.as_bytes())
        .with(0x1C, login.password.reveal().as_bytes())
        .with(0x1D, &[auth])
}

#[cfg(test)]
mod tests;
