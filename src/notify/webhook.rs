//! The generic webhook: the payload of CONTRACT 7 under the headers of Standard Webhooks.

use std::collections::BTreeMap;

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;

use crate::domain::rule::Field;
use crate::domain::time::Timestamp;

use super::http::{json_headers, set_header};
use super::outcome::{SendError, Trouble};
use super::{Context, Sent};

/// Posts the notification, signed if there is a secret.
pub(crate) async fn send(
    context: &Context<'_>,
    url: &Field,
    secret: Option<&Field>,
    headers: &BTreeMap<String, Field>,
) -> Result<Sent, SendError> {
    let body = serde_json::to_vec(&context.delivery.notification)
        .map_err(|error| SendError::new(Trouble::Settings, format!("the notification cannot be written as JSON: {error}")))?;
    let headers = signed_headers(context, &context.delivery.id, secret, headers, &body)?;
    let answer = context.post(context.field(url)?, headers, body).await?.success(context.now)?;
    Ok(Sent { status: Some(answer.status), ..Sent::default() })
}

/// The receiver's own headers and, over them, those of Standard Webhooks.
pub(crate) fn signed_headers(
    context: &Context<'_>,
    id: &str,
    secret: Option<&Field>,
    extra: &BTreeMap<String, Field>,
    body: &[u8],
) -> Result<HeaderMap, SendError> {
    let mut headers = json_headers();
    for (name, value) in extra {
        set_header(&mut headers, name, &context.field(value)?)?;
    }
    let at = context.now;
    set_header(&mut headers, "webhook-id", id)?;
    set_header(&mut headers, "webhook-timestamp", &at.seconds().to_string())?;
    if let Some(secret) = secret {
        let signature = sign(&context.field(secret)?, id, at, body)?;
        set_header(&mut headers, "webhook-signature", &signature)?;
    }
    Ok(headers)
}

/// `v1,` and the base64 of HMAC-SHA256 over `{id}.{seconds}.{body}`.
pub(crate) fn sign(secret: &str, id: &str, at: Timestamp, body: &[u8]) -> Result<String, SendError> {
    let key = key(secret)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{}.", at.seconds()).as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())))
}

/// A `whsec_` secret is base64, others are raw bytes.
fn key(secret: &str) -> Result<Vec<u8>, SendError> {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let Some(encoded) = secret.strip_prefix("whsec_") else { return Ok(secret.as_bytes().to_vec()) };
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::STANDARD, lenient)
        .decode(encoded.trim())
        .map_err(|_| SendError::new(Trouble::Settings, "the webhook's secret begins with whsec_ but the rest is no base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification's libraries.
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp(1_614_265_330_000),
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_without_whsec_is_raw_bytes() {
        assert_eq!(key("hunter2").unwrap(), b"hunter2");
        assert_eq!(key("whsec_aHVudGVyMg==").unwrap(), b"hunter2");
        assert_eq!(key("whsec_aHVudGVyMg").unwrap(), b"hunter2");
        assert!(key("whsec_***").is_err());
    }
}
