//! Writes a small MaxMind DB file of countries (format version 2.0), so that no
//! test needs a vendor's file.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// A database in which each network lies in one country. IPv4 networks stand
/// at `::/96`, as in the vendor's files.
pub fn country_database(networks: &[(&str, &str)]) -> Vec<u8> {
    let mut tree = Tree::default();
    for (network, country) in networks {
        tree.insert(network.parse().expect("a network"), (*country).to_owned());
    }
    tree.to_bytes()
}

/// What a bit of an address leads to.
#[derive(Clone, Default)]
enum Branch {
    #[default]
    Nothing,
    Node(usize),
    Country(String),
}

struct Tree {
    nodes: Vec<[Branch; 2]>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Default::default()],
        }
    }
}

impl Tree {
    fn insert(&mut self, network: IpNet, country: String) {
        let (bits, length) = match network {
            IpNet::V4(v4) => (u128::from(u32::from(v4.network())), 96 + v4.prefix_len()),
            IpNet::V6(v6) => (u128::from(v6.network()), v6.prefix_len()),
        };
        let side = |depth: u8| (bits >> (127 - depth) & 1) as usize;
        let mut at = 0;
        for depth in 0..length - 1 {
            at = match self.nodes[at][side(depth)] {
                Branch::Node(next) => next,
                _ => {
                    self.nodes.push(Default::default());
                    let next = self.nodes.len() - 1;
                    self.nodes[at][side(depth)] = Branch::Node(next);
                    next
                }
            };
        }
        self.nodes[at][side(length - 1)] = Branch::Country(country);
    }

    fn to_bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let mut data = Vec::new();
        let mut places = BTreeMap::new();
        let mut bytes = Vec::new();
        for branch in self.nodes.iter().flatten() {
            let record = match branch {
                Branch::Nothing => count,
                Branch::Node(index) => *index,
                Branch::Country(code) => {
                    let place = *places.entry(code.clone()).or_insert_with(|| {
                        let start = data.len();
                        map(&mut data, 1);
                        text(&mut data, "country");
                        map(&mut data, 1);
                        text(&mut data, "iso_code");
                        text(&mut data, code);
                        start
                    });
                    count + 16 + place
                }
            };
            bytes.extend(&(record as u32).to_be_bytes()[1..]);
        }
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        metadata(&mut bytes, count as u32);
        bytes
    }
}

fn metadata(bytes: &mut Vec<u8>, nodes: u32) {
    map(bytes, 9);
    text(bytes, "binary_format_major_version");
    unsigned_16(bytes, 2);
    text(bytes, "binary_format_minor_version");
    unsigned_16(bytes, 0);
    text(bytes, "build_epoch");
    // Type 9, unsigned 64 bits, of no byte: 0.
    bytes.extend([0x00, 0x02]);
    text(bytes, "database_type");
    text(bytes, "Test-Country");
    text(bytes, "description");
    map(bytes, 0);
    text(bytes, "ip_version");
    unsigned_16(bytes, 6);
    text(bytes, "languages");
    // Type 11, an array of nothing.
    bytes.extend([0x00, 0x04]);
    text(bytes, "node_count");
    bytes.push(6 << 5 | 4);
    bytes.extend(nodes.to_be_bytes());
    text(bytes, "record_size");
    unsigned_16(bytes, 24);
}

fn map(bytes: &mut Vec<u8>, pairs: u8) {
    bytes.push(7 << 5 | pairs);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 29, "longer strings need another length byte");
    bytes.push(2 << 5 | text.len() as u8);
    bytes.extend(text.as_bytes());
}

fn unsigned_16(bytes: &mut Vec<u8>, number: u16) {
    bytes.push(5 << 5 | 2);
    bytes.extend(number.to_be_bytes());
}
