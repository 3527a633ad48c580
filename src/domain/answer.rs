//! Links that answer for one incident without signing in: what they say, and who vouches for it.
//!
//! A link names an incident, its generation, what it does, the receiver that was sent it, and its
//! end; a code over all of that makes it ours. It can do the one thing that it names, to one
//! opening of one incident, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::time::{Span, Timestamp};

/// How long a link is good after the notification that carries it: over a weekend, not for ever.
pub const LASTS: Span = Span::hours(72);

/// Longest link text that is looked at.
const TEXT_MAX: usize = 2_000;
/// Half of SHA-256: nobody guesses 128 bits, and mails wrap long links.
const CODE_BYTES: usize = 16;

/// Signs and checks links. Derived from the key of sessions, and good for nothing else.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Acknowledge,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Action::Acknowledge => "ack",
        }
    }
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub incident: String,
    pub generation: i64,
    pub action: Action,
    /// Who was sent it.
    pub receiver: String,
    pub ends: Timestamp,
}

/// Why a link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not written by this burnwatch, or changed or cut on its way.
    Forged,
    Expired,
}

impl Key {
    /// The key of links, from another secret of this installation.
    pub fn derive(secret: &[u8]) -> Key {
        Key(code(secret, b"links that answer"))
    }

    /// A claim as the last part of a link: letters, digits, `-`, `_` and one `.`.
    pub fn seal(&self, claim: &Claim) -> String {
        let Claim { incident, generation, action, receiver, ends } = claim;
        // The receiver's name comes last, and may hold anything.
        let text = format!("{}\n{generation}\n{}\n{incident}\n{receiver}", action.name(), ends.millis());
        let code = code(&self.0, text.as_bytes());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&code[..CODE_BYTES]))
    }

    /// The claim of a link, if it is ours and its time is not over.
    pub fn open(&self, sealed: &str, now: Timestamp) -> Result<Claim, Refusal> {
        let claim = self.read(sealed).ok_or(Refusal::Forged)?;
        if now < claim.ends { Ok(claim) } else { Err(Refusal::Expired) }
    }

    fn read(&self, sealed: &str) -> Option<Claim> {
        if sealed.len() > TEXT_MAX {
            return None;
        }
        let (text, code) = sealed.split_once('.')?;
        let (text, code) = (URL_SAFE_NO_PAD.decode(text).ok()?, URL_SAFE_NO_PAD.decode(code).ok()?);
        if code.len() != CODE_BYTES {
            return None;
        }
        mac(&self.0, &text).verify_truncated_left(&code).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.splitn(5, '\n');
        let mut part = || parts.next();
        let (action, generation, ends, incident, receiver) = (part()?, part()?, part()?, part()?, part()?);
        let action = Some(Action::Acknowledge).filter(|known| known.name() == action)?;
        Some(Claim {
            incident: incident.to_owned(),
            generation: generation.parse().ok()?,
            action,
            receiver: receiver.to_owned(),
            ends: Timestamp(ends.parse().ok()?),
        })
    }
}

fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac
}

fn code(key: &[u8], text: &[u8]) -> [u8; 32] {
    mac(key, text).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            incident: "inc-7".into(),
            generation: 1_800_000_000,
            action: Action::Acknowledge,
            receiver: "team-mail\nand more".into(),
            ends: Timestamp(1_000),
        }
    }

    #[test]
    fn r23_a_link_says_again_what_was_sealed_until_its_end() {
        let key = Key::derive(b"secret");
        let sealed = key.seal(&claim());
        assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{sealed}");
        assert_eq!(key.open(&sealed, Timestamp(999)), Ok(claim()));
        assert_eq!(key.open(&sealed, Timestamp(1_000)), Err(Refusal::Expired));
    }

    #[test]
    fn r23_whatever_is_changed_makes_it_forged() {
        let key = Key::derive(b"secret");
        let sealed = key.seal(&claim());
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(key.open(&changed, Timestamp(0)), Err(Refusal::Forged), "{at}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..cut], Timestamp(0)), Err(Refusal::Forged), "{cut}");
        }
        assert_eq!(Key::derive(b"other").open(&sealed, Timestamp(0)), Err(Refusal::Forged));
        assert_eq!(key.open(&"A".repeat(5_000), Timestamp(0)), Err(Refusal::Forged));
    }
}
