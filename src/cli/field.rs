//! Reading answers of the daemon for tables: a field that is missing or of another kind is shown as nothing.

use serde_json::Value;

/// The value at a path of keys.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

/// A field as a text for a cell.
pub fn text(value: &Value, key: &str) -> String {
    shown(at(value, &[key]))
}

/// A value as a text for a cell; null is nothing.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => decimal(float),
            Some(_) | None => number.to_string(),
        },
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(pairs) => pairs.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect::<Vec<_>>().join(","),
    }
}

/// A number with three decimals, without the zeros at its end.
pub fn decimal(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A fraction as per cent; nothing when it is unknown.
pub fn percent(value: &Value) -> String {
    value.as_f64().map(|fraction| format!("{} %", decimal(fraction * 100.0))).unwrap_or_default()
}

/// The items of an array field.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    at(value, &[key]).as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_is_shown_as_nothing_and_never_as_zero() {
        let value = json!({ "a": null, "b": 0, "c": 0.99950, "d": { "x": "1" } });
        assert_eq!(
            (text(&value, "a"), text(&value, "missing"), percent(at(&value, &["a"]))),
            (String::new(), String::new(), String::new())
        );
        assert_eq!((text(&value, "b"), text(&value, "c"), text(&value, "d")), ("0".into(), "1".into(), "x=1".into()));
        assert_eq!(percent(at(&value, &["c"])), "99.95 %");
    }
}
