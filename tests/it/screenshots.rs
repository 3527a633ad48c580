//! Pictures of the demo for README and for looking at: `BURNWATCH_SCREENSHOTS=1 cargo test --test it pictures`
//! writes them into `tests/screenshots/`. Left out otherwise, and where Chromium is missing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use serde_json::Value;

use crate::chromium::{Browser, chromium};

/// Larger pictures would make the repository heavy.
const BYTES_MAX: usize = 200_000;

/// The same picture with a palette of its 256 most frequent colours. Reads what
/// Chromium writes: eight bits a channel, red, green, blue and perhaps alpha, not interlaced.
fn smaller(png: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut head, mut packed) = (8, &png[..0], Vec::new());
    while at + 12 <= png.len() {
        let length = u32::from_be_bytes(png[at..at + 4].try_into().ok()?) as usize;
        let body = png.get(at + 8..at + 8 + length)?;
        match &png[at + 4..at + 8] {
            b"IHDR" => head = body,
            b"IDAT" => packed.extend_from_slice(body),
            _ => {}
        }
        at += 12 + length;
    }
    let number = |at: usize| head.get(at..at + 4).and_then(|four| Some(u32::from_be_bytes(four.try_into().ok()?) as usize));
    let (width, height) = (number(0)?, number(4)?);
    let channels = match head.get(8..13)? {
        [8, 2, 0, 0, 0] => 3,
        [8, 6, 0, 0, 0] => 4,
        _ => return None,
    };
    let mut raw = Vec::new();
    ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).ok()?;
    let pixels = unfiltered(&raw, width * channels, height, channels)?;
    let colours: Vec<[u8; 3]> = pixels.chunks(channels).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    // The most frequent colours stay as they are, and stand for those that are near them.
    let mut counts: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    for colour in &colours {
        *counts.entry(*colour).or_default() += 1;
    }
    let mut palette: Vec<[u8; 3]> = counts.keys().copied().collect();
    palette.sort_by_key(|colour| std::cmp::Reverse(counts[colour]));
    palette.truncate(256);
    let far = |a: &[u8; 3], b: &[u8; 3]| a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum::<u32>();
    let nearest = |colour: &[u8; 3]| (0..palette.len()).min_by_key(|n| far(colour, &palette[*n])).unwrap_or(0) as u8;
    let index: BTreeMap<[u8; 3], u8> = counts.keys().map(|colour| (*colour, nearest(colour))).collect();
    let mut lines = Vec::with_capacity((width + 1) * height);
    for line in colours.chunks(width) {
        lines.push(0);
        lines.extend(line.iter().map(|colour| index[colour]));
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&lines).ok()?;
    let mut out = png[..8].to_vec();
    chunk(&mut out, b"IHDR", &[&head[..8], &[8, 3, 0, 0, 0]].concat());
    chunk(&mut out, b"PLTE", &palette.concat());
    chunk(&mut out, b"IDAT", &encoder.finish().ok()?);
    chunk(&mut out, b"IEND", &[]);
    Some(out)
}

/// The lines of a picture without the filters that a PNG has on them.
fn unfiltered(raw: &[u8], line: usize, height: usize, back: usize) -> Option<Vec<u8>> {
    let mut out = vec![0_u8; line * height];
    for row in 0..height {
        let filter = *raw.get(row * (line + 1))?;
        for i in 0..line {
            let byte = *raw.get(row * (line + 1) + 1 + i)?;
            let left = if i < back { 0 } else { out[row * line + i - back] };
            let up = if row == 0 { 0 } else { out[(row - 1) * line + i] };
            let corner = if row == 0 || i < back { 0 } else { out[(row - 1) * line + i - back] };
            let guess = match filter {
                0 => 0,
                1 => left,
                2 => up,
                3 => ((u16::from(left) + u16::from(up)) / 2) as u8,
                4 => {
                    let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
                    let far = |value: u8| (estimate - i16::from(value)).abs();
                    if far(left) <= far(up) && far(left) <= far(corner) {
                        left
                    } else if far(up) <= far(corner) {
                        up
                    } else {
                        corner
                    }
                }
                _ => return None,
            };
            out[row * line + i] = byte.wrapping_add(guess);
        }
    }
    Some(out)
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(body);
    out.extend_from_slice(kind);
    out.extend_from_slice(body);
    out.extend_from_slice(&sum.sum().to_be_bytes());
}

/// The demo, ended with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Name, window, dots of the screen for each of the page, and theme.
const SCREENS: [(&str, u32, u32, u32, bool); 4] =
    [("", 1280, 1100, 1, false), ("-dark", 1280, 1100, 1, true), ("-phone", 390, 844, 2, false), ("-phone-dark", 390, 844, 2, true)];

#[test]
fn pictures_of_the_demo() {
    if std::env::var_os("BURNWATCH_SCREENSHOTS").is_none() {
        eprintln!("left out: BURNWATCH_SCREENSHOTS is not set");
        return;
    }
    let chromium = chromium().expect("chromium is installed");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let demo = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .args(["demo", "--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    let _demo = Demo(demo);
    let mut browser = Browser::start(&chromium, port, &[]);
    let until = Instant::now() + Duration::from_secs(600);
    let id = loop {
        assert!(Instant::now() < until, "no incident was explained within ten minutes");
        std::thread::sleep(Duration::from_secs(2));
        browser.open("/v1/incidents?status=open&severity=page");
        let text = browser.ask("document.body.innerText");
        let listed: Value = text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let incident = &listed["items"][0];
        let users = incident["impact"]["affected_users"].as_u64().unwrap_or(0);
        if incident["verdict"] == "segment" && users >= 20 {
            break incident["id"].as_str().expect("an id").to_owned();
        }
    };
    let pages = [
        ("incident", format!("/incidents/{id}")),
        ("on-call", "/".to_owned()),
        ("overview", "/overview".to_owned()),
        ("slo", "/slos/checkout-api".to_owned()),
        ("health", "/health".to_owned()),
        ("inbox", "/inbox".to_owned()),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screenshots");
    for (name, path) in pages {
        browser.open(&path);
        // The overview is shown at once, and history stands in it when it has been read.
        while browser.ask("/being read/i.test(document.body.innerText)") == true {
            assert!(Instant::now() < until, "history did not answer");
            std::thread::sleep(Duration::from_secs(1));
            browser.open(&path);
        }
        for (suffix, width, height, dots, dark) in SCREENS {
            // All themes and screens for what people see at night; for the rest a bright desk and a dark bed.
            if !matches!(name, "incident" | "on-call") && matches!(suffix, "-dark" | "-phone") {
                continue;
            }
            browser.look_sharp(width, height, dots, dark);
            let picture = smaller(&browser.picture()).expect("a picture of chromium");
            assert!(picture.len() <= BYTES_MAX, "{name}{suffix} has {} bytes", picture.len());
            std::fs::write(folder.join(format!("{name}{suffix}.png")), picture).expect("a picture is written");
        }
    }
}
