//! The rows of a file, one at a time: the lines of NDJSON, or the elements of one JSON array.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::value::RawValue;

/// No line is longer.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// An array is read whole before its first row is known; what is larger belongs into lines.
const ARRAY_BYTES_MAX: u64 = 1 << 30;

/// Where rows come from.
pub struct Source {
    form: Form,
    /// How many rows were given: lines, also empty ones, or elements.
    number: usize,
    bytes: u64,
}

enum Form {
    Lines(BufReader<File>),
    Array(std::vec::IntoIter<Box<RawValue>>),
}

impl Source {
    /// Looks at what kind of file it is.
    pub fn open(file: File) -> io::Result<Source> {
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let (first, lines_before) = first(&mut lines)?;
        if first != Some(b'[') {
            return Ok(Source { form: Form::Lines(lines), number: lines_before, bytes: 0 });
        }
        let mut text = Vec::new();
        let read = lines.take(ARRAY_BYTES_MAX + 1).read_to_end(&mut text)? as u64;
        if read > ARRAY_BYTES_MAX {
            return Err(io::Error::other("a JSON array of more than 1 GiB; write one row a line instead"));
        }
        let rows: Vec<Box<RawValue>> = serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not a JSON array of rows: {error}")))?;
        Ok(Source { form: Form::Array(rows.into_iter()), number: 0, bytes: 0 })
    }

    /// Puts the next row that is not empty into `row` and gives its line, or its place in the array, from 1.
    pub fn next(&mut self, row: &mut Vec<u8>) -> io::Result<Option<usize>> {
        loop {
            row.clear();
            match &mut self.form {
                Form::Lines(lines) => lines.take(LINE_BYTES_MAX).read_until(b'\n', row).map(|_| ())?,
                Form::Array(rows) => {
                    let Some(element) = rows.next() else { return Ok(None) };
                    row.extend_from_slice(element.get().as_bytes());
                }
            }
            if row.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += row.len() as u64;
            if !row.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(self.number));
            }
        }
    }

    /// How many bytes the rows so far had.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The first byte that is no space, left unread, and how many lines end before it.
fn first(lines: &mut BufReader<File>) -> io::Result<(Option<u8>, usize)> {
    let mut ended = 0;
    loop {
        let read = lines.fill_buf()?;
        let spaces = read.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        ended += read[..spaces].iter().filter(|byte| **byte == b'\n').count();
        let (first, is_over) = (read.get(spaces).copied(), read.is_empty());
        lines.consume(spaces);
        if first.is_some() || is_over {
            return Ok((first, ended));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn rows(text: &str) -> io::Result<Vec<(usize, String)>> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        let mut source = Source::open(file.reopen()?)?;
        let (mut row, mut rows) = (Vec::new(), Vec::new());
        while let Some(number) = source.next(&mut row)? {
            rows.push((number, String::from_utf8_lossy(&row).trim().to_owned()));
        }
        Ok(rows)
    }

    #[test]
    fn rows_are_lines_or_elements_of_an_array() {
        let expected = |numbers: [usize; 2]| numbers.into_iter().zip(["{\"a\":1}".to_owned(), "{\"a\":2}".to_owned()]).collect::<Vec<_>>();
        assert_eq!(rows("{\"a\":1}\n\r\n{\"a\":2}").unwrap(), expected([1, 3]));
        assert_eq!(rows("\n \n  {\"a\":1}\n{\"a\":2}\n").unwrap(), expected([3, 4]));
        for array in ["[{\"a\":1},{\"a\":2}]", " \n[\n{\"a\":1},\n{\"a\":2}\n]\n"] {
            assert_eq!(rows(array).unwrap(), expected([1, 2]), "{array}");
        }
        assert_eq!(rows("").unwrap(), []);
        assert_eq!(rows(" \n\n").unwrap(), []);
        assert_eq!(rows("[]").unwrap(), []);
    }

    #[test]
    fn an_array_that_does_not_end_is_no_array() {
        let error = rows("[{\"a\":1},").unwrap_err().to_string();
        assert!(error.starts_with("not a JSON array of rows: "), "{error}");
    }
}
