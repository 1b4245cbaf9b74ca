//! A name server that says exactly what a test says.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use super::LONGEST;

/// A name server over UDP; its thread ends with the test's process.
#[derive(Debug, Clone)]
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Debug, Default)]
struct Zone {
    names: HashMap<String, Says>,
    /// Names and kinds, in the order in which they were asked.
    asked: Vec<(String, u16)>,
}

/// What it says of a name. What it has not been told of does not exist.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// These, and for how many seconds.
    At(Vec<IpAddr>, u32),
    /// That it failed.
    Failure,
    /// Nothing at all.
    Silence,
}

const A: u16 = 1;
const AAAA: u16 = 28;

// === impl Dns ===

impl Dns {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = Self {
            address: socket.local_addr().unwrap(),
            zone: Arc::default(),
        };
        let serving = dns.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = serving.answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        dns
    }

    /// From now on.
    pub(crate) fn say(&self, name: &str, says: Says) {
        let mut zone = self.zone.lock().unwrap();
        zone.names.insert(name.to_owned(), says);
    }

    /// That this name is at these addresses, for a second.
    pub(crate) fn at(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        self.say(name, Says::At(addresses.collect(), 1));
    }

    /// How often it has been asked for a name's addresses, of either kind.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let zone = self.zone.lock().unwrap();
        zone.asked.iter().filter(|(asked, _)| asked == name).count()
    }

    /// Waits until it is asked once more.
    pub(crate) fn wait_until_asked_again(&self, name: &str) {
        let before = self.asked(name);
        let until = std::time::Instant::now() + LONGEST;
        while self.asked(name) == before {
            assert!(std::time::Instant::now() < until, "{name} is not asked for");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// RFC 1035, section 4: the header, the question as it was, and its answers.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while let Some(length @ 1..) = query.get(at).map(|it| usize::from(*it)) {
            let label = query.get(at + 1..=at + length)?;
            labels.push(String::from_utf8_lossy(label).to_lowercase());
            at += 1 + length;
        }
        let question = query.get(12..at + 5)?;
        let kind = u16::from_be_bytes([question[question.len() - 4], question[question.len() - 3]]);
        let name = labels.join(".");
        let mut zone = self.zone.lock().unwrap();
        zone.asked.push((name.clone(), kind));
        let (code, addresses, ttl) = match zone.names.get(&name) {
            None => (3, Vec::new(), 0),
            Some(Says::Failure) => (2, Vec::new(), 0),
            Some(Says::Silence) => return None,
            Some(Says::At(addresses, ttl)) => (0, addresses.clone(), *ttl),
        };
        let of_kind = |ip: &&IpAddr| (kind == A && ip.is_ipv4()) || (kind == AAAA && ip.is_ipv6());
        let addresses: Vec<_> = addresses.iter().filter(of_kind).collect();
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80 | code, 0, 1, 0]);
        answer.extend([u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
        answer.extend(question);
        for address in addresses {
            let bytes = match address {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            // The name is the question's.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend([0, u8::try_from(bytes.len()).unwrap()]);
            answer.extend(bytes);
        }
        Some(answer)
    }
}
