//! Protobuf's wire format, read where it lies: fields of a message one after the other, texts and
//! messages as pieces of the body.
//!
//! Generated messages own their texts, refuse a whole batch for one byte that is no UTF-8, and cannot
//! let one record fail by itself; telemetry needs the opposite of all three, and this little of the format.

/// A message that ends in the middle of a field, or has what no message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The value of a field, by how it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a>(pub &'a [u8]);

impl<'a> Wire<'a> {
    /// Number and value of the next field; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Broken> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Broken)?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups are not used since proto2, and 6 and 7 never were.
            _ => return Err(Broken),
        };
        Ok(Some((tag >> 3, value)))
    }

    /// A number in base 128, least significant digit first.
    pub fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err(Broken)
    }

    /// The next bytes, as many as an array has.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        Ok(self.take(N)?.try_into().expect("as many as were asked for"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A number written so that small negative ones are short.
pub(super) fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_read() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x25, 2, 0, 0, 0];
        let mut wire = Wire(&bytes);
        for field in [(1, Field::Varint(150)), (2, Field::Bytes(b"hi")), (3, Field::Fixed64(1)), (4, Field::Fixed32(2))] {
            assert_eq!(wire.next(), Ok(Some(field)));
        }
        assert_eq!(wire.next(), Ok(None));
        assert_eq!([0, 1, 2, 3, u64::MAX].map(zigzag), [0, -1, 1, -2, i64::MIN]);
    }

    #[test]
    fn what_breaks_off_or_lies_about_its_length_is_broken() {
        for bytes in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x12, 5, b'h', b'i'],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x19, 1, 2, 3],
            &[0x25],
            &[0x0b],
            &[0x0f],
            &[0xff; 11],
        ] {
            assert_eq!(Wire(bytes).next(), Err(Broken), "{bytes:?}");
        }
    }
}
