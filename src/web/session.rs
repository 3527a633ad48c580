//! Signing in: a token becomes a session cookie that any replica can check.
//!
//! A session is a signed text: token name, end, nonce. It is good while its signature holds, the
//! token is still configured with the same hash, its end has not come and it was not signed out
//! here. The key is kept in the database, so sessions outlive a restart.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::chance::bytes;
use crate::config::Token;
use crate::domain::time::{Span, Timestamp};
use crate::store::{Store, StoreError, meta};

/// How long a session lasts.
pub const LASTS: Span = Span::hours(12);
/// The cookie that holds it.
pub const COOKIE: &str = "burnwatch_session";

const ENDED_MAX: usize = 10_000;
const SOURCES_MAX: usize = 4_096;
const FAILURES_MAX: u32 = 20;
const FAILURES_WINDOW: Span = Span::MINUTE;

/// The key that signs sessions and forms; made at the first start, the same for every replica.
pub async fn key(store: &Store) -> Result<[u8; 32], StoreError> {
    let mut tx = store.write().await?;
    let text = meta::get_or_set(&mut tx, "session_key", &hex::encode(bytes::<32>())).await?;
    tx.commit().await?;
    // A damaged value only signs everybody out.
    Ok(Sha256::digest(text.as_bytes()).into())
}

/// The configured token that this secret is; every hash is compared, in constant time.
pub fn find<'a>(tokens: &'a [Token], secret: &str) -> Option<&'a Token> {
    let hash = Sha256::digest(secret.as_bytes());
    let mut found = None;
    for token in tokens {
        if bool::from(token.sha256.ct_eq(hash.as_slice())) {
            found = Some(token);
        }
    }
    found
}

/// A session that was read from a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub token: String,
    pub nonce: String,
    pub ends: Timestamp,
}

/// The cookie's value of a new session.
pub fn open(key: &[u8; 32], token: &Token, now: Timestamp) -> String {
    let ends = (now + LASTS).seconds();
    let text = format!("{}.{ends}.{}", URL_SAFE_NO_PAD.encode(&token.name), hex::encode(bytes::<16>()));
    let signature = sign(key, &["session", &text, &hex::encode(token.sha256)]);
    format!("{text}.{signature}")
}

/// Signs parts that belong together; no part can take over what belongs to its neighbour.
pub fn sign(key: &[u8; 32], parts: &[&str]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part.as_bytes());
    }
    hex::encode(mac.finalize().into_bytes())
}

/// Whether two texts are the same, without saying by its time where they differ.
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Sessions that were signed out here, until they would have ended anyway.
#[derive(Debug, Default)]
pub struct Sessions {
    ended: Mutex<BTreeMap<String, Timestamp>>,
}

impl Sessions {
    /// The session and token of a cookie, if they are good.
    pub fn read<'a>(&self, key: &[u8; 32], tokens: &'a [Token], cookie: &str, now: Timestamp) -> Option<(Session, &'a Token)> {
        let (text, signature) = cookie.rsplit_once('.')?;
        let mut parts = text.splitn(3, '.');
        let (name, ends, nonce) = (parts.next()?, parts.next()?, parts.next()?);
        let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        let token = tokens.iter().find(|token| token.name == name)?;
        if !same(&sign(key, &["session", text, &hex::encode(token.sha256)]), signature) {
            return None;
        }
        let ends = Timestamp(ends.parse::<i64>().ok()?.checked_mul(1_000)?);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).contains_key(nonce);
        (now < ends && !ended).then(|| (Session { token: name, nonce: nonce.to_owned(), ends }, token))
    }

    /// Ends a session before its time.
    pub fn end(&self, session: &Session, now: Timestamp) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, ends| *ends > now);
        if ended.len() < ENDED_MAX {
            ended.insert(session.nonce.clone(), session.ends);
        }
    }
}

/// Failed attempts per source, so that tokens cannot be tried one after the other.
#[derive(Debug, Default)]
pub struct Failures {
    sources: Mutex<HashMap<IpAddr, (u32, Timestamp)>>,
}

impl Failures {
    /// How long this source has to wait, if it failed too often.
    pub fn wait(&self, source: IpAddr, now: Timestamp) -> Option<Span> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = sources.get(&source)?;
        let left = FAILURES_WINDOW - (now - *since);
        (*count >= FAILURES_MAX && left.millis() > 0).then_some(left)
    }

    /// Notes a failure.
    pub fn note(&self, source: IpAddr, now: Timestamp) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, (_, since)| now - *since < FAILURES_WINDOW);
            if sources.len() >= SOURCES_MAX {
                sources.clear();
            }
        }
        let entry = sources.entry(source).or_insert((0, now));
        if now - entry.1 >= FAILURES_WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scope;

    fn token(name: &str, secret: &str) -> Token {
        Token { name: name.into(), scopes: vec![Scope::Operate], sha256: Sha256::digest(secret.as_bytes()).into() }
    }

    #[test]
    fn a_session_ends_with_its_time_its_token_and_its_sign_out() {
        let (key, now, sessions) = ([7; 32], Timestamp(1_000_000), Sessions::default());
        let tokens = [token("mira", "s3cret")];
        let cookie = open(&key, &tokens[0], now);
        let (session, read) = sessions.read(&key, &tokens, &cookie, now).expect("it is good");
        assert_eq!((session.token.as_str(), read.name.as_str()), ("mira", "mira"));
        assert!(sessions.read(&key, &tokens, &cookie, now + LASTS).is_none(), "its time is over");
        assert!(sessions.read(&[8; 32], &tokens, &cookie, now).is_none(), "another key");
        assert!(sessions.read(&key, &[token("mira", "other")], &cookie, now).is_none(), "the token was changed");
        let forged = cookie.replacen(&cookie[..4], &URL_SAFE_NO_PAD.encode("adm"), 1);
        assert!(sessions.read(&key, &tokens, &forged, now).is_none());
        sessions.end(&session, now);
        assert!(sessions.read(&key, &tokens, &cookie, now).is_none(), "it was signed out");
        for bad in ["", ".", "...", "a.b.c.d", "bWlyYQ.99999999999999999999.x.y"] {
            assert!(sessions.read(&key, &tokens, bad, now).is_none());
        }
    }

    #[test]
    fn only_the_right_secret_finds_its_token() {
        let tokens = [token("a", "one"), token("b", "two")];
        assert_eq!(find(&tokens, "two").map(|token| token.name.as_str()), Some("b"));
        assert!(find(&tokens, "").is_none() && find(&tokens, "three").is_none());
    }

    #[test]
    fn too_many_failures_have_to_wait_a_minute() {
        let (failures, source) = (Failures::default(), "192.0.2.1".parse().unwrap());
        for i in 0..20 {
            assert_eq!(failures.wait(source, Timestamp(i)), None);
            failures.note(source, Timestamp(i));
        }
        assert!(failures.wait(source, Timestamp(100)).is_some());
        assert_eq!(failures.wait("192.0.2.2".parse().unwrap(), Timestamp(100)), None);
        assert_eq!(failures.wait(source, Timestamp(60_000)), None);
    }
}
