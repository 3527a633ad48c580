//! Variable-length integers, seven bits a byte, small ones first (LEB128; signed ones zigzag).

/// Appends an unsigned integer.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an unsigned 128-bit integer.
pub fn write_u128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer.
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a signed 128-bit integer.
pub fn write_i128(out: &mut Vec<u8>, value: i128) {
    write_u128(out, ((value << 1) ^ (value >> 127)) as u128);
}

/// Reads an unsigned integer and moves `input` past it; `None` at the end or when it is too large.
#[inline(always)]
pub fn read_u64(input: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u64::from(first));
    }
    // Two bytes are by far the most frequent of the longer ones.
    if let Some((&second, rest)) = rest.split_first()
        && second < 0x80
    {
        *input = rest;
        return Some(u64::from(first & 0x7f) | u64::from(second) << 7);
    }
    read_long(input)
}

/// Three bytes and more.
#[inline(never)]
fn read_long(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, &byte) in input.iter().enumerate().take(10) {
        let shift = 7 * at as u32;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Reads an unsigned 128-bit integer.
pub fn read_u128(input: &mut &[u8]) -> Option<u128> {
    let mut value = 0_u128;
    for (at, &byte) in input.iter().enumerate().take(19) {
        let shift = 7 * at as u32;
        if shift == 126 && byte > 3 {
            return None;
        }
        value |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *input = &input[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Reads a signed integer.
#[inline(always)]
pub fn read_i64(input: &mut &[u8]) -> Option<i64> {
    let value = read_u64(input)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Reads a signed 128-bit integer.
pub fn read_i128(input: &mut &[u8]) -> Option<i128> {
    let value = read_u128(input)?;
    Some((value >> 1) as i128 ^ -((value & 1) as i128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_read_back(a in any::<u64>(), b in any::<i64>(), c in any::<i128>(), d in any::<u128>()) {
            let mut out = Vec::new();
            write_u64(&mut out, a);
            write_i64(&mut out, b);
            write_i128(&mut out, c);
            write_u128(&mut out, d);
            let mut input = &out[..];
            prop_assert_eq!((read_u64(&mut input), read_i64(&mut input)), (Some(a), Some(b)));
            prop_assert_eq!((read_i128(&mut input), read_u128(&mut input)), (Some(c), Some(d)));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = read_u64(&mut &bytes[..]);
            let _ = read_u128(&mut &bytes[..]);
        }
    }
}
