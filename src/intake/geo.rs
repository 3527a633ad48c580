//! The country of an address, from a file in MaxMind's format. The address is looked up and forgotten; it is kept nowhere.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maxminddb::{MaxMindDbError, PathElement, Reader};

/// Where databases of different makers put the country: MaxMind and DB-IP, then IPinfo and others, and the country of
/// registration for networks that are nowhere in particular.
const PLACES: [&[PathElement<'static>]; 4] = [
    &[PathElement::Key("country"), PathElement::Key("iso_code")],
    &[PathElement::Key("country_code")],
    &[PathElement::Key("country")],
    &[PathElement::Key("registered_country"), PathElement::Key("iso_code")],
];

/// A database of countries, read once.
#[derive(Clone)]
pub struct Geo(Arc<Reader<Vec<u8>>>);

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read intake.geo_file `{}` as a MaxMind database", path.display())]
pub struct GeoError {
    path: PathBuf,
    #[source]
    source: MaxMindDbError,
}

impl Geo {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Geo, GeoError> {
        let reader = Reader::open_readfile(path).map_err(|source| GeoError { path: path.to_owned(), source })?;
        Ok(Geo(Arc::new(reader)))
    }

    /// The ISO 3166 country of an address in lower case; nothing where it is not known.
    pub fn country(&self, address: IpAddr) -> String {
        let found = self.0.lookup(address).ok();
        let text = |place: &&[PathElement<'_>]| found.as_ref()?.decode_path::<String>(place).ok().flatten();
        let country = PLACES.iter().find_map(|place| text(place).filter(|text| super::enrich::is_country(text)));
        country.unwrap_or_default().to_ascii_lowercase()
    }
}

impl fmt::Debug for Geo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Geo").field(&self.0.metadata().database_type).finish()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A text with its control byte, as the format has it: type 2, length in the lower bits.
    fn text(text: &str) -> Vec<u8> {
        [&[0x40 | text.len() as u8], text.as_bytes()].concat()
    }

    fn map(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut out = vec![0xE0 | pairs.len() as u8];
        pairs.iter().for_each(|(key, value)| out.extend([text(key), value.clone()].concat()));
        out
    }

    /// Numbers of two (5), four (6) and eight bytes (9, an extended type).
    fn number(kind: u8, value: u64) -> Vec<u8> {
        let bytes = value.to_be_bytes();
        match kind {
            5 => [&[0xA2], &bytes[6..]].concat(),
            6 => [&[0xC4], &bytes[4..]].concat(),
            _ => [&[0x08, 0x02], &bytes[..]].concat(),
        }
    }

    /// A database of IPv4 networks of eight bits, each with its record.
    pub fn database(networks: &[(u8, Vec<u8>)]) -> Vec<u8> {
        // One node a bit, 24 bits a record; a record is another node, nothing (the number of nodes), or data.
        let mut nodes: Vec<[Option<usize>; 2]> = vec![[None; 2]];
        let mut leaves: Vec<(usize, usize, usize)> = Vec::new();
        let mut data: Vec<u8> = Vec::new();
        for (network, record) in networks {
            let mut node = 0;
            for bit in (0..8).rev() {
                let side = usize::from(network >> bit & 1);
                if bit == 0 {
                    leaves.push((node, side, data.len()));
                } else if let Some(next) = nodes[node][side] {
                    node = next;
                } else {
                    nodes.push([None; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Some(next);
                    node = next;
                }
            }
            data.extend(record);
        }
        let count = nodes.len();
        let mut out = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            for (side, next) in node.iter().enumerate() {
                let leaf = leaves.iter().find(|leaf| (leaf.0, leaf.1) == (at, side)).map(|leaf| count + 16 + leaf.2);
                let record = leaf.or(*next).unwrap_or(count) as u32;
                out.extend(&record.to_be_bytes()[1..]);
            }
        }
        out.extend([0; 16]);
        out.extend(data);
        out.extend(b"\xAB\xCD\xEFMaxMind.com");
        out.extend(map(&[
            ("node_count", number(6, count as u64)),
            ("record_size", number(5, 24)),
            ("ip_version", number(5, 4)),
            ("database_type", text("Test-Country")),
            ("languages", vec![0x00, 0x04]),
            ("binary_format_major_version", number(5, 2)),
            ("binary_format_minor_version", number(5, 0)),
            ("build_epoch", number(9, 1_790_000_000)),
            ("description", map(&[("en", text("made by a test"))])),
        ]));
        out
    }

    /// A file in which 203.0.0.0/8 is Germany.
    pub fn file(folder: &Path) -> PathBuf {
        let country = |code: &str| map(&[("country", map(&[("iso_code", text(code))]))]);
        let bytes = database(&[
            (203, country("DE")),
            (198, map(&[("country_code", text("fr"))])),
            (192, map(&[("country", text("Nowhere")), ("registered_country", map(&[("iso_code", text("US"))]))])),
        ]);
        let path = folder.join("country.mmdb");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn countries_are_found_in_files_of_several_makers() {
        let folder = tempfile::tempdir().unwrap();
        let geo = Geo::open(&file(folder.path())).unwrap();
        for (address, country) in
            [("203.0.113.7", "de"), ("198.51.100.1", "fr"), ("192.0.2.1", "us"), ("10.0.0.1", ""), ("127.0.0.1", ""), ("2001:db8::1", "")]
        {
            assert_eq!(geo.country(address.parse().unwrap()), country, "{address}");
        }
    }

    #[test]
    fn what_is_no_database_says_which_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.mmdb");
        std::fs::write(&path, b"something else").unwrap();
        assert!(Geo::open(&path).unwrap_err().to_string().contains("no.mmdb"));
        // A damaged one is refused or knows nothing; it never panics.
        let whole = std::fs::read(file(folder.path())).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(geo) = Geo::open(&path) {
                geo.country("203.0.113.7".parse().unwrap());
            }
        }
    }
}
