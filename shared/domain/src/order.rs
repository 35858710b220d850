use std::fmt;

use chrono::{DateTime, Utc};

use crate::{ChannelName, Invalid, OrderId, UserId, text};

/// A DNA kit that was ordered for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub user: UserId,
    pub sequencing: SequencingType,
    pub shipping: ShippingInfo,
    /// How the user is to be told.
    pub channel: ChannelName,
    pub created_at: DateTime<Utc>,
    /// Counts the order's events; the first is 1.
    pub version: i64,
}

/// What is to be sequenced, such as `whole-exome-sequencing`: 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencingType(String);

impl SequencingType {
    pub const MAX_CHARS: usize = 100;

    pub fn parse(sequencing: impl Into<String>) -> Result<Self, Invalid> {
        text::checked("sequencing_type", sequencing.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a kit is sent. Each line has at most 255 characters, and may have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingInfo {
    pub delivery_name: ShippingLine,
    pub first_line: ShippingLine,
    pub second_line: ShippingLine,
    pub town: ShippingLine,
    pub postcode: ShippingLine,
    pub country: ShippingLine,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippingLine(String);

impl ShippingLine {
    pub const MAX_CHARS: usize = 255;

    /// `field` is what a refusal calls it.
    pub fn parse(field: &str, line: impl Into<String>) -> Result<Self, Invalid> {
        let line = line.into();
        // Blank ones are taken, as they come.
        if line.trim().is_empty() && line.chars().count() <= Self::MAX_CHARS && !line.contains('\0') {
            return Ok(Self(line));
        }
        text::checked(field, line, Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SequencingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_address_may_be_empty() {
        for good in ["", "  ", "12 Gloucester Road", &"é".repeat(255)] {
            assert_eq!(ShippingLine::parse("town", good).unwrap().as_str(), good);
        }
        for bad in [&"x".repeat(256), &" ".repeat(256), "a\0b", "\0"] {
            let refusal = ShippingLine::parse("town", bad).unwrap_err().to_string();
            assert!(refusal.starts_with("town must"), "{refusal}");
        }
    }

    #[test]
    fn something_is_sequenced() {
        assert!(SequencingType::parse("é".repeat(100)).is_ok());
        for bad in ["", " ", "a\0b", &"x".repeat(101)] {
            assert!(SequencingType::parse(bad).is_err(), "{bad:?}");
        }
    }
}
