use mwan_config::link::{Method, Secret};

use super::*;

fn modem(qmi: bool, pin: Option<&str>) -> Link {
    let pin = pin.map(Secret::new);
    let method = if qmi {
        Method::Qmi { control: None, apn: "i".into(), pin, login: None }
    } else {
        Method::Modem { speed: 115_200, apn: "i".into(), number: "*99#".into(), pin, login: None }
    };
    Link {
        name: "dongle".into(),
        device: "wwan0".into(),
        lower: None,
        method,
        session_device: "wwan0".into(),
        on_demand: true,
        mtu: None,
        mac: None,
    }
}

/// A PIN that was refused stays so across restarts, and no longer than it is that PIN.
#[test]
fn one_pin_is_told_from_another_without_showing_it() {
    for qmi in [false, true] {
        let one = fingerprint(&modem(qmi, Some("4711")));
        assert_eq!(one, fingerprint(&modem(qmi, Some("4711"))));
        assert_ne!(one, fingerprint(&modem(qmi, Some("1111"))));
        assert_ne!(one, fingerprint(&modem(qmi, None)));
        assert!(!one.contains("4711"));
    }
}
