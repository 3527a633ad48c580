//! Bodies: read within a time and a size, and inflated within a size (R-3).

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::reason::Refusal;
use super::uploads::{Upload, Uploads};

/// How much of a refused body is read so that the sender sees the answer and not a reset.
const DISCARD_MAX: usize = 16 << 20;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
}

impl Encoding {
    /// From the header; stacked and unknown encodings are refused.
    pub fn of(headers: &HeaderMap) -> Result<Encoding, Refusal> {
        let mut given = headers.get_all(CONTENT_ENCODING).iter();
        let (first, more) = (given.next(), given.next());
        let Some(first) = first else { return Ok(Encoding::Identity) };
        let name = first.to_str().map_err(|_| Refusal::Encoding)?.trim();
        let known = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
            ("br", Encoding::Brotli),
        ];
        let found = known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.filter(|_| more.is_none()).map(|(_, encoding)| encoding).ok_or(Refusal::Encoding)
    }
}

/// Reads a body of at most `max` bytes that may take `patience` to arrive, as long as there is room for it among `uploads`.
pub(super) async fn read<B>(mut body: B, headers: &HeaderMap, max: usize, patience: Duration, uploads: &Uploads) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    if announced > max as u64 {
        discard(body, patience, uploads).await;
        return Err(Refusal::TooLarge(max));
    }
    let whole = async {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut upload: Option<Upload<'_>> = None;
        loop {
            let frame = match &upload {
                Some(upload) => tokio::select! {
                    frame = body.frame() => frame,
                    () = upload.is_cut() => return Err(Refusal::Overloaded),
                },
                None => tokio::select! {
                    biased;
                    frame = body.frame() => frame,
                    () = std::future::ready(()) => {
                        upload = Some(uploads.begin());
                        continue;
                    }
                },
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
            if first.len() + rest.len() + data.len() > max {
                return Err(Refusal::TooLarge(max));
            }
            if upload.is_some() || !body.is_end_stream() {
                upload.get_or_insert_with(|| uploads.begin()).grow(data.len());
            }
            // Nearly every beacon is one piece, which needs no copy.
            if first.is_empty() && rest.is_empty() {
                first = data;
            } else {
                if rest.is_empty() {
                    // Not what is announced: that has not come yet.
                    rest.reserve(first.len() + data.len());
                    rest.extend_from_slice(&first);
                    first = Bytes::new();
                }
                rest.extend_from_slice(&data);
            }
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    };
    let read = tokio::time::timeout(patience, whole).await.unwrap_or(Err(Refusal::Slow));
    if matches!(read, Err(Refusal::TooLarge(_))) {
        discard(body, patience, uploads).await;
    }
    read
}

/// Reads what is left of a body that nobody wants, within bounds.
pub(super) async fn discard<B>(mut body: B, patience: Duration, uploads: &Uploads)
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return;
    }
    let upload = uploads.begin();
    let drain = async {
        let mut left = DISCARD_MAX;
        while let Some(Ok(frame)) = tokio::select! { frame = body.frame() => frame, () = upload.is_cut() => None } {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Running into the bound closes the connection, which is all there is left to do.
    let _ = tokio::time::timeout(patience, drain).await;
}

/// Undoes the compression; never produces more than `max` bytes.
pub(super) fn inflate(encoding: Encoding, body: &[u8], max: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    // Beacons cannot set headers; JSON never begins with the mark of gzip.
    let encoding = if encoding == Encoding::Identity && body.starts_with(&[0x1f, 0x8b]) { Encoding::Gzip } else { encoding };
    let inflated = match encoding {
        Encoding::Identity => return Ok(Cow::Borrowed(body)),
        Encoding::Gzip => take(flate2::bufread::MultiGzDecoder::new(body), max, "gzip"),
        // RFC 9110 means zlib; some senders leave its header out.
        Encoding::Deflate if is_zlib(body) => take(flate2::bufread::ZlibDecoder::new(body), max, "deflate"),
        Encoding::Deflate => take(flate2::bufread::DeflateDecoder::new(body), max, "deflate"),
        Encoding::Brotli => take(brotli_decompressor::Decompressor::new(body, 4096), max, "br"),
    };
    inflated.map(Cow::Owned)
}

fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

fn take(reader: impl Read, max: usize, name: &'static str) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    match reader.take(max as u64 + 1).read_to_end(&mut out) {
        Ok(_) if out.len() > max => Err(Refusal::TooLarge(max)),
        Ok(_) => Ok(out),
        Err(_) => Err(Refusal::Inflate(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn encoding(values: &[&str]) -> Result<Encoding, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, value.parse().unwrap());
        }
        Encoding::of(&headers)
    }

    #[test]
    fn every_encoding_of_the_contract_is_undone() {
        let text = br#"{"app":"shop"}"#;
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(text).unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        raw.write_all(text).unwrap();
        // One uncompressed meta-block, then the empty last one.
        let brotli = [&[0x8f, 0x06, 0x80][..], text, &[0x03]].concat();
        for (encoding, body) in [
            (Encoding::Identity, text.to_vec()),
            (Encoding::Identity, gzip(text)),
            (Encoding::Gzip, gzip(text)),
            (Encoding::Gzip, [gzip(&text[..5]), gzip(&text[5..])].concat()),
            (Encoding::Deflate, zlib.finish().unwrap()),
            (Encoding::Deflate, raw.finish().unwrap()),
            (Encoding::Brotli, brotli),
        ] {
            assert_eq!(inflate(encoding, &body, 100).as_deref(), Ok(&text[..]), "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_while_it_inflates() {
        let bomb = gzip(&vec![b' '; 50 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(inflate(Encoding::Gzip, &bomb, 1 << 20), Err(Refusal::TooLarge(1 << 20)));
        let members: Vec<u8> = (0..100).flat_map(|_| gzip(&[b'x'; 50_000])).collect();
        assert_eq!(inflate(Encoding::Gzip, &members, 1 << 20), Err(Refusal::TooLarge(1 << 20)));
    }

    #[test]
    fn damage_is_refused() {
        let whole = gzip(b"hello hello hello hello");
        for broken in [&whole[..whole.len() - 3], b"plain", &[&whole[..], b"trailing"].concat()] {
            assert_eq!(inflate(Encoding::Gzip, broken, 100), Err(Refusal::Inflate("gzip")));
        }
        assert!(inflate(Encoding::Brotli, b"\xff\xff\xff plain", 100).is_err());
        assert!(inflate(Encoding::Deflate, b"\xff\xff plain", 100).is_err());
    }

    #[test]
    fn unknown_and_stacked_encodings_are_refused() {
        assert_eq!(encoding(&[]), Ok(Encoding::Identity));
        assert_eq!(encoding(&["GZIP"]), Ok(Encoding::Gzip));
        for bad in [&["zstd"][..], &["gzip, br"], &["gzip", "gzip"], &["gzip,gzip"], &["gzip;q=1"]] {
            assert_eq!(encoding(bad), Err(Refusal::Encoding), "{bad:?}");
        }
    }
}
