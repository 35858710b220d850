use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use futures_util::future::BoxFuture;
use maxminddb::{MaxMindDbError, Reader, path};
use tidings_domain::Country;

use super::{GeoLocator, Unlocated, count};

/// A file in MaxMind's format, read into memory once. Any edition that has countries will do.
pub(super) struct CountryFile(Reader<Vec<u8>>);

impl CountryFile {
    pub(super) fn open(path: &Path) -> Result<Self, MaxMindDbError> {
        Reader::open_readfile(path).map(Self)
    }

    fn find(&self, address: IpAddr) -> Result<Option<Country>, MaxMindDbError> {
        // One of IPv4 addresses only has no place to look for others.
        if address.is_ipv6() && self.0.metadata().ip_version == 4 {
            return Ok(None);
        }
        let record = self.0.lookup(address)?;
        let Some(code) = record.decode_path::<String>(&path!["country", "iso_code"])? else {
            return Ok(None);
        };
        let name = record.decode_path::<String>(&path!["country", "names", "en"])?;
        Ok(Country::described(&code, name.as_deref()))
    }
}

impl GeoLocator for CountryFile {
    fn locate(&self, address: IpAddr) -> BoxFuture<'_, Result<Country, Unlocated>> {
        let answer = match self.find(address) {
            Ok(Some(country)) => Ok(country),
            Ok(None) => Err(Unlocated::Unknown),
            Err(error) => Err(Unlocated::Unavailable(error.to_string())),
        };
        count(
            "file",
            match &answer {
                Ok(_) => "found",
                Err(Unlocated::Unknown) => "unknown",
                Err(Unlocated::Unavailable(_)) => "failed",
            },
        );
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Debug for CountryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountryFile")
    }
}
