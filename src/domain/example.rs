//! Example traces of bad events: what an incident gives people to look at first.

use super::segment::Slice;
use super::series::SeriesId;
use super::varint::{read_i64, read_u64, write_i64, write_u64};

/// Longest trace id that is kept.
const TRACE_MAX: usize = 64;

/// A trace in which an event of this series went bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub series: SeriesId,
    pub slice: Slice,
    pub trace: String,
}

/// Examples as stored bytes.
pub fn pack(examples: &[Example]) -> Vec<u8> {
    let mut out = Vec::with_capacity(examples.len() * 40);
    for example in examples.iter().filter(|example| example.trace.len() <= TRACE_MAX) {
        write_u64(&mut out, example.series.0.into());
        write_i64(&mut out, example.slice);
        write_u64(&mut out, example.trace.len() as u64);
        out.extend_from_slice(example.trace.as_bytes());
    }
    out
}

/// Reads what [`pack`] wrote; damaged bytes end the list early.
pub fn unpack(mut input: &[u8]) -> Vec<Example> {
    std::iter::from_fn(|| read(&mut input)).collect()
}

fn read(input: &mut &[u8]) -> Option<Example> {
    let series = SeriesId(read_u64(input)?.try_into().ok()?);
    let slice = read_i64(input)?;
    let length = usize::try_from(read_u64(input)?).ok().filter(|length| *length <= TRACE_MAX)?;
    let (trace, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(Example { series, slice, trace: std::str::from_utf8(trace).ok()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn examples_read_back_and_noise_never_panics(
            examples in prop::collection::vec((any::<u32>(), any::<i64>(), "[0-9a-f]{0,64}"), 0..20),
            noise in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let examples: Vec<Example> =
                examples.into_iter().map(|(series, slice, trace)| Example { series: SeriesId(series), slice, trace }).collect();
            prop_assert_eq!(unpack(&pack(&examples)), examples);
            unpack(&noise);
        }
    }
}
