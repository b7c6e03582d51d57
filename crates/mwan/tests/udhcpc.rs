//! Leases by busybox's `udhcpc`, where there is no dhcpcd: the real client against a real server, in namespaces of their own.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;
mod isps;

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use isps::{Isps, RED_UP};

/// The same programs, but for the other client.
const UDHCPC: &str = r#"
mount --bind /usr/sbin /mnt
mount -t tmpfs none /usr/sbin
ln -s /mnt/* /usr/sbin/
rm -f /usr/sbin/dhcpcd /usr/sbin/udhcpc
mount -t tmpfs none /usr/local/sbin
ln -s "$(command -v busybox)" /usr/local/sbin/udhcpc
"#;

const PROFILE: &str = "TYPE=DHCP\nDEVICE=eth1\nHOSTNAME=fire\n";

struct Site {
    isps: Isps,
    daemon: Option<Child>,
    server: Option<Child>,
}

impl Deref for Site {
    type Target = Isps;

    fn deref(&self) -> &Isps {
        &self.isps
    }
}

impl Site {
    fn new() -> Self {
        let isps = Isps::new(tempfile::tempdir().unwrap(), &format!("{RED_UP}{UDHCPC}"));
        let mut site = Site { isps, daemon: None, server: None };
        site.wait("the network is there", |s| s.is_ready());
        site.write(
            "mwan/settings",
            "ENABLED=on\nPRIMARY_CHECK_INTERVAL=0.3\nFAILOVER_THRESHOLD=2\nFAILBACK_ATTEMPTS=2\n",
        );
        site.write("mwan/profiles/cable", PROFILE);
        site.write(
            "ethernet/settings",
            "RED_TYPE=STATIC\nRED_DEV=red0\nRED_ADDRESS=192.0.2.2\nRED_NETMASK=255.255.255.0\nDEFAULT_GATEWAY=192.0.2.1\n",
        );
        site.write("red/iface", "red0");
        site.serve("198.51.100.50,198.51.100.59", "9.9.9.9");
        site.start();
        site
    }

    /// The provider's server, with these addresses and name servers from now on.
    fn serve(&mut self, range: &str, dns: &str) {
        self.stop_serving();
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("server")).unwrap();
        let leases = self.dir.path().join("leases");
        let server = self
            .inside(&["nsenter", "-t", &self.far(), "-n", "dnsmasq", "--keep-in-foreground"])
            .args([
                "--conf-file=/dev/null",
                "--port=0",
                "--interface=isp1",
                "--bind-interfaces",
                "--pid-file=",
            ])
            .args(["--user=root", "--dhcp-authoritative", "--log-dhcp", "--log-facility=-"])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .arg(format!("--dhcp-range={range},255.255.255.0,2m"))
            .arg(format!("--dhcp-option=option:dns-server,{dns}"))
            .stderr(log)
            .spawn();
        self.server = Some(server.unwrap());
    }

    fn stop_serving(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn start(&mut self) {
        self.daemon = Some(self.isps.daemon());
        self.wait("the lease works", |s| s.line(" cable:").contains("up, ipv4 online"));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn addresses(&self) -> String {
        self.sh("ip -4 -o address show dev eth1")
    }

    /// The client's process.
    fn client(&self) -> Option<u32> {
        let daemon = self.daemon.as_ref()?.id();
        let tasks = fs::read_dir(format!("/proc/{daemon}/task")).ok()?.flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let all: Vec<u32> = children
            .flat_map(|c| c.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
            .collect();
        all.into_iter()
            .find(|id| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name == "udhcpc\n"))
    }

    fn wait(&self, what: &str, condition: impl Fn(&Site) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "not within a minute: {what}\n{}\n{}\n{}",
                self.status(),
                self.read("log"),
                self.read("server")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It would outlive the daemon, as it should.
        if let Some(client) = self.client() {
            let _ = Command::new("kill").arg(client.to_string()).status();
        }
        for mut child in [self.daemon.take(), self.server.take()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_lease_is_taken_used_renewed_and_given_back() {
    let mut site = Site::new();
    let addresses = site.addresses();
    assert!(addresses.contains(" 198.51.100.5") && addresses.contains("/24 "), "{addresses}");
    let main = site.sh("ip route show table main default");
    assert!(
        main.contains("via 198.51.100.1 dev eth1 onlink metric 20000")
            || main.contains("via 198.51.100.1 dev eth1 metric 20000"),
        "{main}"
    );
    assert!(site.read("server").contains("client provides name: fire"), "{}", site.read("server"));

    site.sh("nsenter -t \"$(cat \"$DIR/far\")\" -n nft add rule ip test drops iifname isp0 drop");
    site.wait("RED is the cable's", |s| s.status().starts_with("RED is carried by cable\n"));
    let red = |name: &str| site.read(&format!("system/var/ipfire/red/{name}"));
    assert_eq!((red("iface"), red("remote-ipaddress")), ("eth1".into(), "198.51.100.1".into()));
    assert_eq!(red("dns1"), "9.9.9.9");
    site.sh("ping -c 1 -W 5 8.8.8.8");

    // SIGUSR1 renews: the server has other addresses by now, and refuses the old one.
    let old = addresses.split_whitespace().find(|word| word.contains('/')).unwrap().to_owned();
    site.serve("198.51.100.70,198.51.100.80", "9.9.9.9");
    let client = site.client().unwrap();
    site.sh(&format!("kill -USR1 {client}"));
    site.wait("another address is used, and only that", |s| {
        let now = s.addresses();
        !now.contains(&old) && now.matches("inet ").count() == 1 && s.line(" cable:").contains("ipv4 online")
    });

    fs::remove_file(site.root().join("mwan/profiles/cable")).unwrap();
    site.wait("the address is gone", |s| s.addresses().is_empty());
    site.wait("the lease was given back", |s| s.read("server").contains("DHCPRELEASE"));
    assert!(!site.sh("ip route show table main default").contains("eth1"));
    site.wait("it is forgotten", |s| !s.dir.path().join("run/dial/eth1.lease").exists());
}

#[test]
fn a_client_that_is_killed_leaves_nothing_and_is_followed_by_another() {
    let mut site = Site::new();
    let first = site.client().unwrap();
    site.stop_serving();
    site.sh(&format!("kill -9 {first}"));
    site.wait("what it left is taken back", |s| s.addresses().is_empty());
    assert!(!site.sh("ip route show table main default").contains("eth1"));
    assert!(!PathBuf::from(format!("/proc/{first}")).exists(), "a zombie");
    site.serve("198.51.100.50,198.51.100.59", "9.9.9.9");
    site.wait("there is a lease again", |s| s.line(" cable:").contains("up, ipv4 online"));
    assert_ne!(site.client(), Some(first));
}
