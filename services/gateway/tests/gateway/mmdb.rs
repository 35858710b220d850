//! A file in MaxMind's format, as small as it can be: <https://maxmind.github.io/MaxMind-DB/>.

use std::net::Ipv4Addr;

/// Where a record of the tree leads to.
#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A file that knows these addresses: each with a country's code and English name.
pub fn file(addresses: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (address, code, name) in addresses {
        let bits = u32::from(address.parse::<Ipv4Addr>().unwrap());
        let mut node = 0;
        for depth in 0..32 {
            let side = usize::try_from(bits >> (31 - depth) & 1).unwrap();
            if depth == 31 {
                nodes[node][side] = Record::Data(data.len());
                break;
            }
            node = match nodes[node][side] {
                Record::Node(next) => next,
                _ => {
                    nodes.push([Record::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Record::Node(next);
                    next
                }
            };
        }
        let country = map(&[("iso_code", text(code)), ("names", map(&[("en", text(name))]))]);
        data.extend(map(&[("country", country)]));
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match *record {
            Record::Nothing => count,
            Record::Node(node) => node,
            Record::Data(offset) => count + 16 + offset,
        };
        file.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", number(5, 2)),
        ("binary_format_minor_version", number(5, 0)),
        ("build_epoch", [&[4, 2][..], &1_767_312_000_u32.to_be_bytes()].concat()),
        ("database_type", text("Test-Country")),
        ("description", map(&[])),
        ("ip_version", number(5, 4)),
        ("languages", vec![0, 4]),
        ("node_count", number(6, u16::try_from(count).unwrap())),
        ("record_size", number(5, 24)),
    ]));
    file
}

fn text(text: &str) -> Vec<u8> {
    [&[2 << 5 | small(text.len())], text.as_bytes()].concat()
}

/// Of type 5 or 6, in two bytes.
fn number(kind: u8, number: u16) -> Vec<u8> {
    [&[kind << 5 | 2][..], &number.to_be_bytes()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries_of = entries
        .iter()
        .flat_map(|(key, value)| [text(key), value.clone()])
        .flatten();
    std::iter::once(7 << 5 | small(entries.len()))
        .chain(entries_of)
        .collect()
}

/// A size that fits into the byte before the value.
fn small(size: usize) -> u8 {
    assert!(size < 29);
    u8::try_from(size).unwrap()
}
