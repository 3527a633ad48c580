use super::*;

fn import(format: Format, text: &str) -> Import {
    convert(format, &[("spec.yml".to_owned(), text.to_owned())])
}
